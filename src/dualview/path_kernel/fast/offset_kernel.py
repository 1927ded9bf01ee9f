"""The compiled loops of the fast path kernel: planes of one offset, and dense layers.

`tile` explains the method. A plane is stored row after row, each with its border columns
(`before` and `after`), and each entry is a block of pairs (`simd_block`); `f` is the scratch memory
with all planes of one offset, which opens with a row of zeros. `i` and `j` are places in the gates
of the first and of the second examples, `o` a place in `f`. `ga` and `gb` hold 32-bit words of gate
bits, or float32 gates.

numba infers all types, so the functions here carry no annotations.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

import numpy as np

from dualview.path_kernel.fast.offset_program import STORE, SUM
from dualview.path_kernel.fast.simd_block import (
    LANES,
    PAIRS,
    ROWS,
    accumulate,
    channels_on,
    compiled,
    fill,
    inlined,
    lanes,
    load,
    rows,
    store,
    store_rows,
)

# Stages, offset by offset


@compiled
def run_stage(
    settings, steps, planes, words, starts, xa, xb, ga, gb, pooled_in, pooled_out, f, sums
):
    """One stage: every offset (ry, rx) of its output, step by step."""
    reach_y, reach_x, pool_y, pool_x, circular, first = settings
    taps = np.zeros(max(3, steps.kernel_y.max()), np.int64)
    for ry in range(0 if circular else 1 - reach_y, reach_y):
        for rx in range(0 if circular else 1 - reach_x, reach_x):
            if first:
                _input_plane(planes[0], ry, rx, circular, xa, xb, f)
            else:
                _read_pooled(planes[0], ry, rx, circular, pooled_in, f)
            for k in range(len(steps)):
                step = steps[k]
                source, target = planes[step.source], planes[step.target]
                _run_step(
                    step, source, target, ry, rx, circular, words, starts, ga, gb, taps, f, sums
                )
            if pool_y:
                _pool(planes[-1], ry, rx, circular, pool_y, pool_x, f, pooled_out)


@inlined
def _extent(size, r, circular):
    """Positions p of an image for which p + r is a position too."""
    return size if circular else size - abs(r)


@compiled
def _input_plane(plane, ry, rx, circular, xa, xb, f):
    """F_r[p] = sum_c x_a[p, c] x_b[p + r, c]."""
    height, width = plane.height, plane.width
    channels = len(xa) // (height * width * ROWS)
    ry, rx = ry * plane.factor_y, rx * plane.factor_x
    h, w = _extent(height, ry, circular), _extent(width, rx, circular)
    row = (w + plane.before + plane.after) * PAIRS
    for y in range(h):
        py, px = (y, 0) if circular else (y + max(0, -ry), max(0, -rx))
        qy, qx = (py + ry) % height, px + rx
        i = (py * width + px) * channels * ROWS
        j = (qy * width + qx) * channels * LANES
        o = plane.start * PAIRS + y * row + plane.before * PAIRS
        for x in range(w):
            if qx + x == width:  # the second example's row wraps around
                j -= width * channels * LANES
            total = rows(xa, i) * lanes(xb, j)
            for c in range(1, channels):
                total = total + rows(xa, i + c * ROWS) * lanes(xb, j + c * LANES)
            store(f, o + x * PAIRS, total)
            i += channels * ROWS
            j += channels * LANES
        _write_border(plane, w, circular, o, f)


@inlined
def _write_border(plane, w, circular, o, f):
    """Columns on either side of the row that starts at `o`: zeros, or the row goes round."""
    value = fill(np.float32(0))
    for x in range(-plane.before, 0):
        if circular:
            value = load(f, o + (x % w) * PAIRS)
        store(f, o + x * PAIRS, value)
    for x in range(w, w + plane.after):
        if circular:
            value = load(f, o + (x % w) * PAIRS)
        store(f, o + x * PAIRS, value)


@compiled
def _run_step(step, source, target, ry, rx, circular, words, starts, ga, gb, taps, f, sums):
    """One step for one offset: box sum of the source plane, times the overlap, into the target."""
    sh = _extent(source.height, ry * source.factor_y, circular)
    sw = _extent(source.width, rx * source.factor_x, circular)
    ry, rx = ry * target.factor_y, rx * target.factor_x
    h, w = _extent(target.height, ry, circular), _extent(target.width, rx, circular)
    row_in = (sw + source.before + source.after) * PAIRS
    row_out = (w + target.before + target.after) * PAIRS
    sliding = step.kernel_y == 3 and step.kernel_x == 3 and step.stride_x == step.dilation_x == 1
    count, start = (words[step.mask], starts[step.mask]) if step.mask >= 0 else (0, 0)
    width, scale = target.width, fill(step.scale)
    for y in range(h):
        for k in range(step.kernel_y):
            sy = y * step.stride_y + k * step.dilation_y - step.top
            if circular:
                sy = sy % sh
            inside = 0 <= sy < sh  # else the row of zeros that opens the scratch memory
            taps[k] = source.start * PAIRS + sy * row_in if inside else 0
            taps[k] += (source.before - step.left) * PAIRS
        py, px = (y, 0) if circular else (y + max(0, -ry), max(0, -rx))
        qy, qx = (py + ry) % target.height, px + rx
        i = (start + (py * width + px) * count) * ROWS
        j = (start + (qy * width + qx) * count) * LANES
        o = (target.start + target.before) * PAIRS + y * row_out
        gates = (i, j, count, width - qx)
        if sliding:
            total = _sliding_row(taps, w, ga, gb, gates, scale, step.mode, o, width, f)
        else:
            window = (step.kernel_y, step.kernel_x, step.stride_x, step.dilation_x)
            total = _window_row(taps, window, w, ga, gb, gates, scale, step.mode, o, width, f)
        if step.mode == SUM:
            accumulate(sums, 0, total)
        elif target.before + target.after > 0:
            _write_border(target, w, circular, o, f)


@inlined
def _sliding_row(taps, w, ga, gb, gates, scale, mode, o, width, f):
    """A row of a 3 x 3 window of stride 1: columns are summed once and slide through registers.

    `gates` are the places of the row's gates on either side, their number of words, and the column
    at which the second example's row wraps around (in circular images of `width`).
    """
    i, j, words, wrap = gates
    t0, t1, t2 = taps[0], taps[1], taps[2]
    left = load(f, t0) + load(f, t1) + load(f, t2)
    middle = load(f, t0 + PAIRS) + load(f, t1 + PAIRS) + load(f, t2 + PAIRS)
    total = fill(np.float32(0))
    for x in range(w):
        at = (x + 2) * PAIRS
        right = load(f, t0 + at) + load(f, t1 + at) + load(f, t2 + at)
        value = left + middle + right
        left = middle
        middle = right
        if x == wrap:
            j -= width * words * LANES
        value = _gated(value, ga, i, gb, j, words, scale)
        i += words * ROWS
        j += words * LANES
        total = _emit(value, total, mode, o + x * PAIRS, f)
    return total


@inlined
def _window_row(taps, window, w, ga, gb, gates, scale, mode, o, width, f):
    """A row of any window: (kernel height, kernel width, horizontal stride and dilation)."""
    kernel_y, kernel_x, stride, dilation = window
    i, j, words, wrap = gates
    total = fill(np.float32(0))
    for x in range(w):
        value = load(f, taps[0] + x * stride * PAIRS)
        for kx in range(1, kernel_x):
            value = value + load(f, taps[0] + (x * stride + kx * dilation) * PAIRS)
        for ky in range(1, kernel_y):
            for kx in range(kernel_x):
                value = value + load(f, taps[ky] + (x * stride + kx * dilation) * PAIRS)
        if x == wrap:
            j -= width * words * LANES
        value = _gated(value, ga, i, gb, j, words, scale)
        i += words * ROWS
        j += words * LANES
        total = _emit(value, total, mode, o + x * PAIRS, f)
    return total


@inlined
def _gated(value, ga, i, gb, j, words, scale):
    """`value * scale * (channels on in both)`, or `value * scale` without a mask."""
    if words == 0:
        return value * scale
    return value * (channels_on(ga, i, ROWS, gb, j, words) * scale)


@inlined
def _emit(value, total, mode, o, f):
    """Put one value of a row where the step's mode says; returns the sum of the row so far."""
    if mode == SUM:
        return total + value
    store(f, o, value if mode == STORE else value + load(f, o))
    return total


