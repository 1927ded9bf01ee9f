"""What `explain` and `explore` share: options, and what is said.

- The page's place and size, and what is missing on it, are said; a negative number is refused.
"""

import re
import types

import pytest

from dualview.cli.explaining import load_network, write_page
from dualview.training import SettingsError

from .explored import train


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return train(tmp_path_factory.mktemp("runs"), "dgn", "dlgn")


def options(folder, **changes):
    chosen = {
        "run_folder": str(folder),
        "model": None,
        "data": "digits",
        "validation": 0.1,
        "test": 0.2,
        "image_column": None,
        "label_column": None,
        "subset": None,
        "cache": True,
        "train": 0,
        "split": "test",
        "machine_gates": None,
        **changes,
    }
    return types.SimpleNamespace(**chosen)


def test_negative_train(runs):
    with pytest.raises(SettingsError, match="train"):
        load_network(options(runs / "dlgn-seed0", train=-1))


def test_what_is_said(runs, tmp_path, capsys):
    chosen = options(runs / "dgn-seed0", out=str(tmp_path / "page.html"))
    assert write_page(chosen, load_network(chosen), [1, 4], "dualview explain …") == 0
    out, err = capsys.readouterr()
    assert re.fullmatch(r"Page: .*/page.html \(0\.\d MB\)\n", out)
    assert err.count("dualview: note: ") == 2
    assert "dualview explain …" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_too_large_a_page_is_named(runs, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("dualview.cli.explaining.SLOW_PAGE_BYTES", 10)
    chosen = options(runs / "dgn-seed0", out=str(tmp_path / "a.html"))
    write_page(chosen, load_network(chosen), [1], "")
    assert "slow to open" in capsys.readouterr().err
