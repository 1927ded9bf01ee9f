"""Pages from Python: `explain_page`, `explorer_page`.

- A page says where it is from: of a run, its record; of a network of one's own, its data.
- It shows the rows that were asked for; an explorer's are spread over the split.
- What is no page, split or number is refused before anything is computed.
"""

import re

import pytest
import torch

import dualview as dv
from dualview.architectures import fc
from dualview.datasets import load
from dualview.experiments.finished import load_run
from dualview.explorer import writing
from dualview.explorer.writing import page_facts, page_path
from dualview.training import SettingsError
from tests.cli.explored import train
from tests.html_reading import ReadPage

DIGITS = load("digits")


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return dv.disentangle(fc(10, (1, 8, 8), width=8, depth=3), "dlgn", seed=0).eval()


def test_a_network_of_ones_own(net, tmp_path):
    found = dv.explain_page(net, DIGITS, [17, 4], tmp_path / "new" / "page.html", n_train=0)
    page = ReadPage((tmp_path / "new" / "page.html").read_text(encoding="utf-8"))
    assert [example.row for example in found.examples] == [17, 4]
    assert "DLGN on digits: 2 of 359 test examples, and why" in " ".join(page.texts["h1"])
    facts = dict(page_facts(found, DIGITS, None, "").facts)
    assert facts["Data"].startswith("digits; fingerprint ")
    assert "Run" not in facts
    assert "Command" not in facts


def test_explorer_is_spread(net, tmp_path):
    found = dv.explorer_page(
        net, DIGITS, tmp_path / "a.html", examples=4, split="validation", n_train=0
    )
    rows = [example.row for example in found.examples]
    assert rows[0] == 0
    assert rows[-1] == len(DIGITS.validation) - 1
    assert len(rows) == 4
    assert (tmp_path / "a.html").exists()


def test_the_page_of_a_run(tmp_path, monkeypatch):
    made = writing.provenance("cpu")  # the time is told to the second
    monkeypatch.setattr(writing, "provenance", lambda device: made)
    run = load_run(train(tmp_path, "dgn") / "dgn-seed0")
    command = "dualview explain …"
    path = tmp_path / "page.html"
    found = dv.explain_page(run.net, run.data, [1, 4], path, n_train=0, run=run, command=command)
    html = path.read_text(encoding="utf-8")
    facts = dict(page_facts(found, run.data, run, command).facts)
    for value in facts.values():
        assert value.split('"')[0] in html
    assert facts["Examples"] == "2 of the 359 of the test split: rows 1, 4"
    assert facts["Command"] == command
    assert run.record.config["data_fingerprint"] in facts["Data"]


@pytest.mark.parametrize("out", [".", "page.json", "page"])
def test_no_page(out):
    with pytest.raises(SettingsError, match=f"file such as explorer.html, got .*{re.escape(out)}"):
        page_path(out)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"split": "tset"}, "split: expected"), ({"examples": 0}, "examples: expected")],
)
def test_refused(net, tmp_path, options, message):
    with pytest.raises(SettingsError, match=message):
        dv.explorer_page(net, DIGITS, tmp_path / "a.html", **options)
