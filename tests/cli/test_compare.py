"""Properties proved here.

1. Whatever a YAML file holds, `dualview compare --config` ends in settings or in one line that says
   what was expected, without a traceback; and nothing is written.
2. Sizes that no machine serves are refused before anything is made.
"""

from __future__ import annotations

import contextlib
import io
import re

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from dualview import cli
from dualview.cli import compare
from dualview.cli.parser import Parser
from dualview.experiments.settings import ComparisonSettings


def _options():
    parser = Parser()
    compare.add_options(parser)
    return sorted({action.dest for action in parser._actions} - {"help"})


OPTIONS = _options()
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=4)
    | st.dates()
    | st.sampled_from(["dnn", "fc", "adam", "cpu", "0,1", "", "nan", "~"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=3,
)
FILES = st.dictionaries(st.sampled_from(OPTIONS), VALUES, max_size=2).map(
    lambda options: yaml.safe_dump(options, allow_unicode=True).encode("utf-8", "surrogatepass")
) | st.binary(max_size=20)


def _called(monkeypatch, folder, content):
    """Exit status, what was printed on standard error, and the settings, if it came so far."""
    made, error = [], io.StringIO()
    (folder / "options.yaml").write_bytes(content)
    with monkeypatch.context() as patch, contextlib.redirect_stderr(error):
        patch.chdir(folder)
        patch.setattr(compare, "run_comparison", lambda made_, *_, **__: made.append(made_) or 0)
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                status = cli.main(["compare", "--config", "options.yaml"])
        except SystemExit as stop:
            status = stop.code
    return status, error.getvalue(), made


def _refused(status, error):
    lines = error.splitlines()
    assert status in (1, 2)
    assert re.match(r"dualview( compare)?: error: ", lines[0])
    assert len(lines) == 1 or lines[1:] == ["See dualview compare --help."]
    return lines[0]


@settings(max_examples=25)
@given(content=FILES)
def test_any_file_is_read_or_refused_in_one_line(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("config")
    with pytest.MonkeyPatch.context() as patch:
        status, error, made = _called(patch, folder, content)
    if status == 0:
        assert len(made) <= 1  # none: print_config
        assert all(isinstance(settings, ComparisonSettings) for settings in made)
    else:
        _refused(status, error)
        assert not made
    assert [path.name for path in folder.iterdir()] == ["options.yaml"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"data: null", "--data: expected a value, got null; leave it out for its default"),
        (b"kinds: null", "--kinds: expected a value, got null"),
        (b"momentum: null", "--momentum: expected a value, got null"),
        (b"optimizer: 34", "--optimizer: expected one of adam, sgd, rmsprop, got '34'"),
        (b"seeds: 100000000000", "seeds: expected a whole number from 1 to 10000, got"),
        (b"epochs: 1e23", "--epochs: expected a whole number"),
        (b"crop: 1001", "crop: expected a whole number from 0 to 1000, got 1001"),
        (b"threads: 99999", "threads: expected 1,024 at most, got 99,999"),
        (b"\xf6", "can't decode byte 0xf6"),
        (b"a: &a [*a]", "expected options, at most 10,000 values"),
        (b"config: -5", "got what cannot be read (AttributeError"),
        (b"a: !!python/object:os.system {}", "could not determine a constructor"),
    ],
)
def test_refusals(monkeypatch, tmp_path, content, message):
    status, error, made = _called(monkeypatch, tmp_path, content)
    assert message in _refused(status, error)
    assert status == 2
    assert not made


@pytest.mark.parametrize(
    ("width", "message"),
    [
        ("99999999", "width: expected a network that fits into the memory of"),
        ("9" * 30, "width: expected a whole number from 1 on, and up to 2,147,483,647"),
    ],
)
def test_networks_beyond_the_memory(monkeypatch, tmp_path, capsys, width, message):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["compare", "--width", width]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert f"got {width}" in error
    assert not list(tmp_path.iterdir())


def test_a_name_that_no_folder_can_have(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["compare", "--width", "8", "--out", "a\0b"]) == 2
    assert "out: expected a path, not empty and without the character 0" in capsys.readouterr().err
