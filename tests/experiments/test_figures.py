"""Properties proved here.

1. Every experiment has figures; at a tiny size each is drawn and saved, and has a
   name that files can have and a caption of its own.
2. Comparisons have figures for each architecture; recovered accuracy only where a DNN finished.
3. Colours of figures for a page follow its scheme.
"""

from __future__ import annotations

import re

import pytest

from dualview.experiments.curves import comparison_figures
from dualview.experiments.experiment_report import caption
from dualview.experiments.registry import EXPERIMENTS
from tests.experiments.reproduced import tiny_outputs
from tests.record_cases import comparison, run_record

NAMES = list(EXPERIMENTS)


@pytest.mark.parametrize("name", NAMES)
def test_figures_are_drawn(name):
    page = tiny_outputs(name)
    files = list(page.with_name("figures").glob("*.png"))
    assert files
    for path in files:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", path.stem)
        assert len(caption(EXPERIMENTS[name], path.stem)) > len(path.stem) + 10
        assert path.stat().st_size > 1000
    drawn = re.findall(r"<svg.*?</svg>", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(drawn) == len(files)
    for svg in drawn:
        assert not re.search(r"(?<!, )#[0-9a-f]{6}", svg), "a colour outside the house style"


def test_comparisons():
    both = [*comparison(), run_record("dlgn", architecture="c4gap")]
    assert list(comparison_figures(both)) == ["fc-recovered", "fc-curves", "c4gap-curves"]
