"""Values of a graph as sums of terms, for the row kernel: planes and recipes, nothing computed.

A value is a sum of terms, as in `dualview.path_kernel.terms`: each the random values of one origin,
whose kernel one *plane* will hold, times a factor of each example. Pools wait as long as they may:
then the channels' sum is pooled, and not each channel. Only where a gate follows a pool must its
windows be told apart, channel by channel: the factor is seen at every place of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dualview.path_kernel.fast.factors import (
    Constant,
    Factor,
    Mapped,
    Moved,
    Product,
    Selected,
    Summed,
)
from dualview.path_kernel.fast.plan import NotApplicableError
from dualview.path_kernel.fast.position_maps import PositionMap, Size

ONE = "one"
"""Origin of what is not random: the input, and constants."""
NOWHERE = -1
"""The channel of an origin that a channel of zeros has."""


@dataclass(frozen=True, eq=False)
class RowTerm:
    """One term of a value.

    Attributes:
        plane: its kernel; None: the constants `moments` (NPK, NTK).
        factor: of each example, or None for 1.
        origin: whose random values these are.
        channels: (c,) which channel of the origin each channel is, or `NOWHERE`.
        groups: (c,) which group of the plane each channel reads.
        window: the places of the plane that the factor's windows see; None: the position itself.
        pending: a map over positions after the product with the factor.
        coefficient: what the term is multiplied by.
        moments: the constants where there is no plane.
        ties: for each of the factor's windows the random weight that it is multiplied by: only
            windows of the same one meet. None: it is one for all.
        slope, log: of the weight layers that the term has met since its plane: what they add of
            the kernel to the NTK, and the logarithm of what they multiply both by.
    """

    plane: int | None
    factor: Factor | None
    origin: Any
    channels: np.ndarray
    groups: np.ndarray
    window: PositionMap | None = None
    pending: PositionMap | None = None
    coefficient: float = 1.0
    moments: tuple[float, float] = (1.0, 0.0)
    ties: np.ndarray | None = None
    slope: float = 0.0
    log: float = 0.0

    @property
    def inner(self) -> Size:
        """Rows and columns of the windows that the factor is seen at."""
        return (1, 1) if self.window is None else (self.window.rows.taps, self.window.columns.taps)


@dataclass(frozen=True, eq=False)
class RowValue:
    """A node's value: images of `size`, or vectors (`dims` 0), seen as vectors where `flat`."""

    terms: tuple[RowTerm, ...]
    channels: int
    size: Size
    dims: int
    flat: bool = False

    @property
    def positions(self) -> int:
        """Height times width."""
        return self.size[0] * self.size[1]

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the tensor for one example, with the axis of examples."""
        if self.flat or not self.dims:
            return (1, self.channels * self.positions)
        return (1, self.channels, *self.size[2 - self.dims :])


def ones(channels: int, size: Size) -> Factor:
    """The factor 1."""
    return Constant(torch.ones(channels, *size, dtype=torch.bool), True)


def times(value: RowValue, factor: Factor) -> RowValue:
    """Every term times a factor."""
    terms = []
    for term in value.terms:
        term = settled(term, value.channels)
        both = factor if term.factor is None else Product(term.factor, factor)
        terms.append(replace(term, factor=both))
    return replace(value, terms=tuple(terms))


def settled(term: RowTerm, channels: int) -> RowTerm:
    """The term with its pending map told apart by the windows of its factor."""
    return term if term.pending is None else seen_at(term, channels, term.pending)


def seen_at(
    term: RowTerm,
    channels: int,
    over: PositionMap,
    switch: int | None = None,
    ties: np.ndarray | None = None,
) -> RowTerm:
    """The term seen at every place of a map's windows, or at those that a switch names.

    `ties` (rows, columns of a window): the random weight of each of its places, if they have some.
    """
    moved = Moved(term.factor or ones(channels, over.before), over, switch, term.inner)
    if ties is not None or term.ties is not None:
        outer = np.zeros((over.rows.taps, over.columns.taps), int) if ties is None else ties
        inner = np.zeros(term.inner, int) if term.ties is None else term.ties.reshape(term.inner)
        both = outer[:, None, :, None] * (inner.max() + 1) + inner[None, :, None, :]
        ties = both.reshape(-1)
    return replace(term, factor=moved, window=over.after(term.window), pending=None, ties=ties)


def mapped(value: RowValue, over: PositionMap, function: Any) -> tuple[RowTerm, ...]:
    """The terms after a linear map over positions, `function` of images (n, 1, height, width)."""
    terms = []
    for term in value.terms:
        if term.plane is None and term.window is None:  # the same kernel at all positions
            factor = term.factor or ones(value.channels, value.size)
            terms.append(replace(term, factor=Mapped(factor, function)))
        elif over.selects and (term.factor is not None or term.window is not None):
            terms.append(seen_at(settled(term, value.channels), value.channels, over))
        else:
            terms.append(replace(term, pending=over.after(term.pending)))
    return tuple(terms)


def chosen(value: RowValue, windows: PositionMap, switch: int) -> RowValue:
    """The value after a max pool whose choice is input `switch`."""
    terms = []
    for term in value.terms:
        term = seen_at(settled(term, value.channels), value.channels, windows, switch)
        if term.plane is None and term.ties is None:
            assert term.factor is not None
            term = replace(term, factor=Summed(term.factor), window=None)
        terms.append(term)
    return replace(value, terms=tuple(terms), size=windows.size)


def selected(value: RowValue, index: Tensor) -> RowValue:
    """The value whose channel i is channel index[i] of `value`; `NOWHERE`: zeros."""
    kept, nothing = index.clamp(min=0).numpy(), (index < 0).numpy()
    terms = []
    for term in value.terms:
        factor = term.factor
        if factor is None and nothing.any():
            size = value.size if term.pending is None else term.pending.before
            factor = ones(value.channels, size)
        if factor is not None:
            factor = Selected(factor, index)
        channels = np.where(nothing, NOWHERE, term.channels[kept])
        groups = np.where(nothing, 0, term.groups[kept])
        terms.append(replace(term, factor=factor, channels=channels, groups=groups))
    return replace(value, terms=tuple(terms), channels=len(index))


def added(left: RowValue, right: RowValue) -> RowValue:
    """The terms of both, side by side.

    Raises:
        NotApplicableError: they hold the same random values at one channel.
    """
    for one in left.terms:
        for other in right.terms:
            same = (one.channels == other.channels) & (one.channels != NOWHERE)
            if one.origin == other.origin and same.any():
                raise NotApplicableError("two views of one value are added")
    return replace(left, terms=(*left.terms, *right.terms))
