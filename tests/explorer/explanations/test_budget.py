"""What is kept of each example.

- Whatever the network and the number of examples, gates take no more than their share of a page,
  unless the smallest choice does; more examples never get more.
- Few examples of a small network get everything.
- A shrunk map has the mean of each block, the last block being smaller; factor 1 changes nothing.
"""

import itertools
import math

import numpy as np
import pytest

from dualview.explorer.explanations.budget import (
    CHANNEL_BYTES,
    CHOICES,
    FEWEST_PATHS,
    GROUP_BYTES,
    GROUP_CHOICES,
    LAYER_BYTES,
    LAYERS_BYTES,
    MOST_PATHS,
    PATH_STOPS,
    budget_of,
    map_shape,
    shrink_factor,
    shrunk,
)
from dualview.explorer.explanations.records import Layer

NETWORKS = {
    "fc": [Layer(f"gate_{i}", (1000,)) for i in range(1, 6)],
    "c4gap": [Layer(f"gate_{i}", (128, 32, 32)) for i in range(1, 5)],
    "resnet110": [Layer(f"gate_{i}", (16, 32, 32)) for i in range(1, 110)],
    "large images": [Layer("gate_1", (64, 224, 224)), Layer("gate_2", (10,))],
}


def kept(layers, budget, n):
    """Bytes of gate maps and numbers, counted anew."""
    total = 0
    for layer in layers:
        total += LAYER_BYTES + budget.channels * CHANNEL_BYTES
        if layer.is_dense:
            total += layer.shape[0]
            continue
        rows, columns = map_shape(layer.shape[1:])
        factor = shrink_factor((rows, columns), budget.side)
        total += (budget.channels + 1) * math.ceil(rows / factor) * math.ceil(columns / factor)
    return n * total


@pytest.mark.parametrize(
    ("name", "n"), itertools.product(NETWORKS, [1, 12, 200, 3000]), ids=lambda value: str(value)
)
def test_fits(name, n):
    layers = NETWORKS[name]
    budget = budget_of(layers, n)
    smallest = (budget.side, budget.channels) == CHOICES[-1]
    assert kept(layers, budget, n) <= LAYERS_BYTES or smallest
    assert FEWEST_PATHS <= budget.paths <= MOST_PATHS
    pictures = 3 * n * budget.groups * budget.group_side**2
    assert pictures <= GROUP_BYTES or (budget.groups, budget.group_side) == GROUP_CHOICES[-1]
    stops = 4 * n * budget.paths * (len(layers) + 2)
    assert stops <= PATH_STOPS or budget.paths == FEWEST_PATHS
    more = budget_of(layers, 2 * n)
    assert (more.side, more.channels, more.paths) <= (
        budget.side,
        max(budget.channels, more.channels),
        budget.paths,
    )


def test_a_small_page_has_everything():
    budget = budget_of(NETWORKS["c4gap"], 3)
    assert (budget.side, budget.channels) == CHOICES[0]
    assert budget.paths == MOST_PATHS


@pytest.mark.parametrize("factor", [1, 2, 3, 5, 9])
def test_shrunk_is_the_mean_of_blocks(factor):
    maps = np.random.default_rng(0).normal(size=(2, 7, 5))
    found = shrunk(maps, factor)
    rows, columns = range(0, 7, factor), range(0, 5, factor)
    assert found.shape == (2, len(rows), len(columns))
    for (i, row), (j, column) in itertools.product(enumerate(rows), enumerate(columns)):
        block = maps[:, row : row + factor, column : column + factor]
        np.testing.assert_allclose(found[:, i, j], block.mean((1, 2)), rtol=1e-12)


@pytest.mark.parametrize("shape", [(32, 32), (33, 8), (1, 500), (64, 65)])
def test_no_side_is_longer_than_asked(shape):
    factor = shrink_factor(shape, 32)
    assert max(math.ceil(side / factor) for side in shape) <= 32
    assert factor == 1 or max(math.ceil(side / (factor - 1)) for side in shape) > 32
