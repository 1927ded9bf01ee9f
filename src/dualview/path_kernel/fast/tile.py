"""The path kernel of convolutional and fully connected networks on the CPU, hard gates, fast.

For one pair of examples (a, b) with fixed gates (theory, section 4.5, one term):

    K[p, q]   = <x_a[:, p], x_b[:, q]>                              input channels
    K[p, q] <- sum_d K[s p + d, s q + d]                            a convolution
    K[p, q] <- scale * K[p, q] * #{channels on in a at p and in b at q}     its gate
    NPK(a, b) = mean_{p, q} K[p, q]                                 global average pooling

**The offset trick.** p and q move together, so all this stays on one offset r = q - p. Instead of
K with its (H W)^2 entries, work on the plane F_r[p] = K[p, p + r] for one r after the other: a
convolution is a box sum of F_r, three rows added up, then three neighbours in a row; a gate is a
product with popcount(words_a[p] & words_b[p + r]). With zero padding F_r is a rectangle
(H - |r_y|, W - |r_x|), outside of which it is 0. Nothing over pairs of positions is ever held: the
planes of one r, for a block of `ROWS x LANES` pairs, take a few hundred kilobytes and stay in the
L2 cache.

**Layout.** A *tile* is (n1 first examples) x (n2 second examples). First examples are stored
(blocks, positions, words, ROWS), second ones (blocks, positions, words, LANES), so that examples
lie in the SIMD lanes (`simd_block`): each word of LANES second examples is loaded once and combined
with ROWS broadcast words. Gates are packed 64 channels to a word, and read as 32-bit halves, since
a lane holds one float32.

**Soft gates** run through the same loops with products of float32 numbers in place of bits, at a
tenth of the speed. Wherever packed gates are asked for, give float32 (n, *positions, channels).

**Threads.** Compiled functions release the GIL. By default a call uses the caller's thread, so that
a scheduler of tiles (dask) decides; `threads` spreads the blocks of one tile over a thread pool.
There is no `prange`: its thread pool would fight the caller's and PyTorch's.

**Numbers.** float32; sums over a row of positions in float32, over rows and offsets in float64.
Scales that keep every layer near 1 (1 / channels, 1 / kernel positions) rule out overflow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from dualview.errors import PathKernelError
from dualview.path_kernel.fast.offset_kernel import dense_column, run_stage
from dualview.path_kernel.fast.offset_program import (
    DenseLayer,
    OffsetProgram,
    StagePlan,
    check_images,
    check_masks,
    check_vectors,
    plan,
    pooled_blocks,
)
from dualview.path_kernel.fast.simd_block import LANES, PAIRS, ROWS


def pack_gates(gates: np.ndarray) -> np.ndarray:
    """Hard gates as bits, 64 channels to a word.

    Args:
        gates: booleans (n, channels, *positions); true where the gate is on.

    Returns:
        uint64 (n, *positions, ceil(channels / 64)); channel c is bit c % 64 of word c // 64.

    >>> pack_gates(np.array([[True, False, True]])).tolist()
    [[5]]
    """
    gates = np.asarray(gates)
    if gates.dtype != np.bool_ or gates.ndim < 2:
        raise PathKernelError(
            f"gates: expected booleans (n, channels, *positions), got {gates.dtype} {gates.shape}"
        )
    n, channels, *positions = gates.shape
    last = np.ascontiguousarray(np.moveaxis(gates, 1, -1))
    packed = np.zeros((n, *positions, -(-channels // 64) * 8), np.uint8)
    packed[..., : -(-channels // 8)] = np.packbits(last, axis=-1, bitorder="little")
    return packed.view("<u8").astype(np.uint64, copy=False)


def offset_tile(
    x1: np.ndarray,
    masks1: Sequence[np.ndarray],
    x2: np.ndarray | None,
    masks2: Sequence[np.ndarray] | None,
    program: OffsetProgram,
    *,
    threads: int = 1,
) -> np.ndarray:
    """Kernel of any program over planes (residual networks too), for every pair of a tile.

    Args:
        x1: first inputs (n1, channels, height, width).
        masks1: their packed masks (n1, height, width, words), one for each of program.channels.
        x2: second inputs, or None for the first ones; then only half is computed.
        masks2: their masks, or None with x2.
        program: the steps.
        threads: threads to spread the tile over.

    Returns:
        float64 (n1, n2): the program's output, summed over positions and offsets.

    Raises:
        PathKernelError: shapes do not fit, or the program does not decompose over offsets.
    """
    work = plan(program, PAIRS)
    x2, masks2, symmetric = _second_side(x1, masks1, x2, masks2)
    for x, masks in ((x1, masks1), (x2, masks2)):
        check_images(x, x1.shape[1], program)
        check_masks(masks, program.channels, work.masks, len(x))
    first = _Side.of(x1, masks1, program.channels, ROWS)
    second = _Side.of(x2, masks2, program.channels, LANES)
    sums = np.zeros((len(first.x), len(second.x), PAIRS))

    def run(blocks: Sequence[tuple[int, int]]) -> None:
        memory = [_aligned(length) for length in _lengths(work.stages)]
        for a, b in blocks:
            sides = first.x[a], second.x[b], first.gates[a], second.gates[b]
            _run_stages(work.stages, program.circular, first, sides, memory, sums[a, b])

    blocks = [(a, b) for b in range(sums.shape[1]) for a in range(sums.shape[0])]
    if symmetric:  # those that touch the upper triangle
        blocks = [(a, b) for a, b in blocks if a * ROWS < (b + 1) * LANES]
    _spread(run, blocks, threads)
    out = _unblocked(sums)[: len(x1), : len(x2)]
    return np.ascontiguousarray(_mirrored(out) if symmetric else out)


def dense_tile(
    x1: np.ndarray,
    gates1: Sequence[np.ndarray],
    x2: np.ndarray | None,
    gates2: Sequence[np.ndarray] | None,
    layers: Sequence[DenseLayer],
    *,
    threads: int = 1,
) -> np.ndarray:
    """<x, x'> prod_l scale_l <G_l, G_l'> for every pair of a tile.

    Args:
        x1: first inputs (n1, features).
        gates1: their packed gates (n1, words), one array for each of `layers`.
        x2: second inputs (n2, features), or None for the first ones; then only half is computed.
        gates2: their gates, or None with x2.
        layers: width and scale of each gated layer.
        threads: threads to spread the tile over.

    Returns:
        float32 (n1, n2).

    Raises:
        PathKernelError: shapes do not fit.

    >>> gates = pack_gates(np.array([[True, True], [False, True]]))
    >>> dense_tile(np.eye(2, dtype=np.float32) + 1, [gates], None, None, [DenseLayer(2)]).tolist()
    [[10.0, 4.0], [4.0, 5.0]]
    """
    x2, gates2, symmetric = _second_side(x1, gates1, x2, gates2)
    channels = tuple(layer.width for layer in layers)
    for x, gates in ((x1, gates1), (x2, gates2)):
        check_vectors(x, x1.shape[1])
        check_masks(gates, channels, [()] * len(layers), len(x))
    first = _Side.of(x1, gates1, channels, ROWS)
    second = _Side.of(x2, gates2, channels, LANES)
    scales = np.array([layer.scale for layer in layers], np.float32)
    out = np.zeros((len(first.x) * ROWS, len(second.x) * LANES), np.float32)

    def run(columns: Sequence[int]) -> None:
        for b in columns:
            blocks = min(len(first.x), (b + 1) * LANES // ROWS) if symmetric else len(first.x)
            dense_column(
                first.x.reshape(-1),
                second.x[b],
                first.gates.reshape(-1),
                second.gates[b],
                blocks,
                first.words,
                scales,
                out,
                b,
            )

    _spread(run, range(len(second.x)), threads)
    out = out[: len(x1), : len(x2)]
    return np.ascontiguousarray(_mirrored(out) if symmetric else out)


# Blocks of examples


def _second_side(
    x1: np.ndarray,
    gates1: Sequence[np.ndarray],
    x2: np.ndarray | None,
    gates2: Sequence[np.ndarray] | None,
) -> tuple[np.ndarray, Sequence[np.ndarray], bool]:
    """The second inputs and gates, and whether they are the first ones."""
    if x2 is None and gates2 is None:
        return x1, gates1, True
    if x2 is None or gates2 is None:
        raise PathKernelError("x2 and gates2: expected both, or None for both, got one of them")
    return x2, gates2, False


@dataclass(frozen=True)
class _Side:
    """One side's examples in blocks of `size`, the example last.

    x: float32 (blocks, positions * channels * size).
    gates: uint32 or float32 (blocks, sum over masks of positions * words * size).
    words: int64 (masks,), 32-bit words at each position (for soft gates: channels).
    starts: int64 (masks,), where each mask starts, before the factor `size`.
    """

    x: np.ndarray
    gates: np.ndarray
    words: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(
        cls, x: np.ndarray, masks: Sequence[np.ndarray], channels: Sequence[int], size: int
    ) -> _Side:
        """Rearrange inputs (n, channels, *positions) and masks (n, *positions, words)."""
        flat, words = [], []
        for mask, count in zip(masks, channels, strict=True):
            soft = mask.dtype == np.float32
            numbers = mask if soft else np.ascontiguousarray(mask).view(np.uint32)
            words.append(count if soft else -(-count // 32))
            flat.append(numbers[..., : words[-1]].reshape(len(x), -1))
        starts = np.cumsum([0, *(mask.shape[1] for mask in flat)])[:-1].astype(np.int64)
        gates = np.concatenate(flat, axis=1) if flat else np.zeros((len(x), 0), np.uint32)
        values = np.moveaxis(x, 1, -1).reshape(len(x), -1).astype(np.float32, copy=False)
        counts = np.array(words, np.int64)
        return cls(_in_blocks(values, size), _in_blocks(gates, size), counts, starts)


def _in_blocks(array: np.ndarray, size: int) -> np.ndarray:
    """(n, items) -> (blocks, items * size), with examples of zeros at the end of the last block."""
    n, items = array.shape
    blocks = -(-n // size)
    out = _aligned(blocks * items * size, array.dtype).reshape(blocks, items, size)
    whole = n // size
    out[:whole] = array[: whole * size].reshape(whole, size, items).transpose(0, 2, 1)
    out[whole:, :, : n - whole * size] = array[whole * size :].T
    return out.reshape(blocks, items * size)


def _aligned(length: int, dtype: Any = np.float32) -> np.ndarray:
    """Zeros that start on a cache line: a vector that straddles two costs twice."""
    size = length * np.dtype(dtype).itemsize
    memory = np.zeros(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size].view(dtype)


def _unblocked(blocks: np.ndarray) -> np.ndarray:
    """(blocks1, blocks2, ROWS * LANES) -> (examples1, examples2)."""
    b1, b2, _ = blocks.shape
    tile = blocks.reshape(b1, b2, ROWS, LANES).transpose(0, 2, 1, 3)
    return tile.reshape(b1 * ROWS, b2 * LANES)


def _mirrored(tile: np.ndarray, size: int = 256) -> np.ndarray:
    """The tile with its upper triangle mirrored below, in place, square by square."""
    squares = [slice(start, start + size) for start in range(0, len(tile), size)]
    for at, down in enumerate(squares):
        for right in squares[:at]:
            tile[down, right] = tile[right, down].T
        square = tile[down, down]
        np.copyto(square, square.T.copy(), where=np.tri(len(square), k=-1, dtype=bool))
    return tile


def _spread(run: Callable[[Sequence[Any]], None], jobs: Sequence[Any], threads: int) -> None:
    """Run all jobs on so many threads, each of which takes an equal share."""
    shares = [jobs[k::threads] for k in range(min(threads, len(jobs)))]
    if len(shares) <= 1:
        run(jobs)
        return
    with ThreadPoolExecutor(len(shares)) as pool:
        list(pool.map(run, shares))


# Stages, offset by offset


def _lengths(stages: Sequence[StagePlan]) -> list[int]:
    """Lengths of the memory of a block: scratch planes, then the pooled planes between stages."""
    pooled = [pooled_blocks(stage.planes) * PAIRS for stage in stages[1:]]
    return [max(stage.blocks for stage in stages) * PAIRS, *pooled]


def _run_stages(
    stages: Sequence[StagePlan],
    circular: bool,
    layout: _Side,
    sides: tuple[np.ndarray, ...],
    memory: list[np.ndarray],
    sums: np.ndarray,
) -> None:
    """All stages for one block of pairs; adds to `sums` (PAIRS,)."""
    nothing = memory[0][:0]
    scratch, between = memory[0], [nothing, *memory[1:], nothing]
    for number, stage in enumerate(stages):
        pooled_in, pooled_out = between[number : number + 2]
        pooled_out[:] = 0
        scratch[: stage.zeros * PAIRS] = 0
        settings = (*stage.reach, *stage.pool, int(circular), int(number == 0))
        run_stage(
            settings,
            stage.steps,
            stage.planes,
            layout.words,
            layout.starts,
            *sides,
            pooled_in,
            pooled_out,
            scratch,
            sums,
        )
