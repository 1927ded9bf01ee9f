"""Properties proved here.

1. `tables` prints the scores, writes page and numbers, and ends with 0.
2. Wrong options are wrong use (2), before anything is read; a bad table fails (1), by line and
   column.
"""

import pytest

from dualview import cli
from dualview.files.writing import read_json
from tests.tabular.comparing.small_tables import shop, written

FAST = ["--folds", "2", "--width", "3", "--depth", "2"]


def test_success(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shop().to_csv("a.csv", index=False)
    words = ["tables", "--data", "a.csv", "--target", "buys", "--leave-out", "spent", "member"]
    assert cli.main([*words, *FAST]) == 0
    out, _ = capsys.readouterr()
    assert out.startswith("buys (classes), 60 rows: accuracy\n")
    assert "spent (as asked); member (as asked); id (it counts the rows)" in out
    assert out.endswith("Page:    table.html\nNumbers: table.json\n")
    numbers = read_json(tmp_path / "table.json")
    assert f"{100 * numbers['scores'][0]['held_out']:.1f} %" in out
    assert "random forest" in (tmp_path / "table.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--folds", "1"], "--folds: expected"),
        (["--out", "a.json"], "--out: expected a file"),
        (["--task", "guess"], "expected one of auto"),
    ],
)
def test_wrong_use(more, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["tables", "--data", "none.csv", "--target", "a", *more]
    try:
        status = cli.main(words)
    except SystemExit as left:
        status = left.code
    assert status == 2
    assert said in capsys.readouterr().err


def test_a_bad_table(tmp_path, capsys):
    path = written(tmp_path, "a,b\n" + "1,x\n2,y\n" * 15 + "inf,x\n")
    assert cli.main(["tables", "--data", str(path), "--target", "b"]) == 1
    assert f"{path}, line 32, column 'a': expected a finite number" in capsys.readouterr().err
