"""Positions taken from an input, and what the network then says.

A position is taken away by setting all its channels to 0 as the network reads them (after its input
transform): for most networks the mean of the training images.

- *Deletion* takes positions away, those first that speak most for the decision; *insertion* starts
  from none and gives them back in the same order. The number is the mean probability of the
  predicted class on the way: low after deletion and high after insertion is good.
- *Sensitivity-n* takes random sets of n positions away, and correlates the sum of what the
  explanation gives them with what the network loses; the mean over several n.
- *Stability* is the rank correlation of the explanation with that of an input with a little noise.

Source: deletion and insertion, arXiv 1806.07421; sensitivity-n, arXiv 1711.06104.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

ROWS = 256
"""Inputs that the network is called on at once."""

UNVARIED = 1e-9
"""Of sums, relative to the largest: what varies less does not vary."""


def without(z: Tensor, removed: Tensor) -> Tensor:
    """One input (1, ...) without the positions of each row of `removed` (n, positions...)."""
    mask = removed if z.dim() < 3 else removed.unsqueeze(1)
    return torch.where(mask.to(z.device), z.new_zeros(()), z)


def called(function: Callable[[Tensor], Tensor], z: Tensor, removed: Tensor) -> Tensor:
    """The function (inputs (m, ...) -> (m,)) of z without each set of positions, in float64."""
    parts = [function(without(z, rows)) for rows in removed.split(ROWS)]
    return torch.cat(parts).double().cpu()


def curve_masks(attribution: Tensor, fractions: Sequence[float]) -> tuple[Tensor, Tensor]:
    """What is taken away at each fraction, for deletion and for insertion: (fractions, ...) each.

    Ties are taken in the order of the positions.
    """
    flat = attribution.flatten()
    order = torch.argsort(flat, descending=True, stable=True)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order))
    counts = torch.tensor([round(fraction * len(flat)) for fraction in fractions])
    deleted = rank[None] < counts[:, None]
    shape = (len(counts), *attribution.shape)
    return deleted.reshape(shape), ~deleted.reshape(shape)


def random_sets(
    shape: Sequence[int], sizes: Sequence[int], sets: int, draw: torch.Generator
) -> Tensor:
    """For each size, so many sets of so many positions: (sizes, sets, *shape), bool."""
    count = int(np.prod(shape))
    keys = torch.rand(len(sizes), sets, count, generator=draw)
    ranks = keys.argsort(-1).argsort(-1)
    chosen = ranks < torch.tensor(sizes)[:, None, None]
    return chosen.reshape(len(sizes), sets, *shape)


def sensitivity(attribution: Tensor, sets: Tensor, losses: Tensor) -> float:
    """Mean over sizes of the correlation between attributed and lost: sets (sizes, n, ...).

    Where either is the same for all sets there is no correlation to speak of, and 0 stands for it.
    """
    given = (sets.flatten(2).double() @ attribution.flatten()).numpy()
    return float(np.mean([_correlation(g, loss) for g, loss in zip(given, losses, strict=True)]))


def _correlation(one: np.ndarray, other: Tensor) -> float:
    """Pearson's; 0 where one of them does not vary beyond rounding."""
    parts = []
    for values in (one, other.numpy()):
        if np.ptp(values) <= UNVARIED * np.abs(values).max():
            return 0.0
        centred = values - values.mean()
        parts.append(centred / np.linalg.norm(centred))
    return float(parts[0] @ parts[1])


def rank_correlation(one: Tensor, other: Tensor) -> float:
    """Spearman's, of two explanations; 0 where one gives every position the same."""
    from scipy.stats import rankdata

    ranks = [rankdata(values.flatten().numpy()) for values in (one, other)]
    return _correlation(ranks[0], torch.from_numpy(ranks[1]))


def area(curve: Tensor, fractions: Sequence[float]) -> float:
    """Mean height of a curve over [0, 1], by trapezoids."""
    return float(torch.trapezoid(curve, torch.tensor(fractions, dtype=torch.float64)))
