"""A convolution's kernel in blocks of rows of the first example's positions.

Rows of the result read a few rows of what comes before. So the products with the gates, their
padding and the sums over windows, which hold a number for each pair of positions, are formed for a
few rows at a time; of large images they would be far larger than the result.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dualview.path_kernel.positions import LEADING, window_sum
from dualview.path_kernel.scale import LogScale
from dualview.path_kernel.terms import Term, Value, channel_mean, combined

ENTRIES = 2**22
"""Of a block of rows, before its windows are summed."""


def may_go_by_rows(value: Value, module: Any) -> bool:
    """Whether the rule is that of every row by itself, and the whole is larger than a block."""
    local = module.padding_mode == "zeros" and not any(term.pending for term in value.terms)
    one_scale = not any(isinstance(term.log_scale, Tensor) for term in value.terms)
    n1, n2 = _examples(value)
    whole = n1 * n2 * module.groups * math.prod(value.positions) ** 2
    return local and one_scale and whole > ENTRIES


def by_rows(value: Value, module: Any) -> tuple[Tensor, LogScale]:
    """The mean over the window of the padded kernels, (s, n1, n2, g, *p, *q), and their scale."""
    dims, height = value.dims, value.positions[0]
    padding = list(module._reversed_padding_repeated_twice)
    others, (before, _) = padding[:-2], padding[-2:]
    stride, reach = module.stride[0], module.dilation[0] * (module.kernel_size[0] - 1)
    count = (height + sum(padding[-2:]) - reach - 1) // stride + 1
    n1, n2 = _examples(value)
    row = n1 * n2 * module.groups * math.prod(value.positions) ** 2 // height
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
        block, log_scale = combined(rows, lambda term: channel_mean(term, value, module.groups))
        margins = [*padding, *others, low - start, stop - high]
        block = F.pad(block, margins) if any(margins) else block
        block = window_sum(block, module.kernel_size, module.stride, module.dilation)
        if out is None:
            shape = list(block.shape)
            shape[LEADING] = count
            out = block.new_empty(shape)
        torch.div(
            block, math.prod(module.kernel_size), out=out.narrow(LEADING, first, last - first)
        )
    assert out is not None
    assert out.dim() == LEADING + 2 * dims
    return out, log_scale


def _examples(value: Value) -> tuple[int, int]:
    """How many of each side."""
    found = [(1, 1)]
    for term in value.terms:
        if term.kernel is not None:
            found.append((term.kernel.shape[1], term.kernel.shape[2]))
        if term.left is not None and term.right is not None:
            found.append((len(term.left), len(term.right)))
    return max(n for n, _ in found), max(n for _, n in found)


def _narrowed(term: Term, low: int, high: int) -> Term:
    """The term at some rows of the first example."""
    kernel = None if term.kernel is None else term.kernel.narrow(LEADING, low, high - low)
    left = None if term.left is None else term.left.narrow(2, low, high - low)
    return replace(term, kernel=kernel, left=left)
