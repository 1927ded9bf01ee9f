"""The covariance of two examples' activations as a short sum of terms.

With gates fixed and all weights independent, zero-mean, a value is a sum of terms. Each is the
random values of one *origin* (a weight layer's output, a bias, or the constant 1 that the input
multiplies), seen through maps over positions, times a factor:

    value_i[p] = sum_t L_t( left_t[i, p] * B_t[channels_t(i), p] )

The covariance of channel i at positions p (first example) and q (second) is then

    cov_i[p, q] = sum_t L_t( K_t[g(i), p, q] * left_t[i, p] * right_t[i, q] )

provided that no two terms have the same random value at the same channel. `added` keeps that true:
different channels of one origin are uncorrelated, and equal ones add their factors. What different
channels i and j share is never needed, since every weight layer draws a weight for each.

K_t does not depend on the channel, except through a group g(i) of channels (one group unless
grouped convolutions or channelwise choices made more); left and right are one factor per example,
channel and position (products of gates); L_t, usually nothing, are linear maps over positions that
wait until the channels are summed. Rules: theory, section 4.5.

Axes: kernel (s, n1, n2, g, *p, *q); left (n1, c, *p); right (n2, c, *q).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from dualview.path_kernel.positions import LEADING, PositionMap, apply_map, diagonal_sum
from dualview.path_kernel.scale import LogScale, summed

ONE = "one"
"""Origin of what is not random: the input, and constants. It is the same for every channel."""

NOWHERE = -1
"""The channel of an origin that a channel of zeros has."""


@dataclass(frozen=True)
class Term:
    """One term of the sum.

    Attributes:
        kernel: K_t / exp(log_scale), or None for 1 everywhere (the input itself, a bias).
        left: the first example's factor, or None for 1; the same object as `right` if it is a
            constant of the network.
        right: the second example's.
        log_scale: natural logarithm of the factor that `kernel` leaves out, for all pairs of
            examples or for each (n1, n2).
        origin: whose random values these are. Terms of different origins are uncorrelated.
        channels: (c,): which channel of the origin each channel is, `NOWHERE` for zeros.
        view: the position maps that made the kernel from the origin's. Terms of one origin and one
            view are the same random values, times other factors, wherever their channels agree.
        pending: maps over positions to apply after the product with left and right, with names:
            equal names are equal maps.
        coefficient: a number that the term is multiplied by.
        moments: NPK (and NTK, if it has one) of the origin, where `kernel` is None.
    """

    kernel: Tensor | None
    left: Tensor | None
    right: Tensor | None
    log_scale: LogScale
    origin: Hashable
    channels: Tensor
    view: tuple[Hashable, ...] = ()
    pending: tuple[tuple[Hashable, PositionMap], ...] = ()
    coefficient: float = 1.0
    moments: tuple[float, ...] = (1.0,)

    @property
    def is_constant(self) -> bool:
        """Whether the factor is the same for every example."""
        return self.left is self.right


@dataclass(frozen=True)
class Value:
    """A node's activations: terms, channels, and the positions of each example.

    `flat` says that the tensor is seen as (n, channels * positions), as after flatten.
    """

    terms: tuple[Term, ...]
    channels: int
    positions: tuple[int, ...]
    flat: bool = False

    @property
    def dims(self) -> int:
        """Number of position axes."""
        return len(self.positions)


def own_channels(count: int) -> Tensor:
    """The channels of a value that is its origin's output itself."""
    return torch.arange(count)


def gated(term: Term, value: Value, left: Tensor, right: Tensor) -> Term:
    """The term after multiplication by a factor per example, channel and position."""
    term = settled(term, value)
    first = left if term.left is None else term.left * left
    if left is right and term.is_constant:
        return replace(term, left=first, right=first)
    return replace(term, left=first, right=right if term.right is None else term.right * right)


