"""Flat numbers are those of the layer's own order; all gates by default."""

import torch

from dualview.primal.chosen_gates import chosen_gates, flat_gates


def test_flat_numbers():
    numbers = torch.arange(24).view(2, 3, 4)
    channels, places = chosen_gates([1, 0], [(2, 1), (0, 3)], (2, 3, 4), 0)
    found = flat_gates(channels, places, (2, 3, 4))
    assert found.tolist() == [int(numbers[c, i, j]) for c in (1, 0) for i, j in places]
    every = flat_gates(*chosen_gates(None, None, (2, 3, 4), 0), (2, 3, 4))
    assert torch.equal(every, numbers.flatten())
    assert flat_gates(*chosen_gates(4, None, (5,), 0), (5,)).tolist() == [4]
