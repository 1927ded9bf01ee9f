"""The covariance of two examples' activations as a short sum of terms.

With gates fixed and all weights independent, zero-mean, the covariance of channel i at positions p
(first example) and q (second) is

    cov_i[p, q] = sum_t L_t( K_t[g(i), p, q] * left_t[i, p] * right_t[i, q] )

K_t does not depend on the channel, except through a group g(i) of channels (one group unless
grouped convolutions or channelwise choices made more); left and right are one factor per example,
channel and position (products of gates); L_t, usually nothing, are linear maps over positions that
wait until the channels are summed. Different channels are uncorrelated. Rules: theory, section 4.5.

Axes: kernel (s, n1, n2, g, *p, *q); left (n1, c, *p); right (n2, c, *q).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dualview.path_kernel.positions import LEADING, PositionMap, apply_map, diagonal_sum


@dataclass(frozen=True)
class Term:
    """One term of the sum.

    Attributes:
        kernel: K_t / exp(log_scale), or None for 1 everywhere (the input itself).
        left: the first example's factor, or None for 1.
        right: the second example's.
        log_scale: natural logarithm of the factor that `kernel` leaves out.
        source: names K_t. Terms of one source are the same random values times other factors.
        roots: the weight layers, inputs and biases whose values the term is linear in. Terms with
            no root in common are uncorrelated.
        pending: maps over positions to apply after the product with left and right.
    """

    kernel: Tensor | None
    left: Tensor | None
    right: Tensor | None
    log_scale: float
    source: Hashable
    roots: frozenset[Hashable]
    pending: tuple[PositionMap, ...] = ()


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


def gated(term: Term, value: Value, left: Tensor, right: Tensor) -> Term:
    """The term after multiplication by a factor per example, channel and position."""
    term = settled(term, value)
    return replace(
        term,
        left=left if term.left is None else term.left * left,
        right=right if term.right is None else term.right * right,
    )


def mapped(
    term: Term, value: Value, function: PositionMap, node: Hashable, *, selects: bool
) -> Term:
    """The term after a linear map over positions that treats all channels alike.

    `selects` says that each new position copies one old one (or is 0), so that the map may be
    applied to the kernel and the factors apart.
    """
    if term.pending or not (selects or term.kernel is None or term.left is None):
        return replace(term, pending=(*term.pending, function))
    kernel = term.kernel if term.kernel is None else apply_map(term.kernel, function, value.dims)
    left, right = (_map_factor(f, function) for f in (term.left, term.right))
    return replace(term, kernel=kernel, left=left, right=right, source=(term.source, node))


def _map_factor(factor: Tensor | None, function: PositionMap) -> Tensor | None:
    if factor is None:
        return None
    n, c = factor.shape[:2]
    image = function(factor.reshape(n * c, 1, *factor.shape[2:]))
    return image.reshape(n, c, *image.shape[2:])


def settled(term: Term, value: Value) -> Term:
    """The same term with no map pending; if one was, with one kernel per channel, no factors."""
    if not term.pending:
        return term
    kernel = with_groups(term, value.channels) * factor_product(term)
    dims = term.left.dim() - 2 if term.left is not None else value.dims
    for function in term.pending:
        kernel = apply_map(kernel, function, dims)
    return Term(kernel, None, None, term.log_scale, object(), term.roots)


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
    """The kernel with one entry per channel on its group axis (or 1 everywhere)."""
    if term.kernel is None:
        factor = term.left if term.left is not None else term.right
        assert factor is not None
        return factor.new_ones((1,) * (LEADING + 2 * (factor.dim() - 2)))
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
        kernel = _overlap(term, groups).unsqueeze(0)
    else:
        finest = math.lcm(groups, term.kernel.shape[3])
        kernel = _overlap(term, finest) * _split(term.kernel, finest)
        kernel = _regroup(kernel, groups)
    dims = (kernel.dim() - LEADING) // 2
    for function in term.pending:
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
        return (left @ right.mT / left.shape[1])[None, :, :, None]
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


def added(left: tuple[Term, ...], right: tuple[Term, ...]) -> tuple[Term, ...] | None:
    """The terms of a sum of two values; None where the two are correlated and no rule covers it.

    Terms of one source add their factors; terms without a common root are uncorrelated and stand
    side by side.
    """
    merged = list(left)
    for term in right:
        twin = next((i for i, t in enumerate(merged) if _same_values(t, term)), None)
        if twin is not None:
            merged[twin] = _sum_of_factors(merged[twin], term)
        elif any(t.roots & term.roots for t in merged):
            return None
        else:
            merged.append(term)
    return tuple(merged)


def _same_values(one: Term, other: Term) -> bool:
    return (
        one.source == other.source
        and one.kernel is other.kernel
        and not (one.pending or other.pending)
    )


def _sum_of_factors(one: Term, other: Term) -> Term:
    def plus(a: Tensor | None, b: Tensor | None) -> Tensor:
        return (1 if a is None else a) + (1 if b is None else b)  # type: ignore[return-value]

    if one.left is None and other.left is None:  # the same values twice: 2 * 2
        return replace(one, log_scale=one.log_scale + math.log(4))
    left, right = plus(one.left, other.left), plus(one.right, other.right)
    return replace(one, left=left, right=right)


def with_channels(term: Term, value: Value, select: Callable[[Tensor], Tensor]) -> Term:
    """The term after a map that copies or drops channels, or adds channels of zeros.

    `select` does it to a factor (n, c, *positions).
    """
    if term.left is None or term.right is None:
        assert term.kernel is not None
        ones = term.kernel.new_ones(1, value.channels, *value.positions)
        left = right = ones
    else:
        left, right = term.left, term.right
    kernel = term.kernel
    if kernel is not None and kernel.shape[3] > 1:  # its groups are copied and dropped alike
        fine = with_groups(term, value.channels)
        lead, rest = fine.shape[:3], fine.shape[LEADING:]
        flat = fine.reshape(math.prod(lead), value.channels, math.prod(rest))
        kernel = select(flat.unsqueeze(-1)).squeeze(-1).reshape(*lead, -1, *rest)
    return replace(term, kernel=kernel, left=select(left), right=select(right))


def some_tensor(value: Value) -> Tensor:
    """Any tensor of the value, for its type and device."""
    term = value.terms[0]
    tensor = term.kernel if term.kernel is not None else term.left
    assert tensor is not None
    return tensor
