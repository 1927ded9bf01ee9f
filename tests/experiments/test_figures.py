"""Properties proved here.

1. Every experiment has figures; at a tiny size each is drawn and saved, and has a
   name that files can have and a caption of its own.
2. The same records give the same drawing.
3. Comparisons have figures for each architecture; recovered accuracy only where a DNN finished.
4. Colours of figures for a page follow its scheme.
"""

from __future__ import annotations

import re

import pytest

from dualview.experiments.curves import comparison_figures
from dualview.experiments.experiment_report import caption
from dualview.experiments.registry import EXPERIMENTS
from dualview.pages.style import figure_svg, save_figure
from tests.experiments.reproduced import tiny_records
from tests.record_cases import comparison, run_record

NAMES = list(EXPERIMENTS)


@pytest.mark.parametrize("name", NAMES)
def test_figures_are_drawn(name, tmp_path):
    figures = EXPERIMENTS[name].figures(tiny_records(name))
    assert figures
    for title, figure in figures.items():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", title)
        assert len(caption(EXPERIMENTS[name], title)) > len(title) + 10
        assert save_figure(figure, tmp_path / f"{title}.png", dpi=50).stat().st_size > 1000
        svg = figure_svg(figure, title, "a label")
        assert not re.search(r"(?<!, )#[0-9a-f]{6}", svg), "a colour outside the house style"


@pytest.mark.parametrize("name", NAMES)
def test_the_same_again(name):
    first, second = (EXPERIMENTS[name].figures(tiny_records(name)) for _ in range(2))
    assert list(first) == list(second)
    for title in first:
        drawings = [figure_svg(figures[title], title, "a label") for figures in (first, second)]
        assert drawings[0] == drawings[1]


def test_comparisons():
    both = [*comparison(), run_record("dlgn", architecture="c4gap")]
    assert list(comparison_figures(both)) == ["fc-recovered", "fc-curves", "c4gap-curves"]
