"""Sums over an axis of the tensor: what a weight layer does to the covariance of its input.

Weights are independent, so a weight layer sums the covariance of equal entries along the axis that
it reads; of the other axes every pair of positions stays.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from dualview.path_kernel.layout import Layout
from dualview.path_kernel.positions import LEADING, apply_map
from dualview.path_kernel.scale import LogScale, summed
from dualview.path_kernel.spread import correlated, explicit, has_copies, shared, spread_channels
from dualview.path_kernel.terms import (
    Term,
    Value,
    in_order,
    times_square,
    with_channels_in_order,
    with_groups,
    with_moments,
)


def combined(value: Value, reduce: Callable[[Term], Tensor]) -> tuple[Tensor, LogScale]:
    """The sum of all terms and of what they share, each reduced to a kernel, and its scale."""
    terms = [*value.terms, *(shared(one, other) for one, other in correlated(value.terms))]
    parts = [times_square(reduce(term), term.coefficient) for term in terms]
    if max(len(part) for part in parts) == 2:  # an input term has no NTK yet
        parts = [p if len(p) == 2 else torch.cat([p, torch.zeros_like(p)]) for p in parts]
    scales = [term.log_scale for term in terms]
    return summed(list(zip(parts, scales, strict=True)))


def mean_along(value: Value, axis: int, groups: int = 1) -> tuple[Tensor, LogScale]:
    """The mean over an axis, in so many equal groups, of the covariance at equal entries of it.

    Returns:
        (s, n1, n2, groups, *rest, *rest), with all other axes of the tensor, and its scale.
    """
    return combined(value, lambda term: _mean_along(term, axis, groups))


def _mean_along(term: Term, axis: int, groups: int) -> Tensor:
    """A term's kernel averaged over one axis in groups, by the cheapest way that is exact."""
    layout = term.layout
    rest = tuple(size for k, size in enumerate(layout.shape) if k != axis)
    own = layout.channel_atoms(axis)
    if term.is_certain:
        return _of_certain(term, axis, groups, rest)
    if math.prod(rest) == 1 and groups == 1 and not term.pending:
        return diagonal_mean(term).reshape(*lead(term), 1, *rest, *rest)
    if not layout.position_atoms(axis):
        term = spread_channels(term, [a for a in range(layout.n_channels) if a not in own])
        if not term.layout.position_atoms(axis):  # a term with mixed channels loses all of them
            term = with_channels_in_order(term, term.layout.channel_atoms(axis))
            term = in_order(term) if not term.pending else term
            kernel = channel_mean(term, groups)
            kernel = _in_reading_order(kernel, term.layout, axis)
            return kernel.reshape(*kernel.shape[:LEADING], *rest, *rest)
    if own and groups == 1 and len(own) == layout.n_channels:
        return _with_positions(term, axis, rest)
    if not own and groups == 1 and not (term.mixed or term.pending or has_copies(term)):
        return _over_positions(term, axis, rest)
    return _of_explicit(explicit(term), axis, groups, rest)


