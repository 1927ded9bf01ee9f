"""Grouped convolutions that wait for the layer which reads them.

A depthwise convolution makes a kernel for every channel: with gates a, b of two examples

    K_c[p, q] = sum_d K[p + d, q + d] a_c[p + d] b_c[q + d] .

Held, these are as many planes as channels. But a layer that sums the channels next, behind gates
a', b', needs no more than

    sum_d K[p + d, q + d] sum_c (a_c[p + d] a'_c[p]) (b_c[q + d] b'_c[q]) ,

the overlaps of the gates seen from the windows of the convolution, where both examples' windows
are at the same tap: each tap has a weight of its own. So nothing is computed yet; the term keeps
its plane, and its windows are tied. Channels of one group are windows too. Where groups are few and
wide, planes of groups cost less.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch

from dualview.path_kernel.fast.factors import Regrouped, Selected
from dualview.path_kernel.fast.position_maps import Axis, PositionMap
from dualview.path_kernel.fast.row_program import RowProgram, met_pairs, words_of
from dualview.path_kernel.fast.row_terms import NOWHERE, RowTerm, RowValue, seen_at, settled

UPKEEP = 3
"""Numbers read or written for one of a plane, beside those of its words and taps."""


LARGE, SPARED = 64e6, 4
"""Planes of groups that take so many bytes are spared at so many times their work."""


def alike(program: RowProgram, value: RowValue) -> bool:
    """Whether all channels have the same kernel: nothing was multiplied to it, or chosen."""
    return all(
        term.factor is None
        and (term.plane is None or program.planes[term.plane].groups == 1)
        and (term.channels != NOWHERE).all()
        for term in value.terms
    )


def waiting_terms(
    program: RowProgram, value: RowValue, over: PositionMap, groups: int, count: int
) -> tuple[RowTerm, ...] | None:
    """The terms of a grouped convolution with `count` channels, by its windows; None: do not wait.

    They lack what the convolution's weights are: origin, scale, slope.
    """
    if groups == 1 or alike(program, value):
        return None
    each = value.channels // groups
    terms = [settled(term, value.channels) for term in value.terms]
    if each > 1 and any(t.window is not None or _groups_differ(t, groups) for t in terms):
        return None
    before = [met_pairs(term.window, term.ties) for term in terms]
    hard = all(term.factor is None or term.factor.hard for term in terms)
    waiting = math.prod(over.size) ** 2 * over.taps * each * sum(before) * words_of(count, hard)
    planes = value.positions**2 * groups * (sum(before) * words_of(each, hard) + UPKEEP)
    planes += math.prod(over.size) ** 2 * groups * (over.taps + UPKEEP)
    rows = (over.rows.taps + 1) * value.size[1]
    if 4 * groups * rows * value.positions > LARGE:  # bytes that are held of the planes
        planes *= SPARED
    if waiting > planes:
        return None
    return tuple(_waiting(term, value.channels, over, groups, count) for term in terms)


def _groups_differ(term: RowTerm, groups: int) -> bool:
    """Whether channels of one group read several planes."""
    of_group = term.groups.reshape(groups, -1)
    return bool((of_group != of_group[:, :1]).any())


def _waiting(term: RowTerm, channels: int, over: PositionMap, groups: int, count: int) -> RowTerm:
    """One term seen from the convolution's windows, whose channels are more windows of it."""
    each = channels // groups
    group = np.arange(count) * groups // count
    index = group * each + np.arange(each)[:, None]  # (each, count): what a channel reads
    columns = Axis(np.repeat(over.columns.source, each, 1), np.repeat(over.columns.weight, each, 1))
    many = PositionMap(over.rows, columns, over.before)
    ties = np.arange(many.taps).reshape(many.rows.taps, many.columns.taps)
    term = seen_at(term, channels, many, ties=ties)
    assert term.factor is not None
    picked = torch.from_numpy(index)
    factor = Regrouped(term.factor, picked) if each > 1 else Selected(term.factor, picked[0])
    nothing = (term.channels[index] == NOWHERE).all(0)
    return replace(
        term,
        factor=factor,
        channels=np.where(nothing, NOWHERE, np.arange(count)),
        groups=term.groups[index[0]],
    )
