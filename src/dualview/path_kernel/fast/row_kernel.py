"""The compiled loops over rows of planes; `row_program` says what they compute.

A plane is one flat array of float32: for every pair of the batch and every sub-plane (its copies
times its groups) `lines` lines of `pitch` numbers, one for each position held of the first example.
Its entries are those of the second example's positions, with zeros behind. The last line but one
holds zeros only, the last one takes what nobody reads. `at` arrays name the starts of lines within
a sub-plane, for each position of the rows in work, with as many spare ones behind as a block has
rows. Masks are those of `packing.packed`, flat. A thread makes what is between `start` and `stop`.

numba infers all types, so the functions here carry no annotations.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

import numpy as np

from dualview.path_kernel.fast.simd_block import (
    LANES,
    ROWS,
    channels_on,
    compiled,
    counted,
    fill,
    gathered,
    inlined,
    lanes,
    overlap_of,
    rows,
    scatter,
    thinned,
    to_float,
)


@compiled
def overlap_rows(shape, scales, groups, pairs, masks, planes, lines, copied, taken, ties):
    """One summand of an `Overlap`: kernel times overlap of two masks, into the target's rows.

    The second example's positions `start` to `stop` are gone through in pieces, whose masks and
    lines stay in the cache while all positions of the first one pass.

    Arguments, in order:
        shape: (start, stop, length of a piece, copies, whether to add, windows, words of the mask,
            whether the source is a constant, size of the source's sub-planes, their groups, the
            same of the target, numbers of a mask's window and group, first position in work,
            whether windows have weights).
        scales: scale, slope of the NTK, constants (NPK, NTK), bias (NPK, NTK).
        groups: (mask's groups, 3): group of the source, group of the target, whether it is the
            first one for its target.
        pairs: the first and the second examples.
        masks: of the first and of the second examples.
        planes: source, target.
        lines: those of the source, or of the copies, windows after windows; those of the target;
            weights of the first example's windows, (windows, positions).
        copied: lines of the source that are copied for windows, how many numbers each makes, and
            the stride of its runs; no lines: none is, and windows read the source itself.
        taken: what windows take: where each of the second example's windows reads a line; for each
            of its taps and positions what is read of a line, and its weight; or runs of lines, and
            the first run of each piece.
        ties: from where to where those windows are that each window meets; each line is copied for.
    """
    start, stop, piece, copies, add, windows, words, constant = shape[:8]
    in_size, in_groups, out_size, out_groups, mask_size, offset, weighted = shape[8:15]
    parts, live, shifts = len(groups), np.zeros(windows, np.int64), taken[0]
    one = len(copied[0]) * copied[1]
    scratch = np.zeros(copies * one + LANES, np.float32)
    fixed = (copies, words, constant, parts * mask_size, offset, weighted)
    places = (lines[0], lines[1], lines[2], shifts, ties[0])
    for b in range(len(pairs[0])):
        for number in range(start // piece, (stop - 1) // piece + 1):
            low, high = max(number * piece, start), min((number + 1) * piece, stop)
            held = -1
            for g in range(parts):
                origin = (b * copies * in_groups + groups[g, 0]) * in_size
                goal = (b * copies * out_groups + groups[g, 1]) * out_size
                mask_a = (pairs[0][b] * windows * parts + g) * mask_size
                mask_b = (pairs[1][b] * windows * parts + g) * mask_size
                joins = 1 if add or groups[g, 2] == 0 else 0
                there = (joins, mask_a, mask_b, goal, out_groups * out_size)
                if one == 0:
                    here = (low, high, origin, in_groups * in_size)
                    _overlap_piece(fixed, here, there, scales, masks, planes, places, live)
                    continue
                if held != groups[g, 0]:
                    held = groups[g, 0]
                    for copy in range(copies):
                        begin = origin + copy * in_groups * in_size
                        part = scratch[copy * one :]
                        if len(taken[3]):
                            _take_runs(planes[0], begin, copied, taken, number, part)
                        else:
                            _take(planes[0], begin, copied, taken, ties, number, piece, part)
                here = (low, high, -number * piece, one)
                seen = (scratch, planes[1])
                _overlap_piece(fixed, here, there, scales, masks, seen, places, live)


@compiled
def _take(source, origin, copied, taken, ties, number, piece, scratch):
    """A piece of each line, for every tap that it is copied for: [line, tap, position]."""
    lines, wanted = copied[0], ties[1]
    tables, weights = taken[1], taken[2]
    low = number * piece
    count = min(piece, tables.shape[1] - low)
    for n in range(len(lines)):
        read, at = source[origin + lines[n] :], n * copied[1]
        for v in range(wanted[n, 0], wanted[n, 1]):
            out = scratch[at : at + count]
            table, weight = tables[v, low : low + count], weights[v, low : low + count]
            for q in range(count):
                out[q] = weight[q] * read[table[q]]
            at += piece


@compiled
def _take_runs(source, origin, copied, taken, number, scratch):
    """A piece of each line, run after run.

    Runs are short: slices of arrays, and checks whether whole numbers count from the end, as those
    with a sign do, would take longer than the runs.
    """
    lines, size, stride = copied
    runs, first = taken[3], taken[4]
    for n in range(len(lines)):
        for r in range(first[number], first[number + 1]):
            at, begin = n * size + runs[r, 0], origin + lines[n] + runs[r, 1]
            done, count = 0, runs[r, 2]
            if stride == 2:
                while done + LANES <= count:
                    thinned(source, begin + 2 * done, scratch, at + done)
                    done += LANES
            step, to, read = np.uintp(stride), np.uintp(at), np.uintp(begin)
            for k in range(np.uintp(done), np.uintp(count)):
                scratch[to + k] = source[read + step * k]


@compiled
def _overlap_piece(fixed, here, there, scales, masks, planes, lines, live):
    """Positions `low` to `high` of the second example, against all in work of the first one."""
    copies, words, constant, step, offset, weighted = fixed
    low, high, origin, in_copy = here
    joins, mask_a, mask_b, goal, out_copy = there
    left, right = masks
    source, target = planes
    at_in, at_out, weights, shifts, span = lines
    count, in_copy = len(at_out), in_copy if copies == 2 else 0
    scale, slope = fill(scales[0]), fill(scales[1])
    constant0, constant1 = fill(scales[2]), fill(scales[3])
    bias0, bias1 = fill(scales[4]), fill(scales[5])
    for p in range(0, count, ROWS):
        inside = (offset + p) // LANES * words * LANES + (offset + p) % LANES
        alive = _live_windows(left, mask_a + inside, step, words, live)
        for q in range(low, high, LANES):
            value, extra = fill(np.float32(0)), fill(np.float32(0))
            for n in range(alive):
                u = live[n]
                i, j, at = mask_a + u * step + inside, mask_b + q * words, u * count + p
                k = origin + q
                if words == 0 and constant:
                    part, more = fill(np.float32(1)), fill(np.float32(0))
                elif words == 0:
                    part = gathered(source, at_in, at, k)
                    more = gathered(source, at_in, at, k + in_copy)
                elif constant:
                    part, more = fill(np.float32(0)), fill(np.float32(0))
                    for v in range(span[u, 0], span[u, 1]):
                        there = j + v * step
                        part = part + channels_on(left, i, LANES, right, there, words)
                else:
                    meets = (span[u, 0], span[u, 1], step, shifts)
                    part, more = _seen(
                        left, i, right, j, words, meets, source, at_in, at, k, in_copy
                    )
                if weighted:
                    weight = rows(weights, at)
                    part, more = part * weight, more * weight
                value, extra = value + part, extra + more
            if constant:
                extra = value * constant1
                value = value * constant0
            value = value * scale
            if copies == 2:
                extra = extra * scale + slope * value
                if joins:
                    extra = extra + gathered(target, at_out, p, goal + out_copy + q)
                else:
                    extra = extra + bias1
                scatter(target, at_out, p, goal + out_copy + q, extra)
            value = value + gathered(target, at_out, p, goal + q) if joins else value + bias0
            scatter(target, at_out, p, goal + q, value)


@inlined
def _seen(left, i, right, j, words, meets, source, at_in, at, k, in_copy):
    """Overlaps times kernels, summed over the second example's windows met; of both copies.

    One and two words are written out: their words of the first example stay in registers.
    """
    first, last, step, shifts = meets
    zero = fill(np.float32(0))
    part, more = zero, zero
    if words == 1:
        a = rows(left, i)
        for v in range(first, last):
            overlap = to_float(counted(overlap_of(a, lanes(right, j + v * step))))
            part = part + overlap * gathered(source, at_in, at, k + shifts[v])
            if in_copy:
                more = more + overlap * gathered(source, at_in, at, k + shifts[v] + in_copy)
    elif words == 2:
        a, b = rows(left, i), rows(left, i + LANES)
        for v in range(first, last):
            there = j + v * step
            one = overlap_of(a, lanes(right, there))
            other = overlap_of(b, lanes(right, there + LANES))
            overlap = to_float(counted(one + other))
            part = part + overlap * gathered(source, at_in, at, k + shifts[v])
            if in_copy:
                more = more + overlap * gathered(source, at_in, at, k + shifts[v] + in_copy)
    else:
        for v in range(first, last):
            overlap = channels_on(left, i, LANES, right, j + v * step, words)
            part = part + overlap * gathered(source, at_in, at, k + shifts[v])
            if in_copy:
                more = more + overlap * gathered(source, at_in, at, k + shifts[v] + in_copy)
    return part, more


@inlined
def _live_windows(mask, at, step, words, live):
    """Those windows in which some channel of some row of the block is on; returns how many."""
    if len(live) == 1:
        live[0] = 0
        return 1
    alive = 0
    for u in range(len(live)):
        found = words == 0
        for k in range(words):
            for r in range(ROWS):
                if mask[at + u * step + k * LANES + r] != 0:
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
def mapped_columns(shape, tables, weights, source, target, lines_in, lines_out):
    """`target[line, q] = sum_v weights[v, q] source[line, tables[v, q]]`.

    `shape`: (start, stop, source's pitch, sub-planes, size of a source's sub-plane, of a target's).
    """
    start, stop, pitch, planes, in_size, out_size = shape
    size = tables.shape[1]
    for g in range(planes):
        for n in range(start, stop):
            read = source[g * in_size + lines_in[n] : g * in_size + lines_in[n] + pitch]
            to = g * out_size + lines_out[n]
            out = target[to : to + size]
            for v in range(len(tables)):
                table, weight = tables[v], weights[v]
                if v == 0:
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
