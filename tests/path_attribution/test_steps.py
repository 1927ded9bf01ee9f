"""Words of a program: coordinates of entries, and sizes of layers."""

import numpy as np

from dualview.path_attribution.steps import Label, Weighted


def test_coordinates_are_channel_then_positions():
    label = Label("conv", "weights", (3, 4, 5))
    assert label.size == 60
    assert [label.coordinates(entry) for entry in (0, 7, 59)] == [(0, 0, 0), (0, 1, 2), (2, 3, 4)]
    assert Label("total", "map", ()).coordinates(0) == ()


def test_sizes_of_a_layer():
    step = Weighted(
        Label("conv", "weights", (6, 7)), 0, np.zeros((3, 7), int), np.zeros((2, 3, 12))
    )
    assert (step.groups, step.inputs) == (2, 4)
