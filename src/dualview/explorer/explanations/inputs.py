"""Examples of a data set as a network meets them, and which of them to take."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from dualview.datasets import Batches, Dataset, Split


def inputs(data: Dataset, part: Split, rows: Sequence[int]) -> Tensor:
    """Some examples of a split, normalised as for training: (n, c, h, w) float32."""
    chosen = Split(part.images[list(rows)], part.labels[list(rows)])
    images, _ = next(iter(Batches(chosen, len(rows), mean=data.mean, std=data.std)))
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
