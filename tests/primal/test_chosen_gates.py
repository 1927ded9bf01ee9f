"""Flat numbers are those of the layer's own order; all gates by default."""

import torch

from dualview.primal.chosen_gates import chosen_channels, chosen_positions, flat_gates


def test_flat_numbers():
    numbers = torch.arange(24).view(2, 3, 4)
    places = chosen_positions([(2, 1), (0, 3)], (3, 4), 0)
    found = flat_gates(chosen_channels([1, 0], 2), places, (2, 3, 4))
    assert found.tolist() == [int(numbers[c, i, j]) for c in (1, 0) for i, j in places]
    every = flat_gates(chosen_channels(None, 2), chosen_positions(None, (3, 4), 0), (2, 3, 4))
    assert torch.equal(every, numbers.flatten())
    assert flat_gates(chosen_channels(4, 5), chosen_positions(None, (), 0), (5,)).tolist() == [4]