def mapped(
    term: Term, value: Value, function: PositionMap, name: Hashable, *, selects: bool
) -> Term:
    """The term after a linear map over positions that treats all channels alike.

    `selects` says that each new position copies one old one (or is 0), so that the map may be
    applied to the kernel and the factors apart. Equal `name`s promise equal maps.
    """
    if term.kernel is None:  # equal at all positions, so that the map acts on the factors alone
        return with_factors(term, lambda factor: _map_factor(factor, function))
    if term.pending or not (selects or term.left is None):
        return replace(term, pending=(*term.pending, (name, function)))
    kernel = apply_map(term.kernel, function, value.dims)
    term = with_factors(term, lambda factor: _map_factor(factor, function))
    return replace(term, kernel=kernel, view=(*term.view, name))


def with_factors(term: Term, function: Callable[[Tensor], Tensor]) -> Term:
    """The term with its factors, if it has any, changed by `function`."""
    if term.left is None or term.right is None:
        return term
    left = function(term.left)
    return replace(term, left=left, right=left if term.is_constant else function(term.right))


def _map_factor(factor: Tensor, function: PositionMap) -> Tensor:
    n, c = factor.shape[:2]
    image = function(factor.reshape(n * c, 1, *factor.shape[2:]))
    return image.reshape(n, c, *image.shape[2:])


def settled(term: Term, value: Value) -> Term:
    """The same term with no map pending; if one was, with one kernel per channel, no factors."""
    if not term.pending:
        return term
    kernel = with_groups(term, value.channels) * factor_product(term)
    dims = term.left.dim() - 2 if term.left is not None else value.dims
    for _, function in term.pending:
        kernel = apply_map(kernel, function, dims)
    return replace(term, kernel=kernel, left=None, right=None, view=(object(),), pending=())


def factor_product(term: Term) -> Tensor:
    """left[i, p] * right[i, q] for every pair: (1, n1, n2, c, *p, *q)."""
    assert term.left is not None
    assert term.right is not None
    dims = term.left.dim() - 2
    left = term.left.reshape(1, len(term.left), 1, *term.left.shape[1:], *(1,) * dims)
    n, c = term.right.shape[:2]
    right = term.right.reshape(1, 1, n, c, *(1,) * dims, *term.right.shape[2:])
    return left * right


