"""Norms of the filters behind every layer: what turns pre-activations into distances."""

from __future__ import annotations

import time
from collections.abc import Iterable

import numpy as np

from dualview.primal.filters import PrimalFilters

MOST_SECONDS = 30.0
"""Spent on norms; layers that are going to take longer are not begun: deep ones take minutes."""


def norms_by_layer(
    found: Iterable[PrimalFilters],
) -> tuple[list[np.ndarray | None], str]:
    """The norm of every gate's filter, layer by layer, and which layers lack them, in words.

    Returns:
        For each layer an array of its gates' shape, or None where it would have taken too long.
    """
    norms: list[np.ndarray | None] = []
    start = time.perf_counter()
    for layer in found:
        late = time.perf_counter() - start + layer.norms_seconds > MOST_SECONDS
        norms.append(None if late else layer.norms.numpy())
    first = next((i for i, norm in enumerate(norms, start=1) if norm is None), None)
    if first is None:
        return norms, ""
    return norms, (
        f"There are no distances to hyperplanes from gate {first} on: the norms of filters so deep "
        f"take minutes."
    )


def distances(q: np.ndarray, norms: np.ndarray) -> np.ndarray:
    """The distance q / |F| of every gate; infinite for a gate without a filter, 0 where q is 0.

    >>> distances(np.array([3.0, -1.0, 0.0]), np.array([2.0, 0.0, 0.0]))
    array([ 1.5, -inf,  0. ])
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(q == 0, q, q / norms)


def nearest(found: np.ndarray) -> float | None:
    """The smallest of a layer's |distances|; None where no gate depends on the input."""
    smallest = float(np.abs(found).min())
    return smallest if np.isfinite(smallest) else None
