"""`dualview evaluate`.

- It prints a table, and leaves page, numbers and figure where it was told, or beside the run.
- Wrong use ends with status 2, a run that cannot be used with 1.
"""

import json

import pytest

from dualview.cli import main

from .explored import train


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(tmp_path_factory.mktemp("runs"), "dlgn") / "dlgn-seed0"


def test_evaluated(run, tmp_path, capsys):
    out = tmp_path / "new" / "evaluation"
    options = ["--examples", "4", "--methods", "paths", "random", "--out", str(out)]
    assert main(["evaluate", str(run), *options]) == 0
    printed = capsys.readouterr().out
    assert "path contributions" in printed
    page = out / "explanations.html"
    assert printed.endswith(f"Page:    {page}\nNumbers: {out / 'explanations.json'}\n")
    assert "path contributions" in page.read_text(encoding="utf-8")
    found = json.loads((out / "explanations.json").read_text(encoding="utf-8"))
    assert (found["examples"], found["methods"]) == (4, ["paths", "random"])
    assert sorted(file.suffix for file in out.iterdir()) == [
        ".csv",
        ".html",
        ".json",
        ".md",
        ".svg",
    ]


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (["--examples", "1"], 2, "examples"),
        (["--out", __file__], 2, "expected a folder"),
        (["--methods", "lime"], 1, "'lime'"),
        (["--soften", "0"], 1, "soften"),
    ],
)
def test_wrong_use(run, options, status, message, capsys):
    assert main(["evaluate", str(run), "--examples", "2", *options]) == status
    assert message in capsys.readouterr().err
    assert not (run / "evaluation").exists()
