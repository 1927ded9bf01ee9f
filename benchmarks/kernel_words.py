"""Words of 64 channels that a path kernel counts, and how many the machine counts in a second."""

from __future__ import annotations

import math
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import torch
from image_networks import SIZE

import dualview as dv
from dualview.path_kernel.fast.row_program import Overlap
from dualview.path_kernel.fast.rows import row_plan
from dualview.path_kernel.fast.simd_block import (
    LANES,
    PAIRS,
    ROWS,
    channels_on,
    compiled,
    fill,
    store,
)
from dualview.path_kernel.setting import Setting

WORDS = 64
"""Of 32 channels, for each example of a block: they stay in the fastest cache."""

SECONDS = 0.5
"""For one measurement of the machine, which is repeated."""


def words_of_gates(net: dv.GatedNetwork) -> float:
    """Positions squared times words of 64 channels, summed over the gated layers."""
    with torch.no_grad():
        gates = net.gates(torch.zeros(1, 3, SIZE, SIZE))
    return float(sum(math.prod(g.shape[2:]) ** 2 * math.ceil(g.shape[1] / 64) for g in gates))


def words_counted(net: dv.GatedNetwork) -> float:
    """The words that the row kernel counts for a pair, hard gates: of windows all that meet."""
    program = row_plan(net, torch.zeros(1, 3, SIZE, SIZE), Setting(), hard=True).program
    total = 0.0
    for operation in program.operations:
        positions = math.prod(program.planes[operation.target].size) ** 2
        for part in operation.parts if isinstance(operation, Overlap) else ():
            mask = None if part.mask is None else program.masks[part.mask]
            if mask is not None and mask.factor.hard:
                each = math.ceil(mask.channels / mask.groups / 32) / 2
                total += positions * part.pairs * mask.groups * each
    return total


@compiled
def _count(left: Any, right: Any, times: int, out: Any) -> None:
    total = fill(np.float32(0))
    for k in range(times):
        at = k % 2
        total = total + channels_on(left, at * ROWS, ROWS, right, at * LANES, WORDS)
    store(out, 0, total)


def limit(threads: int | None = None) -> float:
    """Words of 64 channels a second: AND and popcount of what is in cache, on so many threads."""
    count = threads or torch.get_num_threads()
    rng = np.random.default_rng(0)
    left, right = (
        rng.integers(0, 2**32, (WORDS + 1) * side, dtype=np.uint32) for side in (ROWS, LANES)
    )
    times, best = 1000, 0.0
    _count(left, right, 1, np.zeros(PAIRS, np.float32))  # compiles
    with ThreadPoolExecutor(count) as pool:
        while True:
            start = time.perf_counter()
            outs = [np.zeros(PAIRS, np.float32) for _ in range(count)]
            list(pool.map(partial(_count, left, right, times), outs))
            seconds = time.perf_counter() - start
            best = max(best, count * times * PAIRS * WORDS / 2 / seconds)
            if seconds > SECONDS:
                return best
            times *= 2
