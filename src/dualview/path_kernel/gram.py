"""Gram matrices of the path kernel, block by block, on all cores or a cluster, into a zarr store.

dask schedules the blocks and zarr keeps them. A block sees nothing but its own rows and columns of
the data, on one thread, so its values do not depend on which worker computes it, or when. Examples
are on axis 0; rows of the Gram matrix are examples of `x`, columns those of `x2` (or of `x`).
"""

from __future__ import annotations

import copy
import importlib.util
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from dualview.errors import DualviewError, DualviewWarning, MissingExtraError, PathKernelError
from dualview.gated_network import GatedNetwork
from dualview.path_kernel.gram_store import Block, GramStore, cannot_write, identity
from dualview.path_kernel.kernel import Gates, check_examples, npk

if TYPE_CHECKING:
    import zarr

log = logging.getLogger("dualview.path_kernel")

BLOCK_MEMORY = 256e6
"""Bytes that the tiles of one block may hold. Fixed, as the order of sums depends on it."""

ATTEMPTS = 3
"""How often in a row a cluster may lose the data and be given it again."""


def npk_gram(
    net: GatedNetwork,
    x: Tensor,
    out: str | os.PathLike[str] = "gram.zarr",
    *,
    x2: Tensor | None = None,
    block: int = 256,
    scheduler: str = "threads",
    workers: int | None = None,
    normalise: bool = True,
    gates: Gates = "model",
    batch_norm: Literal["identity", "scale"] = "identity",
    biases: bool = False,
    progress: bool = True,
    overwrite: bool = False,
) -> zarr.Array:
    """Gram matrix of the neural path kernel, in a zarr store on disk.

    Interrupted, by Ctrl-C, `kill -9` or a full disk? Call it again with the same arguments: only
    blocks that are missing are computed, and the store equals that of an uninterrupted call, bit
    for bit (with the same library versions, on the same kind of machine).

    Without `x2` only blocks of the upper triangle are computed; the others are their mirror images,
    so the matrix is complete, and symmetric to the last bit.

    Args:
        net: the network; its gates are taken in evaluation mode.
        x: examples (n1, ...), float32 or float64.
        out: folder of the store; it is made, or gone on with.
        x2: second examples (n2, ...), of x's type; default: `x`.
        block: examples on each side of a block, and of a chunk of the array.
        scheduler: "threads" or "processes" of this machine, or the address of a dask scheduler
            ("tcp://host:8786") whose workers see the folder `out` under the same path. With
            "processes", a script must keep its work under `if __name__ == "__main__":`.
        workers: threads or processes; default: one for each core. Each holds up to 256 MB beside
            the data.
        normalise: as `npk`.
        gates: as `npk`.
        batch_norm: as `npk`.
        biases: as `npk`.
        progress: show a bar with the time left, where stderr is a terminal; else log (info).
        overwrite: delete an earlier Gram store at `out` first.

    Returns:
        The array (n1, n2) of x's type; `gram[:]` reads it as NumPy. Later,
        `zarr.open_array("gram.zarr/gram", mode="r")` opens it again.

    Raises:
        MissingExtraError: dask, distributed, zarr or tqdm is not installed.
        PathKernelError: as `npk`; an option that cannot be served; or the disk is full, and then
            finished blocks are kept.
        RunError: `out` cannot be written to, holds the Gram matrix of another network, data or
            options, or something else, or another process is writing there.

    Source: `npk`; the store is this project's.

    >>> import tempfile
    >>> import dualview as dv
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    >>> net, x = dv.disentangle(model, kind="dnn"), torch.randn(5, 4)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     gram = dv.npk_gram(net, x, f"{folder}/gram.zarr", block=2)[:]
    >>> bool(torch.allclose(torch.from_numpy(gram), dv.npk(net, x)))
    True
    """
    _require_libraries()
    _check_options(block, scheduler, workers)
    _check_data(x, x2, gates)
    options: dict[str, Any] = {
        "normalise": normalise,
        "gates": gates,
        "batch_norm": batch_norm,
        "biases": biases,
    }
    job = Job(_frozen(net), x.detach(), None if x2 is None else x2.detach(), options)
    job.try_one_pair()
    attributes = identity(net, x, x2, {**options, "block": block, "device": x.device.type})
    shape = (len(x), len(x if x2 is None else x2))
    store = GramStore(Path(out).absolute(), shape, block, symmetric=x2 is None)
    # Also before the lock, which would leave its file in a foreign folder.
    store.attributes() if overwrite else store.check(attributes)
    with store.locked():
        try:
            if overwrite:
                store.delete()
            _warn_of(store.check(attributes), store.path)
            store.create(attributes, str(x.dtype).removeprefix("torch."))
            _compute(job, store, scheduler, workers or os.cpu_count() or 1, progress)
        except OSError as error:
            raise cannot_write(store, error) from error
    return store.array()


