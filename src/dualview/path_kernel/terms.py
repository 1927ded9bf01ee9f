"""The covariance of two examples' activations as a short sum of terms.

With gates fixed and all weights independent, zero-mean, a value is a sum of terms. Each is the
random values of one *origin* (a weight layer's output, a bias, or the constant 1 that the input
multiplies), seen through maps over positions, times a factor:

    value_i[p] = sum_t L_t( left_t[i, p] * B_t[channels_t(i), p] )

The covariance of channel i at positions p (first example) and q (second) is then

    cov_i[p, q] = sum_t L_t( K_t[g(i), p, q] * left_t[i, p] * right_t[i, q] )

plus, where two terms see the same random values, what the two share (`correlated`). What different
channels i and j share is not needed as long as every weight layer draws a weight for each; where it
is (a mean over channels, a dense layer over positions), the channels become positions (`spread`).

K_t does not depend on the channel, except through a group g(i) of channels (one group unless
grouped convolutions or channelwise choices made more); left and right are one factor per example,
channel and position (products of gates); L_t, usually nothing, are linear maps over positions that
wait until the channels are summed. Rules: theory, section 4.5.

Axes: kernel (s, n1, n2, g, *p, *q); left (n1, c, *p); right (n2, c, *q). Which axes of the tensor
the channels and positions are, says each term's `Layout`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from dualview.path_kernel.layout import Layout
from dualview.path_kernel.positions import LEADING, ArrayMap, apply_map
from dualview.path_kernel.scale import LogScale

ONE = "one"
"""Origin of what is not random: the input, and constants. It is the same for every channel."""

NOWHERE = -1
"""The channel of an origin that a channel of zeros has."""


@dataclass(frozen=True)
class SideStep:
    """What was done to the random values of an origin, for one side's examples.

    Attributes:
        act: (array (n, k, c, *p), side) -> array of the same kind; side 0 is the left one.
        channelwise: whether every channel stays where it is, and reads itself alone.
    """

    act: Callable[[Tensor, int], Tensor]
    channelwise: bool = True


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
        origin: whose random values these are. Terms of one origin and one view are the same random
            values, times other factors, wherever their channels agree.
        channels: (c,): which channel of the origin each channel is, `NOWHERE` for zeros.
        layout: where channels and positions stand in the tensor.
        view: the position maps that made the kernel from the origin's.
        pending: maps over positions to apply after the product with left and right, with names:
            equal names are equal maps.
        coefficient: a number that the term is multiplied by.
        moments: NPK (and NTK, if it has one) of the origin, where `kernel` is None.
        root: whose random values the origin's are made of: terms of different roots are
            uncorrelated.
        base: the term as it was at the root, and what was done since; None: nothing.
        steps: what was done.
        mixed: whether different channels share random values; only what one channel shares with
            itself is in the kernel then.
    """

    kernel: Tensor | None
    left: Tensor | None
    right: Tensor | None
    log_scale: LogScale
    origin: Hashable
    channels: Tensor
    layout: Layout
    view: tuple[Hashable, ...] = ()
    pending: tuple[tuple[Hashable, ArrayMap], ...] = ()
    coefficient: float = 1.0
    moments: tuple[float, ...] = (1.0,)
    root: Hashable = None
    base: Term | None = None
    steps: tuple[SideStep, ...] = ()
    mixed: bool = False

    @property
    def is_constant(self) -> bool:
        """Whether the factor is the same for every example."""
        return self.left is self.right

    @property
    def is_certain(self) -> bool:
        """Whether nothing is random: the input, and constants, times factors."""
        return self.origin == ONE

    @property
    def factors(self) -> tuple[Tensor, Tensor]:
        """Both factors, of a term that has them."""
        assert self.left is not None
        assert self.right is not None
        return self.left, self.right

    def after(self, step: SideStep, made: Term | None = None, **changes: Any) -> Term:
        """The term after a step: `made`, where that was made of it, with these changes."""
        made = replace(made or self, **changes)
        if self.is_certain:
            return made
        return replace(made, base=self.base or self, steps=(*self.steps, step))


@dataclass(frozen=True)
class Value:
    """A node's activations: terms, the shape of one example, and how many there are on the left."""

    terms: tuple[Term, ...]
    shape: tuple[int, ...]
    rows: int

    @property
    def like(self) -> Tensor:
        """Any tensor of the value, for its type and device."""
        tensor = self.terms[0].kernel if self.terms[0].kernel is not None else self.terms[0].left
        assert tensor is not None
        return tensor

    def with_terms(self, terms: Sequence[Term], shape: Sequence[int] | None = None) -> Value:
        """Other terms, and another shape."""
        made = self.shape if shape is None else tuple(shape)
        return Value(tuple(terms), made, self.rows)


