"""Kernels by the row kernel: reads a network, packs masks of blocks of examples, runs the pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from dualview.conversion.finite import preactivation_check
from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.pooling import MaxPool, max_pool_switch
from dualview.errors import PathKernelError
from dualview.path_kernel.fast.factors import packed
from dualview.path_kernel.fast.row_program import Overlap, RowProgram
from dualview.path_kernel.fast.row_reader import RowPlan, read_rows
from dualview.path_kernel.fast.row_run import Packed
from dualview.path_kernel.fast.simd_block import LANES
from dualview.path_kernel.setting import Setting

GATING_BATCH = 16
"""Examples whose gates are unpacked at once."""


def row_plan(net: GatedNetwork, x: Tensor, setting: Setting, hard: bool) -> RowPlan:
    """The plan for examples like `x`.

    Raises:
        NotApplicableError: the torch rules must run; says why.
    """
    graph = net.weights_network.graph
    shape = tuple(net.transformed(x[:1]).shape[1:])
    return read_rows(graph, shape, setting, max_pools(net), hard)


def max_pools(net: GatedNetwork) -> dict[str, MaxPool]:
    """The max pool of each switch, by the name of its placeholder in the weights network."""
    (output,) = net.gating_network.graph.find_nodes(op="output")
    given = [n for n in net.weights_network.graph.nodes if n.op == "placeholder"][1:]
    pools = {}
    made: Any = output.args[0]
    for node, place in zip(made, given, strict=False):
        if isinstance(node, fx.Node) and node.target is max_pool_switch:
            dims, adaptive = node.args[1:3]
            pools[place.name] = MaxPool(dims, adaptive, dict(node.kwargs))  # type: ignore[arg-type]
    return pools


def pack_rows(
    net: GatedNetwork, x: Tensor, program: RowProgram, hard: bool, name: str = "x1", first: int = 0
) -> Packed:
    """Masks of the examples `x`, as the compiled loops read them.

    Raises:
        PathKernelError: pre-activations overflow; the message calls the examples by their name, and
            counts them from `first`.
    """
    used = {
        part.mask
        for operation in program.operations
        if isinstance(operation, Overlap)
        for part in operation.parts
    }
    made: list[list[np.ndarray] | None] = [
        [] if number in used else None for number in range(len(program.masks))
    ]
    for start, batch in enumerate(x.split(GATING_BATCH)):
        numbers = range(first + start * GATING_BATCH, first + len(x))
        check = preactivation_check(name, PathKernelError, numbers)
        gates, switches = net.gates_and_switches(batch, hard=hard, check=check)
        inputs = [net.transformed(batch), *gates, *switches]
        for mask, parts in zip(program.masks, made, strict=True):
            if parts is not None:
                parts.append(packed(mask.factor, inputs, mask.groups, LANES))
    return _joined(made)


def _joined(made: Sequence[list[np.ndarray] | None]) -> Packed:
    masks: list[np.ndarray | None] = []
    words, windows = [], []
    for parts in made:
        if parts is None:
            masks.append(None)
            words.append(0)
            windows.append(0)
            continue
        windows.append(parts[0].shape[1])
        words.append(parts[0].shape[4])
        spare = np.zeros(LANES, parts[0].dtype)  # the last block of rows may read behind
        masks.append(np.concatenate([*(part.reshape(-1) for part in parts), spare]))
    return Packed(masks, words, windows)


