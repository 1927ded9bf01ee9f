"""Kernels by the row kernel: reads a network, packs masks of blocks of examples, runs the pairs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dualview.conversion.finite import preactivation_check
from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.pooling import switched_pools
from dualview.errors import PathKernelError
from dualview.path_kernel.fast.kernel import slices
from dualview.path_kernel.fast.packing import packed
from dualview.path_kernel.fast.row_layers import BOOST
from dualview.path_kernel.fast.row_plan import RowPlan
from dualview.path_kernel.fast.row_program import RowProgram, factor_bytes, mask_numbers
from dualview.path_kernel.fast.row_reader import read_rows
from dualview.path_kernel.fast.row_run import Arrangement, Packed, arrangement, run
from dualview.path_kernel.fast.simd_block import LANES
from dualview.path_kernel.scale import DOUBTFUL
from dualview.path_kernel.setting import Setting

GATING_BATCH = 16
"""Examples whose gates are unpacked at once."""

MOST_EXAMPLES = 256
"""Examples on each side of a tile."""


BOOSTS = (BOOST, 4 * BOOST, 16 * BOOST)
"""Kernels so small that float32 may have lost them are computed again, enlarged at every layer."""


@dataclass(frozen=True)
class Tile:
    """Some examples with some others: the kernel times exp(-log_scale), in float64."""

    rows: slice
    columns: slice
    kernel: Tensor


def row_tiles(
    net: GatedNetwork,
    x1: Tensor,
    x2: Tensor | None,
    setting: Setting,
    plan: RowPlan,
    hard: bool,
    memory: float,
) -> Iterator[Tile]:
    """The kernel of x1 with x2, tile by tile; without x2 its upper triangle of tiles.

    Raises:
        PathKernelError: not even a pair fits into `memory`, or pre-activations overflow.
    """
    run = _Run(net, setting, plan, hard, memory)
    other = x1 if x2 is None else x2
    size = run.examples_at_once()
    for rows in slices(len(x1), size):
        left = run.pack(x1[rows], "x1", rows.start)
        for columns in slices(len(other), size):
            if x2 is None and columns.start < rows.start:
                continue
            same = x2 is None and columns == rows
            right = left
            if not same:
                name = "x1" if x2 is None else "x2"
                right = run.pack(other[columns], name, columns.start)
            yield Tile(rows, columns, run.tile(left, right, x1[rows], other[columns], same))


class _Run:
    """What stays the same from tile to tile."""

    def __init__(
        self, net: GatedNetwork, setting: Setting, plan: RowPlan, hard: bool, memory: float
    ) -> None:
        self.net, self.setting, self.plan, self.hard = net, setting, plan, hard
        self.memory = memory
        self.threads = torch.get_num_threads()
        self.order = arrangement(plan.program, memory / 2)
        self.mask_bytes = mask_numbers(plan.program, LANES) * 4
        if self.order.bytes_each > memory / 2:
            raise PathKernelError(
                f"memory: expected at least {2 * self.order.bytes_each:,} bytes for a pair of "
                f"these examples, which takes about {plan.seconds:.1g} s; got {memory:,.0f}. "
                f"Repair: memory={2 * self.order.bytes_each:.1e}, or smaller images"
            )

    def pack(self, x: Tensor, name: str, first: int) -> Packed:
        """Masks of some examples, of so many at once as the bound on memory allows."""
        fit = int(self.memory / 8 / max(factor_bytes(self.plan.program), 1))
        at_once = max(1, min(fit, GATING_BATCH))
        return pack_rows(self.net, x, self.plan.program, self.hard, name, first, at_once)

    def examples_at_once(self) -> int:
        """Examples on each side whose masks fit into half the memory bound."""
        # Packing holds the masks about twice over, on both sides.
        most = int(self.memory / 2 / (2 * 2 * max(self.mask_bytes, 1)))
        return max(1, min(most, MOST_EXAMPLES))

    def tile(self, left: Packed, right: Packed, x1: Tensor, x2: Tensor, same: bool) -> Tensor:
        """The kernel of a tile; of `same` examples both triangles are filled."""
        n1, n2 = len(x1), len(x2)
        pairs = [(i, j) for i in range(n1) for j in range(i if same else 0, n2)]
        values = self._values(self.plan.program, self.order, left, right, pairs)
        values = self._enlarged(values, pairs, x1, x2)
        tile = np.zeros((n1, n2))
        at = np.array(pairs)
        tile[at[:, 0], at[:, 1]] = values
        if same:
            tile[at[:, 1], at[:, 0]] = values
        return torch.from_numpy(tile)

    def _values(
        self, program: RowProgram, order: Arrangement, left: Packed, right: Packed, pairs: Any
    ) -> np.ndarray:
        threads = self.threads
        if (
            threads > 1
            and order.batch < len(pairs)
            and order.bytes_each * threads > self.memory / 2
        ):
            threads = max(1, int(self.memory / 2 / order.bytes_each))
        return run(program, order, left, right, pairs, threads).astype(np.float64)

    def _enlarged(self, values: np.ndarray, pairs: Any, x1: Tensor, x2: Tensor) -> np.ndarray:
        """The values, with those that float32 may have lost on the way computed again."""
        for boost in BOOSTS[1:]:
            doubtful = np.flatnonzero(~(np.abs(values) > DOUBTFUL))
            if not len(doubtful):
                break
            plan = row_plan(self.net, x1, self.setting, self.hard, boost)
            order = arrangement(plan.program, self.memory / 2)
            few = [pairs[k] for k in doubtful]
            sides = [sorted({pair[axis] for pair in few}) for axis in (0, 1)]
            packs = [
                pack_rows(self.net, x[side], plan.program, self.hard)
                for x, side in zip((x1, x2), sides, strict=True)
            ]
            numbers = [(sides[0].index(i), sides[1].index(j)) for i, j in few]
            again = self._values(plan.program, order, packs[0], packs[1], numbers)
            again = again * math.exp(plan.log_scale - self.plan.log_scale)
            kept = np.isfinite(again) & (again != 0)
            values[doubtful[kept]] = again[kept]
        return values


def row_plan(
    net: GatedNetwork, x: Tensor, setting: Setting, hard: bool, boost: float = BOOST
) -> RowPlan:
    """The plan for examples like `x`.

    Raises:
        NotApplicableError: the torch rules must run; says why.
    """
    graph, pools = net.weights_network.graph, switched_pools(net.gating_network.graph)
    shape = tuple(net.transformed(x[:1]).shape[1:])
    return read_rows(graph, shape, setting, pools, hard, boost)


def pack_rows(
    net: GatedNetwork,
    x: Tensor,
    program: RowProgram,
    hard: bool,
    name: str = "x1",
    first: int = 0,
    at_once: int = GATING_BATCH,
) -> Packed:
    """Masks of the examples `x`, as the compiled loops read them.

    Raises:
        PathKernelError: pre-activations overflow; the message calls the examples by their name, and
            counts them from `first`.
    """
    made: list[list[np.ndarray]] = [[] for _ in program.masks]
    for start, batch in enumerate(x.split(at_once)):
        numbers = range(first + start * at_once, first + len(x))
        check = preactivation_check(name, PathKernelError, numbers)
        gates, switches = net.gates_and_switches(batch, hard=hard, check=check)
        if hard:
            gates = tuple(gate.bool() for gate in gates)  # once, for all masks that read them
        inputs = [net.transformed(batch), *gates, *switches]
        for mask, parts in zip(program.masks, made, strict=True):
            parts.append(packed(mask.factor, inputs, mask.groups))
    return _joined(made)


def _joined(made: Sequence[list[np.ndarray]]) -> Packed:
    masks = []
    words, windows = [], []
    for parts in made:
        windows.append(parts[0].shape[1])
        words.append(parts[0].shape[4])
        spare = np.zeros(LANES, parts[0].dtype)  # the last block of rows may read behind
        masks.append(np.concatenate([*(part.reshape(-1) for part in parts), spare]))
    return Packed(masks, words, windows)