def own_channels(count: int) -> Tensor:
    """The channels of a value that is its origin's output itself."""
    return torch.arange(count)


def one_term(left: Tensor, right: Tensor) -> Term:
    """What is not random: the constant 1 times a factor, tensors (examples, *shape)."""
    layout = Layout.of(left.shape[1:])
    first = layout.arranged(left)
    second = first if left is right else layout.arranged(right)
    channels = torch.zeros(layout.channels, dtype=torch.long)
    return Term(None, first, second, 0.0, ONE, channels, layout, root=ONE)


def gated(term: Term, left: Tensor, right: Tensor) -> Term:
    """The term after multiplication by a factor per example, channel and position.

    The factors are arranged as the term's arrays are.
    """
    before, term = term, settled(term)
    first = left if term.left is None else term.left * left
    constant = left is right and term.is_constant
    second = first if constant else right if term.right is None else term.right * right
    step = SideStep(lambda array, side: array * (left, right)[side].unsqueeze(1))
    return before.after(step, term, left=first, right=second)


def mapped(
    term: Term, function: ArrayMap, name: Hashable, layout: Layout, *, selects: bool
) -> Term:
    """The term after a linear map over positions that treats all channels alike.

    `selects` says that each new position copies one old one (or is 0), so that the map may be
    applied to the kernel and the factors apart. Equal `name`s promise equal maps; None: the entries
    are only seen in another shape.
    """
    step = SideStep(lambda array, side: map_factor(array, function, 3))
    if term.kernel is None:  # equal at all positions, so that the map acts on the factors alone
        made = with_factors(term, lambda factor: map_factor(factor, function))
        return term.after(step, made, layout=layout)
    if term.pending or not (selects or term.left is None):
        if name is None and term.pending:
            last, first = term.pending[-1]
            pending = (*term.pending[:-1], (last, lambda array: function(first(array))))
        else:
            pending = (*term.pending, (name, function))
        return term.after(step, layout=layout, pending=pending)
    dims = len(term.layout.positions)
    kernel = apply_map(term.kernel, function, dims)
    made = with_factors(term, lambda factor: map_factor(factor, function))
    view = term.view if name is None else (*term.view, name)
    return term.after(step, made, kernel=kernel, view=view, layout=layout)


def with_factors(term: Term, function: Callable[[Tensor], Tensor]) -> Term:
    """The term with its factors, if it has any, changed by `function`."""
    if term.left is None or term.right is None:
        return term
    left = function(term.left)
    return replace(term, left=left, right=left if term.is_constant else function(term.right))


def map_factor(factor: Tensor, function: ArrayMap, lead: int = 2) -> Tensor:
    """A map over positions applied to an array whose first `lead` axes are none."""
    head = factor.shape[:lead]
    mapped = function(factor.reshape(-1, *factor.shape[lead:]))
    return mapped.reshape(*head, *mapped.shape[1:])


def settled(term: Term) -> Term:
    """The same term with no map pending; if one was, with one kernel per channel, no factors."""
    if not term.pending:
        return term
    kernel = with_groups(term) * factor_product(term)
    dims = term.factors[0].dim() - 2
    for _, function in term.pending:
        kernel = apply_map(kernel, function, dims)
        dims = (kernel.dim() - LEADING) // 2
    return replace(term, kernel=kernel, left=None, right=None, view=(object(),), pending=())


def factor_product(term: Term) -> Tensor:
    """left[i, p] * right[i, q] for every pair: (1, n1, n2, c, *p, *q)."""
    left, right = term.factors
    dims, (n, c) = left.dim() - 2, right.shape[:2]
    left = left.reshape(1, len(left), 1, *left.shape[1:], *(1,) * dims)
    return left * right.reshape(1, 1, n, c, *(1,) * dims, *right.shape[2:])


