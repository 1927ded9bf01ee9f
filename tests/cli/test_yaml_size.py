"""Files of options.

- What options are passes: lists, anchors that are used a few times, also what is no YAML, which the
  parser says better.
- Aliases that multiply, values by the ten thousand, deep lists, aliases of themselves, large files,
  and what is no file or no text, are refused in no time; on the command line with status 2.
"""

import os

import pytest

from dualview.cli import main
from dualview.cli.yaml_size import MOST_BYTES, expect_small, expect_small_file

BOMB = "\n".join(
    ["a0: &a0 [x, x]", *(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]" for k in range(1, 30))]
)
REFUSED = {
    "aliases": (BOMB, "aliases that stand for more"),
    "in flow": (f"{{a: &a [{'x,' * 99}], b: &b [{'*a,' * 99}], c: [{'*b,' * 99}]}}", "aliases"),
    "many values": ("kinds: [" + "x, " * 20_000 + "]", "at most 10,000 values; got more"),
    "deep": ("kinds: " + "[" * 100_000, "nested 20 deep"),
    "deep mappings": ("".join(" " * k + "a:\n" for k in range(500)), "nested 20 deep"),
    "of itself": ("a: &a [*a]", "aliases|more"),
}


@pytest.mark.parametrize(
    "text", ["", "a: 1", "kinds: &k [dnn, dlgn]\nother: *k", "a: [", "\x00", "*b"]
)
def test_options_pass(text):
    expect_small(text)


@pytest.mark.parametrize("name", REFUSED)
def test_what_stands_for_too_much(name):
    text, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        expect_small(text)


@pytest.mark.parametrize("name", REFUSED)
def test_on_the_command_line(name, tmp_path, capsys):
    (tmp_path / "options.yaml").write_text(REFUSED[name][0])
    with pytest.raises(SystemExit) as stop:
        main(["compare", "--config", str(tmp_path / "options.yaml")])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("dualview compare: error: ")
    assert len(error) < 600


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (os.mkfifo, "expected a file, got a named pipe"),
        (lambda path: path.write_bytes(b"a: \xff\xfe"), "utf-8"),
        (lambda path: path.write_bytes(b" " * (MOST_BYTES + 1)), "at most 1,048,576 bytes"),
        (lambda path: path.symlink_to("/dev/zero"), "got a device"),
    ],
    ids=["pipe", "no text", "large", "device"],
)
def test_files(make, message, tmp_path, capsys):
    make(tmp_path / "options.yaml")
    with pytest.raises((OSError, ValueError), match=message):
        expect_small_file(tmp_path / "options.yaml")
    with pytest.raises(SystemExit) as stop:
        main(["compare", "--config", str(tmp_path / "options.yaml")])
    assert stop.value.code == 2
    assert len(capsys.readouterr().err) < 500
