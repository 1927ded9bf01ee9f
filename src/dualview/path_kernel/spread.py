"""What different channels share: channels seen as positions, and what two terms have in common.

As long as every weight layer draws a weight for each channel, only what a channel shares with
itself counts. Where more does (a dense layer over positions, a mean over channels, one value that
is added to itself in another place), channels become positions, of which every pair is in the
kernel. It is exact for whatever is linear, at the square of the cost: too large a kernel is
refused.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from dualview.errors import PathKernelError
from dualview.path_kernel.layout import Layout, channel_grid
from dualview.path_kernel.positions import LEADING, apply_to_left, apply_to_right, swap_positions
from dualview.path_kernel.scale import LogScale
from dualview.path_kernel.terms import (
    NOWHERE,
    SideStep,
    Term,
    in_order,
    mapped,
    settled,
    whole_kernel,
    with_channels_in_order,
    with_factors,
    with_groups,
)

MOST = 2**26
"""Most entries of the kernel of one pair of examples, where channels differ or are positions."""


def check_size(entries: int, other: int, channels: int = 1) -> None:
    """Refuse kernels that no machine holds, before they are made.

    Raises:
        PathKernelError: the kernel of one pair of examples has more than `MOST` entries.
    """
    if channels * entries * other > MOST:
        what = "what different channels share" if channels == 1 else "one for each channel"
        size = " x ".join(map(str, (channels, entries, other)[channels == 1 :]))
        raise PathKernelError(
            f"the path kernel of this network needs {what}: {size} numbers for one pair of "
            f"examples; expected at most {MOST}. Repair: smaller examples or fewer channels, or "
            f"estimate the kernel with dualview.npk_features, which works for any graph"
        )


def same_channel(left: Tensor, right: Tensor) -> Tensor:
    """Whether channels of one origin are the same: (..., c) and (..., d) -> (..., c, d)."""
    return (left.unsqueeze(-1) == right.unsqueeze(-2)) & (left.unsqueeze(-1) != NOWHERE)


def spread_channels(term: Term, atoms: Collection[int] | None = None) -> Term:
    """The term with some atoms of channels (all of them, if the others depend) as positions."""
    layout = term.layout
    chosen = sorted(range(layout.n_channels) if atoms is None else atoms)
    if not chosen:
        return term
    if term.mixed:
        return _explicit_of_mixed(term)
    rest = [atom for atom in range(layout.n_channels) if atom not in chosen]
    sizes = tuple(layout.sizes[atom] for atom in chosen)
    grid = channel_grid(layout).permute(*rest, *chosen).reshape(-1, math.prod(sizes))  # (r, e)
    ids = term.channels[grid]
    if rest and not term.is_certain and _shared_between_rows(ids):
        return spread_channels(term)
    number = {atom: k for k, atom in enumerate((*rest, *chosen))}
    new = Layout(
        (*(layout.sizes[a] for a in rest), *sizes, *layout.positions),
        len(rest),
        tuple(tuple(number.get(atom, atom) for atom in axis) for axis in layout.axes),
    )

    def move(array: Tensor, axis: int = 1) -> Tensor:
        head, tail = array.shape[:axis], array.shape[axis + 1 :]
        moved = array.index_select(axis, grid.flatten().to(array.device))
        return moved.reshape(*head, len(grid), *sizes, *tail)

    step = SideStep(lambda array, side: move(array, 2), channelwise=False)
    before = term
    if term.is_certain:
        channels = torch.zeros(len(grid), dtype=torch.long)
        return replace(with_factors(term, move), layout=new, channels=channels)
    term = settled(term)
    if term.kernel is not None and term.kernel.shape[3] > 1 and _has_copies(ids):
        return _explicit_of_mixed(before)
    check_size(*[len(grid) * math.prod(sizes) * math.prod(layout.positions)] * 2)
    return before.after(
        step,
        with_factors(term, move),
        kernel=_spread_kernel(term, grid, ids, sizes),
        channels=torch.arange(len(grid)),
        layout=new,
        origin=("spread", before.origin, new),
    )


def has_copies(term: Term) -> bool:
    """Whether two channels are one channel of the origin."""
    known = [c for c in term.channels.tolist() if c != NOWHERE]
    return len(known) > len(set(known))


def _shared_between_rows(ids: Tensor) -> bool:
    """Whether two rows (r, e) hold one channel."""
    known = [set(row) - {NOWHERE} for row in ids.tolist()]
    return sum(map(len, known)) > len(set().union(*known))


def _has_copies(ids: Tensor) -> bool:
    return any(len(row) > len(set(row)) for row in ids.tolist())


def _spread_kernel(term: Term, grid: Tensor, ids: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """(s, n1, n2, r, *e, *p, *e', *q)."""
    mask = same_channel(ids, ids)  # (r, e, e')
    alike = bool((mask == mask[:1]).all())
    positions = term.layout.positions
    dims = len(positions)
    if term.kernel is None:
        kernel = term.factors[0].new_tensor(term.moments).reshape(-1, *(1,) * (3 + 2 * dims))
        kernel = kernel.expand(-1, 1, 1, 1, *positions, *positions)
    else:
        kernel = with_groups(term)
    mask = mask.to(kernel)
    if kernel.shape[3] == 1 and alike:
        mask = mask[:1]
    if kernel.shape[3] == 1:
        kernel = kernel.unsqueeze(4)
    else:
        kernel = kernel[:, :, :, grid.to(kernel.device)]  # (s, n1, n2, r, e, *p, *q)
    kernel = kernel.unsqueeze(5 + dims)
    mask = mask.reshape(*mask.shape[:2], *(1,) * dims, mask.shape[2], *(1,) * dims)
    made = kernel * mask
    head = made.shape[:LEADING]
    return made.reshape(*head, *sizes, *positions, *sizes, *positions)


def explicit(term: Term) -> Term:
    """The term with no channels, and one position for each axis of the tensor."""
    return in_order(spread_channels(term))


def _explicit_of_mixed(term: Term) -> Term:
    """A term of mixed channels as its kernel over pairs of entries."""
    kernel, log_scale = covariance(term, term)
    layout = term.layout
    new = Layout(layout.sizes, 0, layout.axes)
    check_size(*[math.prod(layout.sizes)] * 2)
    kernel = kernel.reshape(*kernel.shape[:3], 1, *layout.sizes, *layout.sizes)
    step = SideStep(
        lambda array, side: array.reshape(*array.shape[:2], 1, *layout.sizes), channelwise=False
    )
    return term.after(
        step,
        kernel=kernel,
        left=None,
        right=None,
        log_scale=log_scale,
        origin=object(),
        channels=torch.zeros(1, dtype=torch.long),
        layout=new,
        view=(),
        pending=(),
        coefficient=1.0,
        mixed=False,
    )


# What two terms share


def correlated(terms: Sequence[Term]) -> Iterator[tuple[Term, Term]]:
    """Pairs of terms that see the same random values."""
    for one, other in itertools.combinations(terms, 2):
        if one.root == other.root and not one.is_certain and not _are_apart(one, other):
            yield one, other


def _are_apart(one: Term, other: Term) -> bool:
    """Whether no channel of the one is that channel of the other."""
    if one.mixed or other.mixed or one.origin != other.origin:
        return False
    if _channels_in(one.layout) != _channels_in(other.layout):
        return False
    same = (one.channels == other.channels) & (one.channels != NOWHERE)
    return not bool(same.any())


def _channels_in(layout: Layout) -> tuple[object, ...]:
    atoms = tuple(layout.channel_atoms(axis) for axis in range(len(layout.axes)))
    return layout.channel_sizes, atoms


def _stays(one: Term, other: Term) -> bool:
    """Whether every channel stays where it is on both ways."""
    steps = (*one.steps, *other.steps)
    return one.layout == other.layout and all(step.channelwise for step in steps)


def shared(one: Term, other: Term) -> Term:
    """What two terms of one root add to the covariance of their sum, as one more term."""
    base = one.base or one
    if _stays(one, other) and base.kernel is not None and base is (other.base or other):
        parts = [_channelwise(a, b, base) for a, b in ((one, other), (other, one))]
        kernel, layout = parts[0] + parts[1], one.layout
        log_scale = base.log_scale
    else:
        sums = []
        for a, b in ((one, other), (other, one)):
            kernel, log_scale = covariance(a, b)
            sums.append(_as_tensors(kernel, a.layout, b.layout))
        kernel, layout = sums[0] + sums[1], Layout.of(one.layout.shape, ())
        sizes = layout.positions
        kernel = kernel.reshape(*kernel.shape[:3], 1, *sizes, *sizes)
    channels = torch.arange(layout.channels)
    return Term(kernel, None, None, log_scale, object(), channels, layout, root=object())


def _channelwise(one: Term, other: Term, base: Term) -> Tensor:
    """E[one_i[p] other_i[q]] for every channel: (s, n1, n2, c, *p, *q)."""
    kernel = with_groups(base)
    kernel = kernel.expand(-1, -1, -1, base.layout.channels, *kernel.shape[LEADING:])
    return both_sides(kernel, one.steps, other.steps, base.layout, one.layout)


def both_sides(
    kernel: Tensor, left: Sequence[SideStep], right: Sequence[SideStep], old: Layout, new: Layout
) -> Tensor:
    """Steps that keep channels apart, on both sides of (s, n1, n2, c, *p, *q)."""
    own, after = 1 + len(old.positions), len(new.positions)
    kernel = swap_positions(_act(kernel, left, 0, own), after)
    return swap_positions(_act(kernel, right, 1, own), after)


def covariance(one: Term, other: Term) -> tuple[Tensor, LogScale]:
    """E[one other'] of all entries: (s, n1, n2, c, *p, d, *q), and its logarithmic scale.

    Raises:
        PathKernelError: it is too large.
    """
    first, second = one.base or one, other.base or other
    sizes = [math.prod(t.layout.sizes) for t in (first, second)]
    sizes = [max(a, math.prod(t.layout.sizes)) for a, t in zip(sizes, (one, other), strict=True)]
    check_size(*sizes)
    kernel = _of_bases(first, second)
    kernel = _act(kernel, one.steps, 0, 1 + len(first.layout.positions))
    left = 1 + len(one.layout.positions)
    right = kernel.dim() - 3 - left
    kernel = _turned(kernel, left)
    kernel = _act(kernel, other.steps, 1, right)
    return _turned(kernel, kernel.dim() - 3 - left), first.log_scale


def _turned(kernel: Tensor, first: int) -> Tensor:
    """(s, n1, n2, *entries, *others) with the first so many axes of entries behind the others."""
    axes = list(range(kernel.dim()))
    return kernel.permute(*axes[:3], *axes[3 + first :], *axes[3 : 3 + first])


def _act(kernel: Tensor, steps: Sequence[SideStep], side: int, own: int) -> Tensor:
    """Steps of one side on the first `own` axes of entries of (s, n1, n2, *entries, *others)."""
    s, n, m = kernel.shape[:3]
    entries, others = kernel.shape[3 : 3 + own], kernel.shape[3 + own :]
    examples = [1, 0, 2] if side == 0 else [2, 0, 1]
    back = list(range(3 + own, kernel.dim()))
    array = kernel.permute(*examples, *back, *range(3, 3 + own))
    array = array.reshape(array.shape[0], -1, *entries)
    for step in steps:
        array = step.act(array, side)
    count = len(array)
    fixed = m if side == 0 else n
    array = array.reshape(count, s, fixed, *others, *array.shape[2:])
    k = len(others)
    order = [1, 0, 2] if side == 0 else [1, 2, 0]
    return array.permute(*order, *range(3 + k, array.dim()), *range(3, 3 + k))


def _of_bases(one: Term, other: Term) -> Tensor:
    """(s, n1, n2, c, *p, d, *q) of two terms of one root to which nothing has been done."""
    mask = same_channel(one.channels, other.channels)
    p, q = one.layout.positions, other.layout.positions
    if one.kernel is None or other.kernel is None:
        spread = one.factors[0].new_tensor(one.moments).reshape(-1, *(1,) * (4 + len(p) + len(q)))
        kernel = spread.expand(-1, 1, 1, 1, *p, 1, *q)
    else:
        if one.kernel is not other.kernel:
            raise PathKernelError("one bias at two places that differ")
        kernel = with_groups(one).unsqueeze(LEADING + len(p))
    shape = (len(one.channels), *(1,) * len(p), len(other.channels), *(1,) * len(q))
    return kernel * mask.reshape(shape).to(kernel)


def _as_tensors(kernel: Tensor, left: Layout, right: Layout) -> Tensor:
    """(s, n1, n2, c, *p, d, *q) with the axes of the tensor on both sides."""
    own = 1 + len(left.positions)
    entries = kernel.shape[3 : 3 + own]
    behind = right.as_tensor(kernel, 3 + own)
    turned = _turned(behind, own)  # (s, n1, n2, *shape, c, *p)
    assert turned.shape[-own:] == entries
    front = left.as_tensor(turned, 3 + len(right.axes))
    return _turned(front, len(right.axes))


# Means and sums over axes


def centred(term: Term, axes: Collection[int]) -> Term:
    """The term less its mean over some axes of the tensor."""
    layout = term.layout
    atoms = [a for axis in axes for a in layout.channel_atoms(axis)]
    places = [a - layout.n_channels for axis in axes for a in layout.position_atoms(axis)]
    if not term.is_certain and atoms and (term.mixed or has_copies(term)):
        return centred(explicit(term), axes)
    over = (*atoms, *(layout.n_channels + place for place in places))

    def subtract(array: Tensor, lead: int) -> Tensor:
        split = array.reshape(*array.shape[:lead], *layout.sizes)
        if over:
            split = split - split.mean([lead + a for a in over], keepdim=True)
        else:
            split = torch.zeros_like(split)
        return split.reshape(array.shape)

    step = SideStep(lambda array, side: subtract(array, 2), channelwise=not atoms)
    if term.is_certain:
        return with_factors(term, lambda factor: subtract(factor, 1))
    average = functools.partial(_average, places=places)
    if not atoms:

        def less_mean(array: Tensor) -> Tensor:
            return array - average(array) if places else torch.zeros_like(array)

        return mapped(term, less_mean, ("centred", tuple(places)), layout, selects=False)
    group = math.prod(layout.sizes[atom] for atom in atoms)
    kernel = _centred_kernel(term, average, atoms, group)
    return term.after(
        step,
        kernel=kernel,
        left=None,
        right=None,
        origin=object(),
        channels=torch.arange(layout.channels),
        view=(),
        pending=(),
        mixed=True,
    )


def _average(array: Tensor, places: Sequence[int]) -> Tensor:
    """The mean over some positions of (k, *positions), spread over them again."""
    if not places:
        return array
    return array.mean([1 + place for place in places], keepdim=True).expand_as(array)


def _centred_kernel(
    term: Term, average: functools.partial, atoms: Sequence[int], group: int
) -> Tensor:
    """Each channel's covariance less its group's mean, channels uncorrelated before.

    With A the mean over the positions and G channels in a group,
    cov_i - (A cov_i + cov_i A) / G + mean over the group of A cov_j A / G.
    """
    kernel = whole_kernel(term)
    dims = (kernel.dim() - LEADING) // 2
    left, right = apply_to_left(kernel, average, dims), apply_to_right(kernel, average, dims)
    both = apply_to_left(right, average, dims)
    if kernel.shape[3] > 1:
        layout = term.layout
        split = both.reshape(*both.shape[:3], *layout.channel_sizes, *both.shape[4:])
        split = split.mean([3 + atom for atom in atoms], keepdim=True).expand_as(split)
        both = split.reshape(both.shape)
    return kernel - (left + right - both) / group


def summed_over(term: Term, axes: Collection[int]) -> Term:
    """The sum over some axes of the tensor, which stay with length 1."""
    layout = term.layout
    atoms = [a for axis in axes for a in layout.channel_atoms(axis)]
    if not term.is_certain and atoms and (term.mixed or has_copies(term)):
        return summed_over(explicit(term), axes)
    if atoms and not term.is_certain:  # the channels that are summed last
        rest = [a for a in range(layout.n_channels) if a not in atoms]
        term = with_channels_in_order(term, [*rest, *sorted(atoms)])
        term = _channels_summed(term, len(rest), whole_kernel(term))
        layout = term.layout
    elif atoms:
        term = spread_channels(term, atoms)
        layout = term.layout
    places = [a for axis in axes for a in layout.position_atoms(axis)]
    over = [1 + a - layout.n_channels for a in places]
    sizes = [size for k, size in enumerate(layout.sizes) if k not in places]
    number = {a: k for k, a in enumerate(a for a in range(len(layout.sizes)) if a not in places)}
    left = tuple(
        () if k in axes else tuple(number[a] for a in axis) for k, axis in enumerate(layout.axes)
    )
    new = Layout(tuple(sizes), layout.n_channels, left)
    if not places:
        return replace(term, layout=new)
    name = ("sum", tuple(places))
    return mapped(term, lambda array: array.sum(over), name, new, selects=False)


def _channels_summed(term: Term, kept: int, kernel: Tensor) -> Term:
    """The term with all its channels but those of the first `kept` atoms summed."""
    layout = term.layout
    rest = layout.sizes[:kept]
    group = layout.channels // math.prod(rest)
    if kernel.shape[3] > 1:
        kernel = kernel.unflatten(3, (math.prod(rest), group)).sum(4)
    else:
        kernel = kernel * group
    gone = layout.n_channels - kept
    number = {a: a if a < kept else a - gone for a in range(len(layout.sizes))}
    left = tuple(
        tuple(number[a] for a in axis if not kept <= a < layout.n_channels) for axis in layout.axes
    )
    new = Layout((*rest, *layout.positions), kept, left)

    def add(array: Tensor, side: int) -> Tensor:
        return array.unflatten(2, (math.prod(rest), group)).sum(3)

    return term.after(
        SideStep(add, channelwise=False),
        kernel=kernel,
        left=None,
        right=None,
        origin=object(),
        channels=torch.arange(new.channels),
        layout=new,
        view=(),
        pending=(),
    )
