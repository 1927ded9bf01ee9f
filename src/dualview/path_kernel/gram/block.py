"""One block of a Gram matrix: what it needs, how it is computed, and how large it should be.

Examples are on axis 0; rows of a block are examples of `x`, columns those of `x2` (or of `x`).
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dualview.cluster import travels_back
from dualview.conversion.gated_network import GatedNetwork
from dualview.errors import DualviewError, PathKernelError
from dualview.path_kernel.fast.plan import FastPlan
from dualview.path_kernel.fast.reader import Slow, read_network
from dualview.path_kernel.fast.row_plan import RowPlan
from dualview.path_kernel.gram.store import Block, GramStore
from dualview.path_kernel.kernel import SLOW_SECONDS, npk, pairs_of_positions, warn_of_slowness
from dualview.path_kernel.setting import Setting

BLOCK_MEMORY = 512e6
"""Bytes that the tiles of one block may hold. Fixed, as the order of sums depends on it."""

BLOCK_SECONDS = 10.0
"""How long a block should take, roughly: no more than that is lost to an interruption."""

FAST_SECONDS = 3e-10
"""By the fast tile, for a gated layer and a pair of positions, on one core.

It decides nothing but sizes, and differs by up to five times from network to network.
"""

SMALLEST, LARGEST = 16, 1024
"""Bounds on a block's side: enough work to fill the lanes, and a chunk of a few megabytes."""

TRIAL_SECONDS, TRIAL_SIDE = 0.3, 256
"""What measuring the time of a pair may take, roughly, and examples a side at most."""


@dataclass(frozen=True)
class Job:
    """What every block needs; it travels to a cluster's workers once."""

    net: GatedNetwork
    x: Tensor
    x2: Tensor | None
    options: dict[str, Any]

    @property
    def columns(self) -> Tensor:
        """The examples of the columns."""
        return self.x if self.x2 is None else self.x2

    @property
    def shape(self) -> tuple[int, int]:
        """That of the Gram matrix."""
        return len(self.x), len(self.columns)

    def kernel(self, rows: slice, columns: slice) -> Tensor:
        """The kernel of some examples with others."""
        same = self.x2 is None and rows == columns
        # Copies start where vectors of registers do: sums must not depend on where `x` happens to.
        left = self.x[rows].clone()
        right = None if same else self.columns[columns].clone()
        return npk(self.net, left, right, memory=BLOCK_MEMORY, **self.options)

    def described(self, rows: slice, columns: slice) -> str:
        """Some examples with others, as a message says it."""
        second = "x" if self.x2 is None else "x2"
        return (
            f"examples {rows.start} to {rows.stop - 1} of x (x1) with examples {columns.start} to "
            f"{columns.stop - 1} of {second} (x2)"
        )

    def plan(self) -> FastPlan | RowPlan | Slow:
        """How its pairs are computed."""
        law = (self.options[name] for name in ("biases", "bias_variance", "batch_norm"))
        return read_network(self.net, self.x, Setting.of(*law), self.options["gates"])

    def try_one_pair(self) -> None:
        """Find out what the kernel refuses or takes long for before anything is written."""
        self.kernel(slice(0, 1), slice(0, 1))
        plan, pairs = self.plan(), math.prod(self.shape)
        if isinstance(plan, Slow):
            with torch.no_grad():
                warn_of_slowness(self.net, self.x, pairs // (2 if self.x2 is None else 1), plan)


def frozen(net: GatedNetwork, like: Tensor) -> GatedNetwork:
    """A copy of the type and on the device of `like`, in evaluation mode, that can travel.

    A copy, since threads that share a network must not switch its mode.
    """
    return copy.deepcopy(net).to(like).eval().requires_grad_(False)


def finish_block(block: Block, job: Job, store: GramStore) -> None:
    """Compute one block on one thread, and store it; runs on the workers."""
    pairs = store.slices(block)
    with one_thread():
        try:
            values = job.kernel(*pairs).cpu().numpy()
        except PathKernelError as error:
            raise PathKernelError(f"{job.described(*pairs)}: {error}") from error
    store.write(block, values)


def try_block(block: Block, job: Job, store: GramStore) -> Exception | None:
    """`finish_block` on a cluster; an error is returned, made anew."""
    try:
        finish_block(block, job, store)
    except (DualviewError, OSError) as error:
        return travels_back(error)
    return None


@contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch on one thread: the workers fill the cores, and sums have one order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def default_block(job: Job) -> int:
    """Examples on each side of a block that takes seconds: a power of two.

    By shapes alone, not by the clock: an interrupted call and a whole one must choose alike.
    """
    by_time = math.isqrt(int(BLOCK_SECONDS / rough_seconds(job)))
    by_number = max(max(job.shape) // 4, SMALLEST)  # some blocks for every worker
    side = max(1, min(by_time, by_number, LARGEST))
    return 1 << (side.bit_length() - 1)


def rough_seconds(job: Job) -> float:
    """What one pair takes on one core, from the positions of the gated layers.

    A layer of p positions holds p^2 pairs of them, whatever its channels; a network whose
    activations only multiply the signal is taken for one position.
    """
    plan = job.plan()
    if isinstance(plan, RowPlan):
        return plan.seconds
    with torch.no_grad():
        pairs = max(1, pairs_of_positions(job.net, job.x))
    return pairs * (FAST_SECONDS if isinstance(plan, FastPlan) else SLOW_SECONDS)


def measured_seconds(job: Job) -> float:
    """What one pair takes on one core, measured on as many as are done in a moment."""
    side = max(1, min(math.isqrt(int(TRIAL_SECONDS / rough_seconds(job))), TRIAL_SIDE))
    rows, columns = job.x[:side], job.columns[:side]
    with one_thread():
        start = time.perf_counter()
        npk(job.net, rows, columns, memory=BLOCK_MEMORY, **job.options)
        return (time.perf_counter() - start) / (len(rows) * len(columns))
