"""Two figures for each architecture: drawn spreads beside the closed form, and accuracies."""

import pytest

from dualview.experiments.width.figures import figures
from tests.experiments.width.test_tables import measured


def test_what_is_drawn():
    records = [measured(width, seed) for width in (8, 16) for seed in (0, 1)]
    records.append(measured(4, 0, architecture="c4gap", formula=False))
    drawn = figures(records)
    assert list(drawn) == ["fc-spread", "fc-fixed-gates", "c4gap-spread", "c4gap-fixed-gates"]
    (axes,) = drawn["fc-spread"].axes
    labels = {line.get_label(): line for line in axes.lines}
    assert labels["closed form"].get_xydata().ravel() == pytest.approx([8, 7.5, 16, 7.5])
    (bars,) = axes.containers
    assert bars.lines[0].get_xydata().ravel() == pytest.approx([8, 15, 16, 15])
    (axes,) = drawn["c4gap-spread"].axes
    assert "closed form" not in {line.get_label() for line in axes.lines}
    (axes,) = drawn["fc-fixed-gates"].axes
    assert axes.containers[0].lines[0].get_ydata() == pytest.approx([55, 55])


def test_no_open_path():
    drawn = figures([measured(8, 0, measurements={"examples": 0})])
    assert list(drawn) == ["fc-fixed-gates"]
