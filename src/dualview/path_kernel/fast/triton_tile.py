"""The path kernel of convolutional networks by Triton: AND and popcount on 32-bit words.

`tile` explains the method. Here one program works on one plane: one pair of examples at one offset
r = q - p. A plane holds all positions p of its image, with zeros where p + r is none, so that
windows need no borders. Every step of an `OffsetProgram` is one launch; planes stay in the device's
memory between them, for as many pairs and offsets at once as the bound on memory allows.

Average pools between gates mix offsets, and dense layers are matrix products: both are left to the
general rules. Triton's interpreter (`TRITON_INTERPRET=1`) runs the same code on a CPU, slowly, and
so it is tested against the compiled loops of `tile`. It has not been run on a GPU. What Triton has
written in itself (`tl.zeros`, `tl.sum`) is avoided: once imported, it is not interpreted.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"
# ruff: noqa: N803 - what Triton takes as a constant is written so

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dualview.errors import needs
from dualview.path_kernel.fast.offset_program import (
    OffsetProgram,
    Plan,
    check_images,
    check_masks,
    plan,
)
from dualview.path_kernel.fast.plan import FastPlan

with needs("triton", "the path kernel on a GPU"):
    import triton
    import triton.language as tl

BLOCK = 128
"""Positions that a program works on at once."""


def left_out(wanted: FastPlan) -> str:
    """Why Triton does not run this plan; empty where it does."""
    if wanted.program is None or wanted.dense:
        return "dense layers are matrix products"
    if len(wanted.program.stages) > 1:
        return "average pools between gates have no step in the Triton kernel"
    return ""


# Programs of one plane


@triton.jit
def _bits(word):
    """The number of bits set in each 32-bit word; compilers know this form as one instruction."""
    word = word.to(tl.uint32, bitcast=True)
    word = word - ((word >> 1) & 0x55555555)
    word = (word & 0x33333333) + ((word >> 2) & 0x33333333)
    word = (word + (word >> 4)) & 0x0F0F0F0F
    return ((word * 0x01010101) >> 24).to(tl.float32)


@triton.jit
def _item(first, SPAN_Y: tl.constexpr, SPAN_X: tl.constexpr, CIRCULAR: tl.constexpr):
    """The pair of this program, and the output's offset."""
    number = first + tl.program_id(0)
    offset = number % (SPAN_Y * SPAN_X)
    ry, rx = offset // SPAN_X, offset % SPAN_X
    if not CIRCULAR:  # from 1 - reach to reach - 1
        ry, rx = ry - SPAN_Y // 2, rx - SPAN_X // 2
    return number // (SPAN_Y * SPAN_X), ry, rx


@triton.jit
def _beyond(p, ry, rx, HEIGHT: tl.constexpr, WIDTH: tl.constexpr, CIRCULAR: tl.constexpr):
    """The positions p + r, and whether they and p are in the image."""
    y, x = p // WIDTH + ry, p % WIDTH + rx
    if CIRCULAR:
        y, x = y % HEIGHT, x % WIDTH
    inside = (p < HEIGHT * WIDTH) & (y >= 0) & (y < HEIGHT) & (x >= 0) & (x < WIDTH)
    return y * WIDTH + x, inside


