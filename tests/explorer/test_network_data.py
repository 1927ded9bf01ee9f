"""What a network does over many examples, as the page has it.

- Means of parts are the records', to a thousandth of the layer's largest; the rest to its digits.
- There are at most ten boxes, and each layer is in one.
- A plane's lines end at the window and are zeros of their gates; areas, cells and places are those
  of the slice.
- A page of one example has none of it.
"""

import numpy as np
import pytest

from dualview.explorer.explanations.records import Layer
from dualview.explorer.network_data import MOST_BOXES, boxes, network_data, plane_data, units_data
from tests.explorer.explanations.cases import explained


@pytest.mark.parametrize("shape", ["dense", "convolutional"])
def test_numbers_are_the_records(shape):
    view = explained(shape).network
    data, layers = network_data(view), units_data(view, len(view.layers), 1)
    assert sum(count for *_, count in data["confusion"]) == view.n_examples
    assert all(view.confusion[i, j] == count for i, j, count in data["confusion"])
    np.testing.assert_allclose(data["logits"], view.logits, rtol=1e-5)
    np.testing.assert_allclose(data["map"]["places"], view.places, rtol=1e-3)
    for units, reading, its in zip(view.layers, view.readings, layers, strict=True):
        assert its["channels"] == list(units.channels)
        parts = np.array(its["parts"]).reshape(units.parts.shape) * its["step"]
        np.testing.assert_allclose(parts, units.parts, atol=0.51 * its["step"])
        for place, (opens, closes) in enumerate(zip(its["opens"], its["closes"], strict=True)):
            q = units.peaks[place][[*opens, *closes]]
            np.testing.assert_allclose(its["q"][place], q, rtol=6e-3)
        assert its["reading"]["percent"] == [round(100 * share) for share in reading.shares]


def test_planes():
    for plane in explained("dense").planes:
        data, found = plane_data(plane), plane.found
        left, right, bottom, top = found.window
        span = max(right - left, top - bottom)
        ends = np.array(data["lines"]).reshape(-1, 2, 2)
        for line, points in zip(found.lines, ends, strict=True):
            size = np.hypot(line[0], line[1])
            np.testing.assert_allclose(points @ line[:2] + line[2], 0, atol=2e-3 * span * size)
        near = np.abs(ends[..., None] - [[left, right], [bottom, top]]).min((-1, -2))
        assert near.max() < 1e-3 * span
        assert data["cells"] == len(found.cells)
        assert {label for label, _ in data["tints"]} == set(found.classes.tolist())
        np.testing.assert_allclose(data["points"], found.examples, rtol=1e-3)


def test_without_a_view():
    assert network_data(None) is None
    assert units_data(None, 3, 1) == [None] * 3


@pytest.mark.parametrize("count", [1, 8, 9, 109])
def test_boxes(count):
    layers = [Layer(f"gate_{i}", (8 * (1 + i // 6), 4, 4)) for i in range(count)]
    found = boxes(layers)
    assert len(found) <= MOST_BOXES
    assert [i for box in found for i in box["layers"]] == list(range(count))