# Average pooling: planes of neighbouring offsets flow together


@compiled
def _tight_start(height, width, ry, rx, circular):
    """Where the plane of offset (ry, rx) starts, in blocks, if all planes lie one after another."""
    if circular:
        return (ry * width + rx) * height * width
    return _before(height, ry) * width * width + (height - abs(ry)) * _before(width, rx)


@compiled
def _before(size, r):
    """Sum of size - |s| over the offsets 1 - size <= s < r."""
    if r <= 0:
        return (size + r - 1) * (size + r) // 2
    return size * size - (size - r) * (size - r + 1) // 2


@compiled
def _read_pooled(plane, ry, rx, circular, pooled, f):
    """The input plane of a stage after pooling."""
    ry, rx = ry * plane.factor_y, rx * plane.factor_x
    h, w = _extent(plane.height, ry, circular), _extent(plane.width, rx, circular)
    start = _tight_start(plane.height, plane.width, ry, rx, circular)
    row = w + plane.before + plane.after
    for y in range(h):
        o = (plane.start + y * row + plane.before) * PAIRS
        for x in range(w):
            store(f, o + x * PAIRS, load(pooled, (start + y * w + x) * PAIRS))
        _write_border(plane, w, circular, o, f)


@compiled
def _pool(plane, ry, rx, circular, pool_y, pool_x, f, pooled):
    """Add the plane of offset r to those pooled planes R that it meets.

    Position u = s P + i of the first example and v = s Q + j of the second lie in windows P and Q;
    v - u = r = s R + e with e = j - i, so R = (r - e) / s, and i runs where j is in its window too.
    """
    height, width = plane.height // pool_y, plane.width // pool_x
    w = _extent(plane.width, rx, circular)
    for ey in range(1 - pool_y, pool_y):
        big_y = (ry - ey) // pool_y
        if circular:
            big_y = big_y % height
        if (ry - ey) % pool_y != 0 or abs(big_y) >= height:
            continue
        for ex in range(1 - pool_x, pool_x):
            big_x = (rx - ex) // pool_x
            if circular:
                big_x = big_x % width
            if (rx - ex) % pool_x != 0 or abs(big_x) >= width:
                continue
            oy, ox = (
                (0, 0)
                if circular
                else (pool_y * max(0, -big_y) - max(0, -ry), pool_x * max(0, -big_x) - max(0, -rx))
            )
            o = _tight_start(height, width, big_y, big_x, circular)
            for y in range(_extent(height, big_y, circular)):
                for x in range(_extent(width, big_x, circular)):
                    total = load(pooled, o * PAIRS)
                    for i in range(max(0, -ey), pool_y - max(0, ey)):
                        at = plane.start + (oy + pool_y * y + i) * w + ox + pool_x * x
                        for j in range(max(0, -ex), pool_x - max(0, ex)):
                            total = total + load(f, (at + j) * PAIRS)
                    store(pooled, o * PAIRS, total)
                    o += 1


# Dense layers


@compiled
def dense_column(xa, xb, ga, gb, blocks, words, scales, out, column):
    """Blocks 0 to `blocks` of the first examples against one block of the second ones."""
    features = len(xb) // LANES
    for block in range(blocks):
        value = _inner_product(xa, block * features * ROWS, xb, features)
        i, j = block * words.sum() * ROWS, 0
        for layer in range(len(words)):
            value = _gated(value, ga, i, gb, j, words[layer], fill(scales[layer]))
            i += words[layer] * ROWS
            j += words[layer] * LANES
        store_rows(
            out.reshape(-1), block * ROWS * out.shape[1] + column * LANES, out.shape[1], value
        )


@inlined
def _inner_product(xa, i, xb, features):
    """<x_a, x_b>; partial sums of 128 lose fewer digits than one long one."""
    value = fill(np.float32(0))
    for start in range(0, features, 128):
        part = fill(np.float32(0))
        for c in range(start, min(start + 128, features)):
            part = part + rows(xa, i + c * ROWS) * lanes(xb, c * LANES)
        value = value + part
    return value
