"""The page about one distilled network holds the numbers of its record, the same each time."""

from __future__ import annotations

from dualview.experiments.distilled_page import write_distilled_page
from tests.html_reading import ReadPage
from tests.record_cases import run_record


def _text(page):
    return ReadPage(page).texts["body"][0]


KEPT = {"teacher": 0.98, "before": 0.5, "soft": 0.97, "hard": 0.931}


def test_distilled(tmp_path):
    record = run_record("dlgn", architecture="mine:Net", measurements=KEPT)
    pages = [write_distilled_page(record, tmp_path / f"{i}.html").read_bytes() for i in range(2)]
    assert pages[0] == pages[1]
    text = _text(pages[0].decode())
    for value in KEPT.values():
        assert f"{100 * value:.2f}" in text
    assert "95.0 % of mine:Net in a DLGN" in text


def test_distilled_without_a_curve(tmp_path):
    record = run_record("dgn", measurements=KEPT, curve=())
    page = write_distilled_page(record, tmp_path / "page.html").read_text(encoding="utf-8")
    assert "The way there" not in _text(page)
