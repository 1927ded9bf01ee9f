"""Examples of a data set as a network meets them, and which of them to take."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor, nn

from dualview.datasets import Dataset, Split
from dualview.training.feeding import batches_for


def inputs(net: nn.Module, data: Dataset, part: Split, rows: Sequence[int]) -> Tensor:
    """Some examples of a split as `net` is to be called on them: (n, c, h, w) float32.

    As they are if it carries an input transform, else standardised as for training.
    """
    chosen = Split(part.images[list(rows)], part.labels[list(rows)])
    images, _ = next(iter(batches_for(net, data, chosen, len(rows))))
    return images


def spread_rows(count: int, available: int) -> list[int]:
    """`count` rows spread evenly over those available, so that sorted data is sampled fairly.

    >>> spread_rows(3, 10), spread_rows(5, 4)
    ([0, 4, 9], [0, 1, 2, 3])
    """
    rows: list[int] = (
        np.linspace(0, available - 1, min(count, available)).round().astype(int).tolist()
    )
    return rows