def with_groups(term: Term, channels: int) -> Tensor:
    """The kernel with one entry per channel on its group axis, or one for all channels."""
    assert term.kernel is not None
    groups = term.kernel.shape[3]
    return term.kernel.repeat_interleave(channels // groups, 3) if groups > 1 else term.kernel


def channel_mean(term: Term, value: Value, groups: int = 1) -> Tensor:
    """Mean over the channels of each of `groups` equal groups: (s, n1, n2, groups, *p, *q).

    The mean, and not the sum, so that values stay near 1 whatever the width.
    """
    if term.left is None:
        assert term.kernel is not None
        kernel = _regroup(term.kernel, groups)
    elif term.kernel is None:
        kernel = _with_moments(term, _overlap(term, groups).unsqueeze(0))
    else:
        finest = math.lcm(groups, term.kernel.shape[3])
        kernel = _overlap(term, finest) * _split(term.kernel, finest)
        kernel = _regroup(kernel, groups)
    dims = (kernel.dim() - LEADING) // 2
    for _, function in term.pending:
        kernel = apply_map(kernel, function, dims)
    return kernel


def diagonal_mean(term: Term, value: Value) -> Tensor:
    """Mean over channels and equal positions, p = q: (s, n1, n2, 1).

    What a dense layer does to a flattened image; pairs of unequal positions are never formed.
    """
    positions = math.prod(value.positions)
    if term.pending:
        return diagonal_sum(channel_mean(term, value), value.dims) / positions
    if term.kernel is None:
        assert term.left is not None
        assert term.right is not None
        left, right = term.left.flatten(1), term.right.flatten(1)
        return _with_moments(term, (left @ right.mT / left.shape[1])[None, :, :, None])
    lead, groups = term.kernel.shape[:LEADING], term.kernel.shape[3]
    kernel = term.kernel.reshape(*lead, positions, positions).diagonal(dim1=-2, dim2=-1)
    if term.left is not None and term.right is not None:
        left, right = (f.reshape(len(f), groups, -1, positions) for f in (term.left, term.right))
        kernel = kernel * torch.einsum("agcp,bgcp->abgp", left, right) / left.shape[2]
    return kernel.mean((-2, -1)).unsqueeze(-1)


def _overlap(term: Term, groups: int) -> Tensor:
    """Mean over channels of left * right, group by group: (n1, n2, groups, *p, *q)."""
    assert term.left is not None
    assert term.right is not None
    n1, c, *p = term.left.shape
    n2, _, *q = term.right.shape
    left = term.left.reshape(n1, groups, c // groups, math.prod(p))
    right = term.right.reshape(n2, groups, c // groups, math.prod(q))
    overlap = torch.einsum("agcp,bgcq->abgpq", left, right)
    return overlap.reshape(n1, n2, groups, *p, *q) * (groups / c)


def _split(kernel: Tensor, groups: int) -> Tensor:
    """Each group's kernel repeated for its finer groups."""
    return kernel.repeat_interleave(groups // kernel.shape[3], 3)


def _regroup(kernel: Tensor, groups: int) -> Tensor:
    """Mean over finer groups, or repetition for finer ones asked for."""
    have = kernel.shape[3]
    if have == groups:
        return kernel
    finest = math.lcm(have, groups)
    fine = _split(kernel, finest) if finest > have else kernel
    return fine.unflatten(3, (groups, finest // groups)).mean(4)


def _with_moments(term: Term, kernel: Tensor) -> Tensor:
    """The kernels of a term without one of its own, from the overlap of its factors."""
    moments = kernel.new_tensor(term.moments)
    return moments.reshape(-1, *(1,) * (kernel.dim() - 1)) * kernel


def added(left: tuple[Term, ...], right: tuple[Term, ...]) -> tuple[Term, ...] | None:
    """The terms of a sum of two values; None where they share random values that no rule covers.

    Where two terms are the same random values they add their factors. Where they are uncorrelated,
    because their origins differ or their channels do, they stand side by side. What is left are
    the same random values seen through different maps over positions.
    """
    terms = list(left)
    for term in right:
        rest: Term | None = term
        for i, other in enumerate(terms):
            if rest is None or other.origin != rest.origin:
                continue
            same = (other.channels == rest.channels) & (rest.channels != NOWHERE)
            one, seen = _in_one_view(other, rest)
            if _same_view(one, seen):
                terms[i], rest = _merged(one, seen, same)
            elif same.any():
                return None
        if rest is not None:
            terms = _with_zeros_filled(terms, rest)
    return tuple(terms)


def _names(term: Term) -> tuple[Hashable, ...]:
    return tuple(name for name, _ in term.pending)


def _same_view(one: Term, other: Term) -> bool:
    return one.view == other.view and _names(one) == _names(other)


def _in_one_view(one: Term, other: Term) -> tuple[Term, Term]:
    """Both terms, with maps of the one pending as they are for the other, if they are the same.

    A map acts at once on a term without factors, and waits where there are some.
    """
    if len(one.view) > len(other.view):
        return _as_pending_as(one, other), other
    return one, _as_pending_as(other, one)


def _as_pending_as(term: Term, other: Term) -> Term:
    """The term with the other's kernel, if that is its own before maps that the other awaits."""
    whole = (*term.view, *_names(term)) == (*other.view, *_names(other))
    if term.view == other.view or not whole or term.left is not None or other.kernel is None:
        return term
    if not torch.equal(term.channels, other.channels):  # whose kernels may differ
        return term
    return replace(term, kernel=other.kernel, view=other.view, pending=other.pending)


def _with_zeros_filled(terms: list[Term], term: Term) -> list[Term]:
    """One more term, put into channels where another one is zero if that one's kernel is its own.

    So concatenation and its like do not make more terms than there are kernels.
    """
    for i, other in enumerate(terms):
        whole = term.kernel is None or term.kernel.shape[3] == 1
        alike = other.origin == term.origin and other.kernel is term.kernel
        if whole and alike and _same_view(other, term) and other.left is not None:
            free = (other.channels == NOWHERE) & (term.channels != NOWHERE)
            if torch.equal(free, term.channels != NOWHERE):
                merged, _ = _merged(other, term, free)
                return [*terms[:i], merged, *terms[i + 1 :]]
    return [*terms, term]


def _merged(one: Term, other: Term, where: Tensor) -> tuple[Term, Term | None]:
    """`one` with the other's channels `where` added to it, and what is left of the other.

    Both are of one view, and of one channel wherever both are not zero.
    """
    if not where.any():
        return one, other
    if bool(where.all()) and one.left is None and other.left is None:
        return replace(one, coefficient=one.coefficient + other.coefficient), None
    rest = ~where & (other.channels != NOWHERE)
    channels = torch.where(where, other.channels, one.channels)
    moved = _times_mask(other, where)
    constant = one.is_constant and other.is_constant
    left: Any = _factor(one, one.left) + _factor(moved, moved.left)
    right: Any = left if constant else _factor(one, one.right) + _factor(moved, moved.right)
    merged = replace(one, left=left, right=right, channels=channels, coefficient=1.0)
    return merged, _times_mask(other, rest) if rest.any() else None


def _times_mask(term: Term, mask: Tensor) -> Term:
    """The term with zeros outside of the channels of `mask`."""
    if mask.all():
        return term
    keep = torch.where(mask, own_channels(len(mask)), NOWHERE)
    return select_channels(term, keep)


def _factor(term: Term, factor: Tensor | None) -> Tensor | float:
    return term.coefficient if factor is None else term.coefficient * factor


def select_channels(term: Term, index: Tensor) -> Term:
    """The term whose channel i is its channel index[i] now, or zeros where that is `NOWHERE`."""
    zeros = index == NOWHERE
    kept = index.clamp(min=0)
    kernel = term.kernel
    if kernel is not None and kernel.shape[3] > 1:  # its groups are copied and dropped alike
        groups = kernel.shape[3]
        kernel = kernel.index_select(3, (kept * groups // len(term.channels)).to(kernel.device))
    if term.left is None and zeros.any():
        assert kernel is not None
        dims = (kernel.dim() - LEADING) // 2
        ones = kernel.new_ones(1, len(term.channels), *(1,) * dims)
        ones = ones.expand(-1, -1, *kernel.shape[LEADING : LEADING + dims])
        term = replace(term, left=ones, right=ones)

    def select(factor: Tensor) -> Tensor:
        picked = factor.index_select(1, kept.to(factor.device))
        if zeros.any():
            mask = (~zeros).to(factor).reshape(1, -1, *(1,) * (factor.dim() - 2))
            picked = picked * mask
        return picked

    channels = torch.where(zeros, NOWHERE, term.channels[kept])
    return replace(with_factors(term, select), kernel=kernel, channels=channels)


def some_tensor(value: Value) -> Tensor:
    """Any tensor of the value, for its type and device."""
    term = value.terms[0]
    tensor = term.kernel if term.kernel is not None else term.left
    assert tensor is not None
    return tensor


def combined(value: Value, reduce: Callable[[Term], Tensor]) -> tuple[Tensor, LogScale]:
    """The sum of all terms, each reduced to a kernel, and its logarithmic scale."""
    parts = [_times_square(reduce(term), term.coefficient) for term in value.terms]
    if max(len(part) for part in parts) == 2:  # an input term has no NTK yet
        parts = [part if len(part) == 2 else _with_zero_ntk(part) for part in parts]
    scales = [term.log_scale for term in value.terms]
    return summed(list(zip(parts, scales, strict=True)))


def _times_square(kernel: Tensor, coefficient: float) -> Tensor:
    return kernel if coefficient in (1, -1) else kernel * coefficient**2


def _with_zero_ntk(kernel: Tensor) -> Tensor:
    return torch.cat([kernel, torch.zeros_like(kernel)])
