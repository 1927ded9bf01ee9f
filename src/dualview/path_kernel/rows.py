"""A convolution's kernel in blocks of rows of the first example's positions.

Rows of the result read a few rows of what comes before. So the products with the gates, their
padding and the sums over windows, which hold a number for each pair of positions, are formed for a
few rows at a time; of large images they would be far larger than the result.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from dualview.path_kernel.contraction import channel_mean, combined, lead
from dualview.path_kernel.layout import Layout
from dualview.path_kernel.positions import LEADING, window_sum
from dualview.path_kernel.scale import LogScale
from dualview.path_kernel.spread import correlated
from dualview.path_kernel.terms import Term, Value

ENTRIES = 2**22
"""Of a block of rows, before its windows are summed."""


@dataclass(frozen=True)
class Windows:
    """A convolution's windows: sizes, strides and dilations of each axis, margins as `F.pad`'s."""

    sizes: Sequence[int]
    strides: Sequence[int]
    dilations: Sequence[int]
    margins: Sequence[int]
    groups: int


def may_go_by_rows(value: Value, groups: int, mode: str) -> bool:
    """Whether the rule is that of every row by itself, and the whole is larger than a block."""
    image = Layout.of(value.shape)
    plain = all(t.layout == image and not t.pending for t in value.terms)
    local = mode == "constant" and plain and 1 not in value.shape[1:]
    local = local and not any(correlated(value.terms))
    one_scale = not any(isinstance(term.log_scale, Tensor) for term in value.terms)
    n1, n2 = _examples(value)
    whole = n1 * n2 * groups * math.prod(value.shape[1:]) ** 2
    return local and one_scale and whole > ENTRIES


def by_rows(value: Value, windows: Windows) -> tuple[Tensor, LogScale]:
    """The mean over the window of the padded kernels, (s, n1, n2, g, *p, *q), and their scale."""
    dims, height = len(value.shape) - 1, value.shape[1]
    padding = list(windows.margins)
    others, (before, _) = padding[:-2], padding[-2:]
    stride, reach = windows.strides[0], windows.dilations[0] * (windows.sizes[0] - 1)
    count = (height + sum(padding[-2:]) - reach - 1) // stride + 1
    n1, n2 = _examples(value)
    row = n1 * n2 * windows.groups * math.prod(value.shape[1:]) ** 2 // height
    step = max(1, (ENTRIES // row - reach) // stride)
    out: Tensor | None = None
    log_scale: LogScale = 0.0
    for first in range(0, count, step):
        last = min(first + step, count)
        start, stop = first * stride - before, (last - 1) * stride - before + reach + 1
        low, high = max(start, 0), min(stop, height)
        if low >= high:  # all of it is padding
            low = high = 0
            start, stop = 0, stop - start
        rows = replace(value, terms=tuple(_narrowed(t, low, high) for t in value.terms))
        block, log_scale = combined(rows, lambda term: channel_mean(term, windows.groups))
        margins = [*padding, *others, low - start, stop - high]
        block = F.pad(block, margins) if any(margins) else block
        block = window_sum(block, windows.sizes, windows.strides, windows.dilations)
        if out is None:
            shape = list(block.shape)
            shape[LEADING] = count
            out = block.new_empty(shape)
        torch.div(block, math.prod(windows.sizes), out=out.narrow(LEADING, first, last - first))
    assert out is not None
    assert out.dim() == LEADING + 2 * dims
    return out, log_scale


def _examples(value: Value) -> tuple[int, int]:
    """How many of each side."""
    leads = [lead(term) for term in value.terms]
    return max(first for _, first, _ in leads), max(second for *_, second in leads)


def _narrowed(term: Term, low: int, high: int) -> Term:
    """The term at some rows of the first example."""
    kernel = None if term.kernel is None else term.kernel.narrow(LEADING, low, high - low)
    left = None if term.left is None else term.left.narrow(2, low, high - low)
    return replace(term, kernel=kernel, left=left)