def with_groups(term: Term) -> Tensor:
    """The kernel with one entry per channel on its group axis, or one for all channels."""
    assert term.kernel is not None
    groups = term.kernel.shape[3]
    if groups == 1:
        return term.kernel
    return term.kernel.repeat_interleave(term.layout.channels // groups, 3)


def with_moments(term: Term, kernel: Tensor) -> Tensor:
    """The kernels of a term without one of its own, from the product of its factors."""
    return kernel.new_tensor(term.moments).reshape(-1, *(1,) * (kernel.dim() - 1)) * kernel


def whole_kernel(term: Term) -> Tensor:
    """Every channel's kernel with its factors in it, no map pending: (s, n1, n2, c | 1, *p, *q)."""
    term = settled(term)
    if term.kernel is None:
        return with_moments(term, factor_product(term))
    return with_groups(term) if term.left is None else with_groups(term) * factor_product(term)


def select_channels(term: Term, index: Tensor, layout: Layout) -> Term:
    """The term whose channel i is its channel index[i] now, or zeros where that is `NOWHERE`."""
    zeros = index == NOWHERE
    kept = index.clamp(min=0)
    before, kernel = term, term.kernel
    if kernel is not None and kernel.shape[3] > 1:  # its groups are copied and dropped alike
        groups = kernel.shape[3]
        kernel = kernel.index_select(3, (kept * groups // len(term.channels)).to(kernel.device))
    if term.left is None and zeros.any():
        assert kernel is not None
        dims = (kernel.dim() - LEADING) // 2
        ones = kernel.new_ones(1, len(term.channels), *(1,) * dims)
        ones = ones.expand(-1, -1, *kernel.shape[LEADING : LEADING + dims])
        term = replace(term, left=ones, right=ones)

    def select(factor: Tensor, axis: int = 1) -> Tensor:
        picked = factor.index_select(axis, kept.to(factor.device))
        if zeros.any():
            mask = (~zeros).to(factor).reshape(-1, *(1,) * (factor.dim() - axis - 1))
            picked = picked * mask
        return picked

    channels = torch.where(zeros, NOWHERE, term.channels[kept])
    if term.is_certain:  # where it is 0, its factor says
        channels = torch.zeros_like(channels)
    step = SideStep(lambda array, side: select(array, 2), channelwise=False)
    made = with_factors(term, select)
    return before.after(step, made, kernel=kernel, channels=channels, layout=layout)


def seen_as(term: Term, layout: Layout) -> Term:
    """The same term where the tensor's entries are in another shape, as `Layout.reshaped` says."""
    old, new = term.layout.positions, layout.positions
    if old == new:
        return replace(term, layout=layout)
    return mapped(term, lambda array: array.reshape(len(array), *new), None, layout, selects=True)


def in_order(term: Term) -> Term:
    """The term with its positions as the tensor has them, one for each axis without channels.

    Axes of positions and channels are spread first: `spread.spread_channels`.
    """
    layout = term.layout
    atoms = [atom for atom in layout.reading if atom >= layout.n_channels]
    order = [atom - layout.n_channels for atom in atoms]
    channel_atoms = [a for axis in layout.channel_axes for a in layout.channel_atoms(axis)]
    term = with_channels_in_order(term, channel_atoms)
    final = Layout.of(layout.shape, layout.channel_axes)
    if order == sorted(order):
        return seen_as(term, final)
    old, new = layout.positions, final.positions

    def turn(array: Tensor) -> Tensor:
        moved = array.reshape(len(array), *old).permute(0, *(1 + k for k in order))
        return moved.reshape(len(array), *new)

    return mapped(term, turn, ("turned", tuple(order), new), final, selects=True)


def with_channels_in_order(term: Term, atoms: Sequence[int]) -> Term:
    """The term whose channels stand in its arrays as they do in the tensor."""
    if list(atoms) == sorted(atoms):
        return term
    layout = term.layout
    grid = torch.arange(layout.channels).reshape(layout.channel_sizes).permute(*atoms)
    number = {atom: k for k, atom in enumerate(atoms)}
    sizes = (*(layout.sizes[atom] for atom in atoms), *layout.positions)
    axes = tuple(tuple(number.get(atom, atom) for atom in axis) for axis in layout.axes)
    return select_channels(term, grid.flatten(), Layout(sizes, layout.n_channels, axes))


def scaled(term: Term, number: float) -> Term:
    """The term times a number."""
    step = SideStep(lambda array, side: array * number)
    return term.after(step, coefficient=term.coefficient * number)


def times_square(kernel: Tensor, coefficient: float) -> Tensor:
    """A kernel of values that are multiplied by a number."""
    return kernel if coefficient in (1, -1) else kernel * coefficient**2
