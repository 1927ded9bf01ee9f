"""Properties proved here.

1. A write that fails, at any point before it is complete, leaves the earlier file as it was.
2. A file left over from a failed write does not hinder the next one.
3. JSON that is not a number everywhere is refused, and no file appears.
4. What is read is what was written; what is no JSON object, or holds NaN, is a ValueError.
"""

import json

import pytest

from dualview.files.writing import PART, read_json, write_atomically, write_json


def test_a_failed_write_leaves_the_earlier_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("earlier")

    def fail(part):
        part.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, fail)
    assert path.read_text() == "earlier"
    write_atomically(path, lambda part: part.write_text("whole") and None)
    assert path.read_text() == "whole"
    assert not path.with_name("file" + PART).exists()


def test_json_round_trip(tmp_path):
    value = {"a": [1, 2.5, None], "b": {"ü": True}}
    write_json(tmp_path / "x.json", value)
    assert json.loads((tmp_path / "x.json").read_text(encoding="utf-8")) == value
    assert read_json(tmp_path / "x.json") == value


def test_json_refuses_what_is_no_number(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"a": float("nan")})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[1]", b"null", b'{"a": NaN}', b'{"a": -Infinity}', b"\xff", b"[" * 10**5],
)
def test_what_is_no_json_object_is_refused(tmp_path, content):
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(ValueError):  # noqa: PT011  the decoder's own messages differ
        read_json(tmp_path / "x.json")
