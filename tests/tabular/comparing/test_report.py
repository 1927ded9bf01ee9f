"""Properties proved here.

1. The page says every score, the rules, the columns, the explained rows and what was left out, by
   the numbers of the comparison; it needs no network.
2. Names of columns and values are text: markup in them is escaped, also in figures.
"""

import re

import pytest

from dualview.tabular.comparing.report import score_text, spread_text
from tests.tabular.comparing.small_tables import compared


@pytest.mark.parametrize("target", ["buys", "spent"])
def test_page(target, tmp_path):
    found = compared(target)
    page = found.write_page(tmp_path / "deep" / "page.html").read_text(encoding="utf-8")
    for one in found.scores:
        assert score_text(one.held_out, found.measure) in page
        assert spread_text(one.folds, found.measure) in page
    for one in found.explained:
        assert f"{one.place}. Predicted: {one.predicted}; in truth: {one.true}" in page
    assert "it counts the rows" in page
    assert "Every rule with all its columns" in page
    assert "<b>Kiel" not in page
    assert not re.search(r'(src|href)="(https?:)?//', page)
    assert page.count("<svg") == 3 + len(found.explained)