@triton.jit
def _input_plane(
    planes, xa, xb, pairs, first,
    CHANNELS: tl.constexpr, HEIGHT: tl.constexpr, WIDTH: tl.constexpr, FACTOR_Y: tl.constexpr,
    FACTOR_X: tl.constexpr, SPAN_Y: tl.constexpr, SPAN_X: tl.constexpr, CIRCULAR: tl.constexpr,
    SIZE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """F_r[p] = sum_c x_a[c, p] x_b[c, p + r]."""
    pair, ry, rx = _item(first, SPAN_Y, SPAN_X, CIRCULAR)
    count: tl.constexpr = HEIGHT * WIDTH
    xa += tl.load(pairs + 2 * pair) * CHANNELS * count
    xb += tl.load(pairs + 2 * pair + 1) * CHANNELS * count
    planes += tl.program_id(0).to(tl.int64) * SIZE
    for start in range(0, count, BLOCK):
        p = start + tl.arange(0, BLOCK)
        q, inside = _beyond(p, ry * FACTOR_Y, rx * FACTOR_X, HEIGHT, WIDTH, CIRCULAR)
        total = tl.full([BLOCK], 0.0, tl.float32)
        for c in range(CHANNELS):
            left = tl.load(xa + c * count + p, mask=inside, other=0.0)
            total += left * tl.load(xb + c * count + q, mask=inside, other=0.0)
        tl.store(planes + p, total, mask=p < count)


@triton.jit
def _step(
    planes, sums, ga, gb, pairs, first, scale, source, target,
    WORDS: tl.constexpr, MODE: tl.constexpr, HEIGHT: tl.constexpr, WIDTH: tl.constexpr,
    IN_HEIGHT: tl.constexpr, IN_WIDTH: tl.constexpr, KERNEL_Y: tl.constexpr, KERNEL_X: tl.constexpr,
    STRIDE_Y: tl.constexpr, STRIDE_X: tl.constexpr, DILATION_Y: tl.constexpr,
    DILATION_X: tl.constexpr, TOP: tl.constexpr, LEFT: tl.constexpr, FACTOR_Y: tl.constexpr,
    FACTOR_X: tl.constexpr, SPAN_Y: tl.constexpr, SPAN_X: tl.constexpr, CIRCULAR: tl.constexpr,
    SIZE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Windows of the source's plane times the overlap, into the target's plane or the sums."""
    pair, ry, rx = _item(first, SPAN_Y, SPAN_X, CIRCULAR)
    count: tl.constexpr = HEIGHT * WIDTH
    ga += tl.load(pairs + 2 * pair) * WORDS * count
    gb += tl.load(pairs + 2 * pair + 1) * WORDS * count
    planes += tl.program_id(0).to(tl.int64) * SIZE
    whole = tl.full([BLOCK], 0.0, tl.float32)
    for start in range(0, count, BLOCK):
        p = start + tl.arange(0, BLOCK)
        q, inside = _beyond(p, ry * FACTOR_Y, rx * FACTOR_X, HEIGHT, WIDTH, CIRCULAR)
        value = tl.full([BLOCK], 0.0, tl.float32)
        for ky in range(KERNEL_Y):
            y = p // WIDTH * STRIDE_Y + ky * DILATION_Y - TOP
            if CIRCULAR:
                y = (y + KERNEL_Y * DILATION_Y * IN_HEIGHT) % IN_HEIGHT
            for kx in range(KERNEL_X):
                x = p % WIDTH * STRIDE_X + kx * DILATION_X - LEFT
                if CIRCULAR:
                    x = (x + KERNEL_X * DILATION_X * IN_WIDTH) % IN_WIDTH
                read = inside & (y >= 0) & (y < IN_HEIGHT) & (x >= 0) & (x < IN_WIDTH)
                value += tl.load(planes + source + y * IN_WIDTH + x, mask=read, other=0.0)
        value *= scale
        if WORDS > 0:
            on = tl.full([BLOCK], 0.0, tl.float32)
            for w in range(WORDS):
                left = tl.load(ga + w * count + p, mask=inside, other=0)
                right = tl.load(gb + w * count + q, mask=inside, other=0)
                on += _bits((left & right).to(tl.uint32, bitcast=True))
            value *= on
        if MODE == 2:
            whole += value
        elif MODE == 1:
            value += tl.load(planes + target + p, mask=p < count, other=0.0)
            tl.store(planes + target + p, value, mask=p < count)
        else:
            tl.store(planes + target + p, value, mask=p < count)
    if MODE == 2:  # what is summed here, the host adds up in float64
        place = sums + tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
        tl.store(place, tl.load(place) + whole)


# Tiles


@dataclass(frozen=True)
class _Side:
    """Inputs (n, channels * positions), and words (n, words * positions) of each mask."""

    x: Tensor
    masks: list[Tensor]
    words: list[int]

    @classmethod
    def of(
        cls, x: np.ndarray, masks: Sequence[np.ndarray], channels: Sequence[int], device: Any
    ) -> _Side:
        """From images (n, channels, height, width) and packed masks (n, height, width, words)."""
        words = [-(-count // 32) for count in channels]
        halves = [np.ascontiguousarray(mask).view(np.int32)[..., :n] for mask, n in
                  zip(masks, words, strict=True)]  # fmt: skip
        moved = [np.ascontiguousarray(np.moveaxis(half, -1, 1)) for half in halves]
        given = torch.from_numpy(np.ascontiguousarray(x, np.float32)).to(device)
        return cls(given, [torch.from_numpy(one).to(device) for one in moved], words)


def triton_tile(
    x1: np.ndarray,
    masks1: Sequence[np.ndarray],
    x2: np.ndarray | None,
    masks2: Sequence[np.ndarray] | None,
    program: OffsetProgram,
    device: Any,
    memory: float,
) -> np.ndarray:
    """`tile.offset_tile` by Triton, of hard gates and one stage: float64 (n1, n2).

    It takes what that takes; `memory` bounds, in bytes, the planes that `device` holds.

    Raises:
        PathKernelError: shapes do not fit, or the program does not decompose over offsets.
    """
    work = plan(program, 1)
    symmetric = x2 is None or masks2 is None
    others = (x1, masks1) if x2 is None or masks2 is None else (x2, masks2)
    for x, masks in ((x1, masks1), others):
        check_images(x, x1.shape[1], program)
        check_masks(masks, program.channels, work.masks, len(x))
    left = _Side.of(x1, masks1, program.channels, device)
    right = left if symmetric else _Side.of(*others, program.channels, device)
    n1, n2 = len(x1), len(others[0])
    pairs = [(i, j) for i in range(n1) for j in range(i if symmetric else 0, n2)]
    values = _run(work, program, left, right, torch.tensor(pairs, device=device), memory)
    out = np.zeros((n1, n2))
    at = np.array(pairs)
    out[at[:, 0], at[:, 1]] = values.cpu().numpy()
    if symmetric:
        out[at[:, 1], at[:, 0]] = out[at[:, 0], at[:, 1]]
    return out


def _run(
    work: Plan, program: OffsetProgram, left: _Side, right: _Side, pairs: Tensor, memory: float
) -> Tensor:
    """The kernel (pairs,) in float64: planes of so many pairs and offsets at once as fit."""
    (stage,) = work.stages
    spans = stage.reach if program.circular else tuple(2 * reach - 1 for reach in stage.reach)
    sizes = stage.planes["height"] * stage.planes["width"]
    starts = np.cumsum(sizes) - sizes
    size = int(sizes[:-1].sum())  # the output is summed, and not held
    items = len(pairs) * spans[0] * spans[1]
    most = max(1, min(items, int(memory / (4 * (size + BLOCK)))))
    planes = torch.empty(most * size, dtype=torch.float32, device=pairs.device)
    found = torch.empty(items, dtype=torch.float64, device=pairs.device)
    same: dict[str, Any] = {
        "SPAN_Y": spans[0],
        "SPAN_X": spans[1],
        "CIRCULAR": program.circular,
        "SIZE": size,
        "BLOCK": BLOCK,
    }
    for first in range(0, items, most):
        count = min(most, items - first)
        grid, sums = (count,), torch.zeros(count, BLOCK, device=pairs.device)
        image = _of_plane(stage.planes[0])
        channels = left.x.shape[1]
        _input_plane[grid](
            planes, left.x, right.x, pairs, first, CHANNELS=channels, **image, **same
        )  # fmt: skip
        for step in stage.steps:
            source, target = stage.planes[step["source"]], stage.planes[step["target"]]
            mask = int(step["mask"])
            words = left.words[mask] if mask >= 0 else 0
            ga, gb = (s.masks[mask] if mask >= 0 else pairs for s in (left, right))
            places = (int(starts[step["source"]]), int(starts[step["target"]]))
            _step[grid](
                planes, sums, ga, gb, pairs, first, float(step["scale"]), *places,
                WORDS=words, IN_HEIGHT=int(source["height"]), IN_WIDTH=int(source["width"]),
                **_of_step(step), **_of_plane(target), **same,
            )  # fmt: skip
        found[first : first + count] = sums.double().sum(1)
    return found.reshape(len(pairs), -1).sum(1)


def _of_plane(plane: np.void) -> dict[str, int]:
    names = ("height", "width", "factor_y", "factor_x")
    return {name.upper(): int(plane[name]) for name in names}


def _of_step(step: np.void) -> dict[str, int]:
    names = ("kernel_y", "kernel_x", "stride_y", "stride_x", "dilation_y", "dilation_x")
    return {name.upper(): int(step[name]) for name in (*names, "top", "left", "mode")}