@dataclass(frozen=True)
class Job:
    """What every block needs; it travels to a cluster's workers once."""

    net: GatedNetwork
    x: Tensor
    x2: Tensor | None
    options: dict[str, Any]

    def kernel(self, rows: slice, columns: slice) -> Tensor:
        """The kernel of some examples with others."""
        same = self.x2 is None and rows == columns
        other = self.x if self.x2 is None else self.x2
        right = None if same else other[columns]
        return npk(self.net, self.x[rows], right, memory=BLOCK_MEMORY, **self.options)

    def try_one_pair(self) -> None:
        """Find out what the kernel refuses before anything is written."""
        self.kernel(slice(0, 1), slice(0, 1))


def finish_block(block: Block, job: Job, store: GramStore) -> None:
    """Compute one block on one thread, and store it; runs on the workers."""
    rows, columns = (slice(k * store.block, (k + 1) * store.block) for k in block)
    with one_thread():
        values = job.kernel(rows, columns).cpu().numpy()
    store.write(block, values)


def try_block(block: Block, job: Job, store: GramStore) -> Exception | None:
    """`finish_block` on a cluster; an error is returned, made anew.

    With its traceback and its causes, not every error survives the way back from a worker.
    """
    try:
        finish_block(block, job, store)
    except DualviewError as error:
        return type(error)(str(error))
    except OSError as error:
        return OSError(error.errno, error.strerror or str(error))
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


def _frozen(net: GatedNetwork) -> GatedNetwork:
    """A copy in evaluation mode: threads that share a network must not switch its mode."""
    return copy.deepcopy(net).eval().requires_grad_(False)


def _compute(job: Job, store: GramStore, scheduler: str, workers: int, progress: bool) -> None:
    """Finish the blocks that are missing."""
    missing, total = store.missing(), len(store.blocks)
    log.info("Gram matrix in %s: %d of %d blocks to compute", store.path, len(missing), total)
    if not missing:
        return
    with _shown(total, total - len(missing), progress) as advance:
        if scheduler == "threads":
            _on_threads(job, store, missing, min(workers, len(missing)), advance)
        else:
            with _client(scheduler, min(workers, len(missing))) as client:
                _on_cluster(job, store, client, advance)


def _on_threads(
    job: Job, store: GramStore, missing: Sequence[Block], workers: int, advance: Callable[[], None]
) -> None:
    import dask
    from dask.callbacks import Callback

    # The job is part of the function, so that dask does not look for tasks inside it.
    task = dask.delayed(partial(finish_block, job=job, store=store), pure=False, traverse=False)
    # The pool's end waits for blocks under way: they write while the lock is held.
    with (
        one_thread(),
        Callback(posttask=lambda *_: advance()),
        ThreadPoolExecutor(workers) as pool,
    ):
        try:
            dask.compute(*map(task, missing), scheduler="threads", pool=pool)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _on_cluster(job: Job, store: GramStore, client: Any, advance: Callable[[], None]) -> None:
    from distributed import KilledWorker
    from distributed.comm import CommClosedError

    attempts, left = ATTEMPTS, store.missing()
    while left:
        try:
            _one_pass(job, store, client, left, advance)
        except KilledWorker as error:
            raise PathKernelError(
                f"{store.path}: workers died over one block ({error}); finished blocks are kept. "
                "Repair: a smaller `block`, or workers with more memory; then call again"
            ) from error
        except (CommClosedError, TimeoutError) as error:
            raise PathKernelError(
                f"{store.path}: the dask scheduler does not answer any more ({error}); finished "
                "blocks are kept. Repair: start it, then call again"
            ) from error
        except CancelledError as error:  # every worker that held the data is gone
            attempts = attempts - 1 if store.missing() == left else ATTEMPTS
            if not attempts:
                raise PathKernelError(
                    f"{store.path}: the cluster lost the data {ATTEMPTS} times ({error}); finished "
                    "blocks are kept. Repair: look at the workers' logs, then call again"
                ) from error
        left = store.missing()


