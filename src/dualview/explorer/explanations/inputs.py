"""Examples of a data set as a network meets them, and which of them to take."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from dualview.datasets import Dataset, Split
from dualview.errors import DataError
from dualview.training.feeding import batches_for, inputs_of

PREDICTED_TOGETHER = 200
"""Examples at a time, where all of a split are predicted."""


def inputs(net: nn.Module, data: Dataset, part: Split, rows: Sequence[int]) -> Tensor:
    """Some examples of a split as `net` is to be called on them: (n, c, h, w) float32.

    As they are if it carries an input transform, else standardised as for training.
    """
    return inputs_of(net, data, part.at(list(rows)))


def wrong_rows(net: nn.Module, data: Dataset, part: Split, count: int) -> list[int]:
    """Up to `count` rows that the network takes for another class, spread over all of them.

    Raises:
        DataError: there is none.
    """
    own = copy.deepcopy(net).cpu().float().eval()
    with torch.no_grad():
        batches = batches_for(own, data, part, PREDICTED_TOGETHER)
        wrong = torch.cat([own(images).argmax(1) != labels for images, labels in batches])
    found: list[int] = wrong.nonzero().flatten().tolist()
    if not found:
        raise DataError(
            f"wrong: expected an example that the network takes for another class, got none among "
            f"{len(part):,}. Repair: without wrong (--wrong), to see those that it takes rightly"
        )
    return [found[place] for place in spread_rows(count, len(found))]


def spread_rows(count: int, available: int) -> list[int]:
    """`count` rows spread evenly over those available, so that sorted data is sampled fairly.

    >>> spread_rows(3, 10), spread_rows(5, 4)
    ([0, 4, 9], [0, 1, 2, 3])
    """
    places = np.linspace(0, available - 1, min(count, available)).round().astype(int)
    return places.tolist()
