"""`dualview explore`.

- It writes a page about so many examples, spread over the split, and never about more than there
  are.
- With --wrong, only about those that the network takes for another class.
- The number of examples is checked before anything is loaded.
- Ctrl-C says that there is no page.
"""

import pytest

from dualview.cli import explore as module
from dualview.cli import main
from dualview.explorer.explanations.inputs import spread_rows

from .explored import data_of, train


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(tmp_path_factory.mktemp("runs"), "dlgn") / "dlgn-seed0"


def explore(run, out, *options):
    return main(["explore", str(run), "--out", str(out), "--train", "0", *map(str, options)])


def test_page(run, tmp_path):
    out = tmp_path / "page.html"
    assert explore(run, out, "--examples", 7) == 0
    rows = [example["row"] for example in data_of(out)["examples"]]
    assert rows == spread_rows(7, 359)
    assert data_of(out)["machine"] is None


def test_wrong(run, tmp_path):
    out = tmp_path / "page.html"
    assert explore(run, out, "--examples", 3, "--wrong") == 0
    examples = data_of(out)["examples"]
    assert len(examples) == 3
    for example in examples:
        assert (
            example["outputs"][0]["output"] != example["label"] == example["outputs"][1]["output"]
        )


def test_no_more_than_there_are(run, tmp_path, monkeypatch):
    asked = []

    def noted(options, run, rows, again):
        asked.extend(rows)
        return 0

    monkeypatch.setattr(module, "write_page", noted)
    assert explore(run, tmp_path / "a.html", "--split", "validation", "--examples", 10_000) == 0
    assert asked == list(range(180))


@pytest.mark.parametrize("count", [0, -3])
def test_no_examples(tmp_path, capsys, count):
    assert explore(tmp_path / "no run", tmp_path / "page.html", "--examples", count) == 2
    assert "examples" in capsys.readouterr().err


def test_interrupted(run, tmp_path, monkeypatch, capsys):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "write_page", interrupt)
    assert explore(run, tmp_path / "page.html", "--examples", 3) == 130
    assert capsys.readouterr().err == "\nInterrupted; no page was written\n"
    assert list(tmp_path.iterdir()) == []