def _one_pass(
    job: Job, store: GramStore, client: Any, blocks: Sequence[Block], advance: Callable[[], None]
) -> None:
    from distributed import as_completed

    # hash=False: data under the same key as that of a lost pass would be lost as well
    shared = client.scatter(job, broadcast=True, hash=False)
    futures = client.map(try_block, blocks, job=shared, store=store, pure=False)
    try:
        for future in as_completed(futures, loop=client.loop):
            error = future.result()
            if error is not None:
                raise error
            advance()
    finally:
        client.cancel([future for future in futures if not future.done()])


@contextmanager
def _client(scheduler: str, workers: int) -> Iterator[Any]:
    """A dask client: of the address, or of a cluster of processes that lives as long as it."""
    from distributed import Client, LocalCluster

    if scheduler != "processes":
        try:
            client = Client(scheduler, set_as_default=False)
        except (OSError, ValueError) as error:
            raise PathKernelError(
                f"scheduler: no dask scheduler answers at {scheduler!r} ({error}). Repair: start "
                "`dask scheduler`, or use scheduler='threads'"
            ) from error
        with client:
            yield client
        return
    with (
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            dashboard_address=None,
            silence_logs=logging.ERROR,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


@contextmanager
def _shown(total: int, finished: int, progress: bool) -> Iterator[Callable[[], None]]:
    """A bar on a terminal, else a line in the log for every tenth; call the result per block."""
    from tqdm import tqdm

    visible = progress and sys.stderr.isatty()
    with tqdm(
        total=total, initial=finished, unit="block", desc="Gram matrix", disable=not visible
    ) as bar:
        count = finished

        def advance() -> None:
            nonlocal count
            count += 1
            bar.update()
            if not visible and count * 10 // total > (count - 1) * 10 // total:
                log.info("Gram matrix: %d of %d blocks", count, total)

        yield advance


def _require_libraries() -> None:
    needed = ("dask", "distributed", "zarr", "tqdm")
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            f"npk_gram needs {', '.join(missing)}. Repair: pip install 'dualview[kernel]'"
        )


def _check_options(block: int, scheduler: str, workers: int | None) -> None:
    for name, value in (("block", block), ("workers", workers)):
        if name == "workers" and value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise PathKernelError(f"{name}: expected a whole number above 0, got {value!r}")
    address = isinstance(scheduler, str) and "://" in scheduler
    if scheduler not in ("threads", "processes") and not address:
        raise PathKernelError(
            "scheduler: expected 'threads', 'processes' or an address such as 'tcp://host:8786', "
            f"got {scheduler!r}"
        )
    if address and workers is not None:
        raise PathKernelError(
            f"workers: expected none with the cluster at {scheduler}, which has its own; got "
            f"{workers}"
        )


def _check_data(x: Tensor, x2: Tensor | None, gates: str) -> None:
    try:
        check_examples(x, x2, gates)
    except PathKernelError as error:
        raise PathKernelError(str(error).replace("x1:", "x:", 1)) from None
    if x.dtype not in (torch.float32, torch.float64):
        raise PathKernelError(f"x: expected float32 or float64, got {x.dtype}")
    if x2 is not None and (x2.dtype, x2.device, x2.shape[1:]) != (x.dtype, x.device, x.shape[1:]):
        raise PathKernelError(
            f"x2: expected {x.dtype} on {x.device} of shape (n2, {', '.join(map(str, x.shape[1:]))}"
            f") like x, got {x2.dtype} on {x2.device} of shape {tuple(x2.shape)}"
        )


def _warn_of(versions: dict[str, str], path: Path) -> None:
    if versions:
        changes = ", ".join(f"{name} {change}" for name, change in versions.items())
        warnings.warn(
            f"{path}: its blocks so far were computed with other versions ({changes}); the last "
            "digits of the rest may differ",
            DualviewWarning,
            stacklevel=3,
        )