def _of_certain(term: Term, axis: int, groups: int, rest: tuple[int, ...]) -> Tensor:
    """The same of what is not random."""

    def rows(factor: Tensor) -> Tensor:  # (n, groups, rest, entries of a group)
        tensor = term.layout.as_tensor(factor).movedim(1 + axis, -1)
        entries = tensor.reshape(len(tensor), math.prod(rest), groups, tensor.shape[-1] // groups)
        return entries.transpose(1, 2)

    first, second = term.factors
    left = rows(first)
    right = left if term.is_constant else rows(second)
    kernel = torch.einsum("agpc,bgqc->abgpq", left, right) / left.shape[3]
    return kernel.reshape(1, *kernel.shape[:3], *rest, *rest)


def _over_positions(term: Term, axis: int, rest: tuple[int, ...]) -> Tensor:
    """No channel is summed: each is a position of its own, uncorrelated with the others."""
    layout = term.layout
    dims, letters = len(layout.positions), "abcdefghijklmnopqrstuvw"
    atoms = [a - layout.n_channels for a in layout.position_atoms(axis)]
    left = [letters[k] for k in range(dims)]
    right = [letters[k] if k in atoms else letters[dims + k] for k in range(dims)]
    p, q = (
        "".join(letters[k + shift] for k in range(dims) if k not in atoms) for shift in (0, dims)
    )
    operands = [with_groups(term)] if term.kernel is not None else []
    names = ["zxyC" + "".join(left + right)] if operands else []
    if term.left is not None and term.right is not None:
        names += ["xC" + "".join(left), "yC" + "".join(right)]
        operands += [term.left, term.right]
    _, n1, n2 = lead(term)
    sizes = {"x": n1, "y": n2, "C": layout.channels}
    operands = [
        operand.expand([sizes.get(c, size) for c, size in zip(name, operand.shape, strict=True)])
        for name, operand in zip(names, operands, strict=True)
    ]
    out = ("z" if term.kernel is not None else "") + f"xyC{p}{q}"
    kernel = torch.einsum(f"{','.join(names)}->{out}", *operands)
    kernel = kernel / math.prod(layout.positions[k] for k in atoms)
    if term.kernel is None:
        kernel = with_moments(term, kernel.unsqueeze(0))
    places = tuple(layout.positions[k] for k in range(dims) if k not in atoms)
    eye = torch.eye(layout.channels).to(kernel)
    ones = (1,) * len(places)
    kernel = kernel.unsqueeze(4 + len(places)) * eye.reshape(
        layout.channels, *ones, layout.channels, *ones
    )
    kernel = kernel.unsqueeze(3)
    kept = [*range(layout.n_channels)]
    kept += [layout.n_channels + k for k in range(dims) if k not in atoms]
    number = {atom: k for k, atom in enumerate(kept)}
    split = Layout(
        (*layout.channel_sizes, *places),
        0,
        tuple(tuple(number[a] for a in axis_ if a in number) for axis_ in layout.axes),
    )
    kernel = kernel.reshape(*kernel.shape[:LEADING], *split.positions, *split.positions)
    kernel = _in_reading_order(kernel, split, axis)
    return kernel.reshape(*kernel.shape[:LEADING], *rest, *rest)


def lead(term: Term) -> tuple[int, int, int]:
    """How many kernels, first and second examples a term has."""
    if term.kernel is not None:
        shape = term.kernel.shape
        n1 = max(shape[1], 1 if term.left is None else len(term.left))
        n2 = max(shape[2], 1 if term.right is None else len(term.right))
        return shape[0], n1, n2
    left, right = term.factors
    return len(term.moments), len(left), len(right)


def _in_reading_order(kernel: Tensor, layout: Layout, axis: int) -> Tensor:
    """Positions of a kernel, in the order of the arrays, as the tensor has them without `axis`."""
    atoms = [
        a - layout.n_channels for k, atoms in enumerate(layout.axes) if k != axis for a in atoms
    ]
    dims = len(layout.positions)
    if atoms == list(range(dims)):
        return kernel
    order = [LEADING + a for a in atoms] + [LEADING + dims + a for a in atoms]
    return kernel.permute(*range(LEADING), *order)


def _with_positions(term: Term, axis: int, rest: tuple[int, ...]) -> Tensor:
    """All channels, and some positions, are summed: of those the diagonal."""
    layout = term.layout
    kernel = channel_mean(term)
    dims = len(layout.positions)
    atoms = [a - layout.n_channels for a in layout.position_atoms(axis)]
    others = [
        a - layout.n_channels for k, atoms_ in enumerate(layout.axes) if k != axis for a in atoms_
    ]
    letters = "abcdefghijklmnopqrstuvwxyz"
    left = [letters[k] for k in range(dims)]
    right = [letters[k] if k in atoms else letters[dims + k] for k in range(dims)]
    out = [left[k] for k in others] + [right[k] for k in others]
    kernel = torch.einsum(f"...{''.join(left + right)}->...{''.join(out)}", kernel)
    kernel = kernel / math.prod(layout.positions[k] for k in atoms)
    return kernel.reshape(*kernel.shape[:LEADING], *rest, *rest)


def _of_explicit(term: Term, axis: int, groups: int, rest: tuple[int, ...]) -> Tensor:
    """The same of a term in which all channels are positions."""
    kernel = channel_mean(term)
    shape = term.layout.shape
    kernel = kernel.reshape(*kernel.shape[:LEADING], *shape, *shape)
    kernel = kernel.diagonal(0, LEADING + axis, LEADING + len(shape) + axis)
    kernel = kernel.squeeze(3).movedim(-1, 3)  # (s, n1, n2, size, *rest, *rest)
    kernel = kernel.unflatten(3, (groups, shape[axis] // groups)).mean(4)
    return kernel.reshape(*kernel.shape[:LEADING], *rest, *rest)


def channel_mean(term: Term, groups: int = 1) -> Tensor:
    """Mean over the channels of each of `groups` equal groups: (s, n1, n2, groups, *p, *q).

    The mean, and not the sum, so that values stay near 1 whatever the width.
    """
    if term.left is None:
        assert term.kernel is not None
        kernel = _regroup(term.kernel, groups)
    elif term.kernel is None:
        kernel = with_moments(term, _overlap(term, groups).unsqueeze(0))
    else:
        finest = math.lcm(groups, term.kernel.shape[3])
        kernel = _overlap(term, finest) * _split(term.kernel, finest)
        kernel = _regroup(kernel, groups)
    for _, function in term.pending:
        kernel = apply_map(kernel, function, (kernel.dim() - LEADING) // 2)
    return kernel


def diagonal_mean(term: Term) -> Tensor:
    """Mean over channels and equal positions, p = q: (s, n1, n2).

    What a dense layer does to a flattened image; pairs of unequal positions are never formed.
    """
    positions = math.prod(term.layout.positions)
    if term.kernel is None:
        left, right = (factor.flatten(1) for factor in term.factors)
        return with_moments(term, (left @ right.mT / left.shape[1])[None])
    groups = term.kernel.shape[3]
    kernel = term.kernel.reshape(*term.kernel.shape[:LEADING], positions, positions).diagonal(
        dim1=-2, dim2=-1
    )
    if term.left is not None and term.right is not None:
        left, right = (f.reshape(len(f), groups, -1, positions) for f in (term.left, term.right))
        kernel = kernel * torch.einsum("agcp,bgcp->abgp", left, right) / left.shape[2]
    return kernel.mean((-2, -1))


def _overlap(term: Term, groups: int) -> Tensor:
    """Mean over channels of left * right, group by group: (n1, n2, groups, *p, *q)."""
    left, right = term.factors
    (n1, c, *p), (n2, _, *q) = left.shape, right.shape
    left = left.reshape(n1, groups, c // groups, math.prod(p))
    right = right.reshape(n2, groups, c // groups, math.prod(q))
    overlap = torch.einsum("agcp,bgcq->abgpq", left, right)
    return overlap.reshape(n1, n2, groups, *p, *q) * (groups / c)


def _split(kernel: Tensor, groups: int) -> Tensor:
    """Each group's kernel repeated for its finer groups."""
    repeats = groups // kernel.shape[3]
    return kernel if repeats == 1 else kernel.repeat_interleave(repeats, 3)


def _regroup(kernel: Tensor, groups: int) -> Tensor:
    """Mean over finer groups, or repetition for finer ones asked for."""
    have = kernel.shape[3]
    if have == groups:
        return kernel
    finest = math.lcm(have, groups)
    fine = _split(kernel, finest) if finest > have else kernel
    return fine.unflatten(3, (groups, finest // groups)).mean(4)
