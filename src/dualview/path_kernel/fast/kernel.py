"""Runs a `FastPlan`: packs the gates of blocks of examples and goes through tiles of pairs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dualview.conversion.finite import preactivation_check
from dualview.conversion.gated_network import GatedNetwork
from dualview.errors import PathKernelError
from dualview.path_kernel.fast.plan import FastPlan, on_gpu

if TYPE_CHECKING:
    import numpy as np

GATING_BATCH = 64
"""Examples whose gates are unpacked at once."""

TILE = 1024
"""Examples on each side of a tile."""


@dataclass(frozen=True)
class Packed:
    """Inputs (n, ...) and packed gates, one array (n, ..., words) per layer, of some examples."""

    x: np.ndarray
    gates: list[np.ndarray]

    def __getitem__(self, rows: slice) -> Packed:
        return Packed(self.x[rows], [gate[rows] for gate in self.gates])

    def __len__(self) -> int:
        return len(self.x)


def fast_kernel(
    net: GatedNetwork, x1: Tensor, x2: Tensor | None, plan: FastPlan, memory: float, out: Tensor
) -> None:
    """Write the kernel, before `plan.log_scale`, to `out` (n1, n2); `net` is in evaluation mode.

    Gates are packed once where the memory bound allows, else once for every block of rows. Without
    `x2` only the upper triangle of tiles is written.
    """
    other = x1 if x2 is None else x2
    size = _block_size(net, x1, plan, memory)
    for rows in slices(len(x1), size):
        left = pack(net, x1[rows], plan, "x1", rows.start)
        for columns in slices(len(other), size):
            if x2 is None and columns.start < rows.start:
                continue
            same = x2 is None and columns == rows
            right = None if same else pack(net, other[columns], plan, "x2", columns.start)
            kernel_of_packed(left, right, plan, out[rows, columns], memory / 2)


def kernel_of_packed(
    left: Packed, right: Packed | None, plan: FastPlan, out: Tensor, memory: float = 256e6
) -> None:
    """Write the kernel of examples whose gates are packed, before `plan.log_scale`, to `out`.

    It is (n1, n2). Without `right`, that of `left` with itself; then only its upper triangle of
    tiles is written. `memory` bounds the planes held where `out` is on a GPU.
    """
    other = left if right is None else right
    for rows in slices(len(left), TILE):
        for columns in slices(len(other), TILE):
            if right is None and columns.start < rows.start:
                continue
            same = right is None and columns == rows
            pair = left[rows], None if same else other[columns]
            tile = _tile(*pair, plan, out.device, memory)
            out[rows, columns] = torch.from_numpy(tile).to(out)


def pack(net: GatedNetwork, x: Tensor, plan: FastPlan, name: str = "x1", first: int = 0) -> Packed:
    """Inputs and packed masks of the examples `x`: the program's, then the dense layers'.

    Raises:
        PathKernelError: pre-activations overflow; the message calls the examples by their name, and
            counts them from `first`.
    """
    import numpy as np

    from dualview.path_kernel.fast.tile import pack_gates

    parts = []
    for start, batch in enumerate(x.split(GATING_BATCH)):
        numbers = range(first + start * GATING_BATCH, first + len(x))
        check = preactivation_check(name, PathKernelError, numbers)
        given, _ = net.gates_and_switches(batch, hard=True, check=check)
        gates = [gate.bool().cpu() for gate in given]
        dense = gates[plan.first_dense : plan.first_dense + len(plan.dense)]
        masks = [mask.pack(gates) for mask in plan.masks]
        parts.append([*masks, *(pack_gates(gate.numpy()) for gate in dense)])
    inputs = torch.ones_like(x) if plan.ones else net.transformed(x)
    if plan.program is None:
        inputs = inputs.flatten(1)
    masks = [np.concatenate(layer) for layer in zip(*parts, strict=True)]
    return Packed(np.ascontiguousarray(inputs.cpu().numpy()), masks)


def _tile(
    left: Packed, right: Packed | None, plan: FastPlan, device: torch.device, memory: float
) -> np.ndarray:
    import numpy as np

    from dualview.path_kernel.fast.tile import dense_tile, offset_tile

    threads, count = torch.get_num_threads(), len(plan.masks)
    x2, masks2 = (None, None) if right is None else (right.x, right.gates)
    if on_gpu(device):
        from dualview.path_kernel.fast.triton_tile import triton_tile

        assert plan.program is not None
        return triton_tile(left.x, left.gates, x2, masks2, plan.program, device, memory)
    if plan.program is None:
        return dense_tile(left.x, left.gates, x2, masks2, plan.dense, threads=threads)
    second = None if masks2 is None else masks2[:count]
    tile = offset_tile(left.x, left.gates[:count], x2, second, plan.program, threads=threads)
    if plan.dense:
        ones = [np.ones((n, 1), np.float32) for n in tile.shape]
        other = left if right is None else right
        tile *= dense_tile(
            ones[0], left.gates[count:], ones[1], other.gates[count:], plan.dense, threads=threads
        )
    return tile.astype(np.float32)


def _block_size(net: GatedNetwork, x: Tensor, plan: FastPlan, memory: float) -> int:
    """Examples on each side whose inputs and packed gates fit into half the memory bound."""
    one = pack(net, x[:1], plan)
    bytes_each = one.x.nbytes + sum(gate.nbytes for gate in one.gates)
    # Packing and the kernel's own copies hold the gates about three times over.
    return max(1, int(memory / (2 * 3 * bytes_each)))


def slices(n: int, size: int) -> Iterator[slice]:
    """0 .. n in pieces of `size`, the last perhaps shorter."""
    return (slice(start, min(start + size, n)) for start in range(0, n, size))
