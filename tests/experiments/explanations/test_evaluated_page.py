"""The page about explanations that were tried holds the numbers that were found."""

from __future__ import annotations

from dualview.experiments.explanations.evaluated_page import write_evaluated_page
from tests.experiments.explanations.test_tables import FOUND
from tests.html_reading import ReadPage


def test_evaluated(tmp_path):
    found = FOUND | {"soften": 2.0}
    page = write_evaluated_page(found, "net on digits", tmp_path / "page.html").read_text(
        encoding="utf-8"
    )
    text = ReadPage(page).texts["body"][0]
    assert "7 decisions of net on digits" in text
    assert "−0.100 ± 0.100" in text
    assert "β = 2." in text
    assert "<svg" in page
