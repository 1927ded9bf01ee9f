"""`dualview explain`.

- It writes a page about the examples asked for, each once, in their order, with a kernel machine of
  the size asked for, and says where it is.
- Wrong use ends with status 2, a run or an index that cannot be used with 1, each in one line.
- Ctrl-C says that there is no page.
"""

import pytest

from dualview.cli import explain as module
from dualview.cli import main

from .explored import data_of, train


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(tmp_path_factory.mktemp("runs"), "dlgn") / "dlgn-seed0"


def explain(run, out, *options):
    return main(["explain", str(run), "--out", str(out), *map(str, options)])


def test_page(run, tmp_path, capsys):
    out = tmp_path / "new" / "page.html"
    assert explain(run, out, "--index", 17, 5, 17, "--train", 30) == 0
    data = data_of(out)
    assert [example["row"] for example in data["examples"]] == [17, 5]
    assert data["machine"]["n"] == 30
    assert data["machine"]["gates"] == "model"
    size = out.stat().st_size / 1e6
    assert capsys.readouterr().out == f"Page: {out} ({size:.1f} MB)\n"
    assert "dualview explain" in out.read_text(encoding="utf-8")


def test_other_split_and_gates(run, tmp_path):
    out = tmp_path / "page.html"
    options = ("--split", "validation", "--machine-gates", "hard", "--train", 20)
    assert explain(run, out, "--index", 0, *options) == 0
    data = data_of(out)
    assert data["split"] == "validation"
    assert data["machine"]["gates"] == "hard"


def test_no_such_example(run, tmp_path, capsys):
    assert explain(run, tmp_path / "page.html", "--index", 359) == 1
    assert "0 to 358" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--index", "two"], "two"),
        (["--index", "1", "--split", "all"], "train, validation, test"),
    ],
)
def test_wrong_use(run, arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["explain", str(run), *arguments])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_no_index(tmp_path, capsys):
    assert explain(tmp_path / "no run", tmp_path / "page.html") == 2
    assert "--index" in capsys.readouterr().err


def test_page_that_is_a_folder(run, tmp_path, capsys):
    assert explain(run, tmp_path, "--index", 1) == 2
    assert "--out" in capsys.readouterr().err


def test_no_run(tmp_path, capsys):
    assert explain(tmp_path / "none", tmp_path / "page.html", "--index", 1) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_interrupted(run, tmp_path, monkeypatch, capsys):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "write_page", interrupt)
    assert explain(run, tmp_path / "page.html", "--index", 0) == 130
    assert capsys.readouterr().err == "\nInterrupted; no page was written\n"
    assert list(tmp_path.iterdir()) == []
