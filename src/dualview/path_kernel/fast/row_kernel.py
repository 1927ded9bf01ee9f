"""The compiled loops over rows of planes; `row_program` says what they compute.

A plane is one flat array of float32: for every pair of the batch and every sub-plane (its copies
times its groups) `lines` lines of `pitch` numbers, one for each position held of the first example.
Its entries are those of the second example's positions, with zeros behind. The last line but one
holds zeros only, the last one takes what nobody reads. `at` arrays name the starts of lines within
a sub-plane, for each position of the rows in work, with as many spare ones behind as a block has
rows. Masks are those of `factors.packed`, flat. A thread makes the positions `start` to `stop`.

numba infers all types, so the functions here carry no annotations.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

import numpy as np

from dualview.path_kernel.fast.simd_block import (
    LANES,
    ROWS,
    compiled,
    fill,
    gathered,
    inlined,
    lanes,
    overlap_of,
    rows,
    scatter,
    to_float,
)


@compiled
def overlap_rows(
    shape, scales, groups, first, second, left, right, source, target, at_in, at_out, weights
):
    """One part of an `Overlap`: kernel times overlap of two masks, into the target's rows.

    Args:
        shape: (start, stop, pitch, copies, whether to add, windows, words of the mask, whether the
            source is a constant, size of the source's sub-planes, their groups, the same of the
            target, numbers from one window of the source to the next, first position in work).
        scales: scale, slope of the NTK, constants (NPK, NTK), bias (NPK, NTK).
        groups: (mask's groups, 3): group of the source, group of the target, whether it is the
            first one for its target.
        first, second: the examples of each pair.
        left, right: masks.
        source, target: planes.
        at_in: lines of the source, windows after windows; `at_out`: lines of the target.
        weights: of the windows of the first example, (windows, positions).
    """
    start, stop, pitch, copies, add, windows, words, constant = shape[:8]
    in_size, in_groups, out_size, out_groups, window_size, offset = shape[8:14]
    count = len(at_out)
    live = np.zeros(windows, np.int64)
    bias0, bias1 = fill(scales[4]), fill(scales[5])
    scale, slope = fill(scales[0]), fill(scales[1])
    constant0, constant1 = fill(scales[2]), fill(scales[3])
    parts = len(groups)
    for b in range(len(first)):
        for g in range(parts):
            origin = (b * copies * in_groups + groups[g, 0]) * in_size
            origin2 = origin + in_groups * in_size
            goal = (b * copies * out_groups + groups[g, 1]) * out_size
            goal2 = goal + out_groups * out_size
            joins = add != 0 or groups[g, 2] == 0
            mask_a = (first[b] * windows * parts + g) * words * pitch
            mask_b = (second[b] * windows * parts + g) * words * pitch
            step_a, step_b = parts * words * pitch, parts * words * pitch
            for p in range(start, stop, ROWS):
                alive = _live_windows(left, mask_a + offset + p, step_a, pitch, words, live)
                for q in range(0, pitch, LANES):
                    value, extra = fill(np.float32(0)), fill(np.float32(0))
                    for n in range(alive):
                        u = live[n]
                        i = mask_a + u * step_a + offset + p
                        weight = scale * rows(weights, u * count + p)
                        for v in range(windows):
                            overlap = weight
                            if words > 0:
                                j = mask_b + v * step_b + q
                                overlap = weight * _overlap(left, i, right, j, pitch, words)
                            if constant:
                                value = value + overlap * constant0
                                extra = extra + overlap * constant1
                            else:
                                k = origin + v * window_size + q
                                value = value + overlap * gathered(source, at_in, u * count + p, k)
                                if copies == 2:
                                    k = origin2 + v * window_size + q
                                    extra = extra + overlap * gathered(
                                        source, at_in, u * count + p, k
                                    )
                    if copies == 2:
                        extra = extra + slope * value
                        if joins:
                            extra = extra + gathered(target, at_out, p, goal2 + q)
                        else:
                            extra = extra + bias1
                        scatter(target, at_out, p, goal2 + q, extra)
                    if joins:
                        value = value + gathered(target, at_out, p, goal + q)
                    else:
                        value = value + bias0
                    scatter(target, at_out, p, goal + q, value)


@inlined
def _overlap(left, i, right, j, pitch, words):
    """Channels on in both, of a block of positions."""
    count = overlap_of(rows(left, i), lanes(right, j))
    for k in range(1, words):
        count = count + overlap_of(rows(left, i + k * pitch), lanes(right, j + k * pitch))
    return to_float(count)


@inlined
def _live_windows(mask, at, step, pitch, words, live):
    """Those windows in which some channel of some row of the block is on; returns how many."""
    if len(live) == 1:
        live[0] = 0
        return 1
    alive = 0
    for u in range(len(live)):
        found = words == 0
        for k in range(words):
            for r in range(ROWS):
                if mask[at + u * step + k * pitch + r] != 0:
                    found = True
        if found:
            live[alive] = u
            alive += 1
    return alive


@compiled
def shifted_windows(shape, tables, masks, source, target, at_in, at_out, scales):
    """Stride 1 and zero padding: every tap adds a line to a line, moved by a constant.

    `tables`: for each tap its shift, the first and the last + 1 of the entries it reaches. `masks`:
    (taps, positions), 0 where the shift goes round the edge of a row.
    """
    start, stop, pitch, copies, batch, groups, in_size, out_size = shape[:8]
    count, taps = len(at_out), len(tables)
    zero = in_size - 2 * pitch
    size = masks.shape[1]
    for b in range(batch):
        for g in range(copies * groups):
            origin, goal = (b * copies * groups + g) * in_size, (b * copies * groups + g) * out_size
            for p in range(start, stop):
                out = target[goal + at_out[p] : goal + at_out[p] + size]
                out[:] = 0
                for t in range(taps):
                    if at_in[t * count + p] == zero:
                        continue
                    line = origin + at_in[t * count + p] + tables[t, 0]
                    low, high = tables[t, 1], tables[t, 2]
                    if tables[t, 3]:
                        _add(out, low, high, source, line)
                    else:
                        _add_masked(out, low, high, source, line, masks[t])
        _finish(target, b, start, stop, size, copies, groups, out_size, at_out, scales)


@inlined
def _add(out, low, high, source, line):
    part, read = out[low:high], source[line + low : line + high]
    for q in range(high - low):
        part[q] += read[q]


@inlined
def _add_masked(out, low, high, source, line, mask):
    part, read, keep = out[low:high], source[line + low : line + high], mask[low:high]
    for q in range(high - low):
        part[q] += keep[q] * read[q]


@compiled
def tabled_windows(shape, tables, source, target, at_in, at_out, scales):
    """Any stride and padding: every tap adds entries named by a table (taps, positions)."""
    start, stop, pitch, copies, batch, groups, in_size, out_size = shape[:8]
    count, taps, size = len(at_out), tables.shape[0], tables.shape[1]
    zero = in_size - 2 * pitch
    for b in range(batch):
        for g in range(copies * groups):
            origin, goal = (b * copies * groups + g) * in_size, (b * copies * groups + g) * out_size
            for p in range(start, stop):
                out = target[goal + at_out[p] : goal + at_out[p] + size]
                out[:] = 0
                for t in range(taps):
                    if at_in[t * count + p] == zero:
                        continue
                    line = origin + at_in[t * count + p]
                    read, table = source[line : line + pitch], tables[t]
                    for q in range(size):
                        out[q] += read[table[q]]
        _finish(target, b, start, stop, size, copies, groups, out_size, at_out, scales)


@inlined
def _finish(target, b, start, stop, size, copies, groups, out_size, at_out, scales):
    """Scale, slope and bias of a weight layer."""
    for g in range(groups):
        goal = (b * copies * groups + g) * out_size
        for p in range(start, stop):
            out = target[goal + at_out[p] : goal + at_out[p] + size]
            if copies == 2:
                other = goal + groups * out_size + at_out[p]
                more = target[other : other + size]
                for q in range(size):
                    value = out[q] * scales[0]
                    more[q] = more[q] * scales[0] + scales[1] * value + scales[5]
            for q in range(size):
                out[q] = out[q] * scales[0] + scales[4]


@compiled
def moved_columns(shape, tables, weights, source, target, lines_in, lines_out):
    """`target[v][line, q] = weights[v, q] source[line, tables[v, q]]`, or their sum over v.

    `shape`: (start, stop, source's pitch, sub-planes, its size, target's pitch, target's sub-plane,
    numbers from one v to the next, or 0 to sum).
    """
    start, stop, pitch, planes, in_size, out_pitch, out_size, apart = shape
    size = tables.shape[1]
    for g in range(planes):
        for n in range(start, stop):
            read = source[g * in_size + lines_in[n] : g * in_size + lines_in[n] + pitch]
            for v in range(len(tables)):
                to = g * out_size + v * apart + lines_out[n]
                out, table, weight = target[to : to + size], tables[v], weights[v]
                if v == 0 or apart:
                    for q in range(size):
                        out[q] = weight[q] * read[table[q]]
                else:
                    for q in range(size):
                        out[q] += weight[q] * read[table[q]]


@compiled
def mapped_rows(shape, weights, source, target, at_in, at_out):
    """`target[p, q] = sum_u weights[u, p] source[u's line of p, q]`.

    `shape`: (start, stop, positions, sub-planes, source's sub-plane, target's sub-plane).
    """
    start, stop, size, planes, in_size, out_size = shape
    count = len(at_out)
    for g in range(planes):
        for p in range(start, stop):
            to = g * out_size + at_out[p]
            out = target[to : to + size]
            out[:] = 0
            for u in range(len(weights)):
                weight = weights[u, p]
                if weight != 0:
                    line = g * in_size + at_in[u * count + p]
                    read = source[line : line + size]
                    for q in range(size):
                        out[q] += weight * read[q]


@compiled
def diagonal(shape, scale, source, target, at_in, goal):
    """`target[0] = scale sum_p source[p, p]`."""
    planes, in_size, out_size = shape
    for g in range(planes):
        total = 0.0
        for p in range(len(at_in)):
            total += source[g * in_size + at_in[p] + p]
        target[g * out_size + goal] = scale * total
