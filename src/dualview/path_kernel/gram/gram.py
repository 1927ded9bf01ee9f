"""Gram matrices of the path kernel, block by block, on all cores or a cluster, into a zarr store.

dask schedules the blocks and zarr keeps them. A block sees nothing but its own rows and columns of
the data, on one thread, so its values do not depend on which worker computes it, or when. Examples
are on axis 0; rows of the Gram matrix are examples of `x`, columns those of `x2` (or of `x`).
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from dualview.arguments import (
    file_path,
    flag,
    one_of,
    optional,
    require,
    said,
    takes,
    text_value,
    whole,
)
from dualview.cluster import PROCESSES, is_address, require_cluster
from dualview.conversion.examples import gated, is_floating
from dualview.conversion.gated_network import GatedNetwork
from dualview.errors import DualviewWarning, PathKernelError, need
from dualview.files.writing import refused_by_the_system
from dualview.path_kernel.examples import LAW, BatchNorm, Gates, check_examples
from dualview.path_kernel.gram.block import Job, default_block, frozen
from dualview.path_kernel.gram.identity import identity
from dualview.path_kernel.gram.schedule import announce, compute
from dualview.path_kernel.gram.store import GramStore, cannot_write, stored_attributes

if TYPE_CHECKING:
    import zarr

Precision = Literal["float32", "float64"]

LARGEST_BLOCK = 2**15
"""Examples on each side: a chunk of 4 GiB in float32. And processes, which are fewer."""


@takes(
    PathKernelError,
    out=file_path,
    block=optional(whole(1, LARGEST_BLOCK)),
    scheduler=text_value,
    workers=optional(whole(1, LARGEST_BLOCK)),
    normalise=flag,
    gates=one_of(*get_args(Gates)),
    dtype=optional(one_of(*get_args(Precision))),
    progress=flag,
    overwrite=flag,
    **LAW,
)
def npk_gram(
    net: GatedNetwork,
    x: Tensor | np.ndarray,
    out: str | os.PathLike[str] = "gram.zarr",
    *,
    x2: Tensor | np.ndarray | None = None,
    block: int | None = None,
    scheduler: str = "threads",
    workers: int | None = None,
    normalise: bool = True,
    gates: Gates = "model",
    batch_norm: BatchNorm = "identity",
    biases: bool = False,
    bias_variance: float = 1.0,
    dtype: Precision | None = None,
    progress: bool = True,
    overwrite: bool = False,
) -> zarr.Array:
    """Gram matrix of the neural path kernel, in a zarr store on disk.

    Interrupted, by Ctrl-C, `kill -9` or a full disk? Call it again with the same arguments: only
    blocks that are missing are computed, and the store equals that of an uninterrupted call, bit
    for bit (with the same library versions, on the same kind of machine). What is there is read
    first, and blocks that a bad disk or copy has altered are computed again.

    Without `x2` only blocks of the upper triangle are computed; the others are their mirror images,
    so the matrix is complete, and symmetric to the last bit.

    Args:
        net: the network; its gates are taken in evaluation mode.
        x: examples (n1, ...), PyTorch or NumPy, of floating-point numbers.
        out: folder of the store; it is made, or gone on with.
        x2: second examples (n2, ...); default: `x`.
        block: examples on each side of a block, and of a chunk of the array; default: that of the
            store, if there is one, else so many that a block takes seconds.
        scheduler: "threads" or "processes" of this machine, or the address of a dask scheduler
            ("tcp://host:8786") whose workers see the folder `out` under the same path. With
            "processes", a script must keep its work under `if __name__ == "__main__":`.
        workers: threads or processes; default: one for each core. Each holds up to 512 MB beside
            the data, of which every process has a copy.
        normalise: as `npk`.
        gates: as `npk`.
        batch_norm: as `npk`.
        biases: as `npk`.
        bias_variance: as `npk`.
        dtype: "float32" or "float64", to compute in and to store; default: the network's own.
            The CPU kernel, which is much faster, takes float32.
        progress: show a bar with the time left, where stderr is a terminal; else log (info): at
            once how long it should take, then after the first block and at every tenth.
        overwrite: delete an earlier Gram store at `out` first.

    Returns:
        The array (n1, n2); `gram[:]` reads it as NumPy. Later,
        `zarr.open_array("gram.zarr/gram", mode="r")` opens it again.

    Raises:
        MissingExtraError: dask, distributed, zarr or tqdm is not installed.
        PathKernelError: as `npk`; an option that cannot be served; or the disk is full, and then
            finished blocks are kept.
        RunError: `out` cannot be written to, holds the Gram matrix of another network, data or
            options, or something else, or its description is damaged, or another process is writing
            there.

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
    _require_libraries(scheduler)
    _check_scheduler(scheduler, workers)
    kernel_options = {
        "normalise": normalise,
        "gates": gates,
        "batch_norm": batch_norm,
        "biases": biases,
        "bias_variance": bias_variance,
    }
    job = _job(net, x, x2, dtype, kernel_options)
    path = Path(out).absolute()
    _check_name(path)
    earlier = stored_attributes(path)  # before the lock, whose file must not be left elsewhere
    announce(job, path, scheduler, workers, progress)
    job.try_one_pair()
    if block is None:
        kept = earlier["options"].get("block") if earlier and not overwrite else None
        block = kept if isinstance(kept, int) and kept > 0 else default_block(job)
    precision = str(job.x.dtype).removeprefix("torch.")
    storage = {"block": block, "dtype": precision, "device": job.x.device.type}
    attributes = identity(job.net, job.x, job.x2, {**kernel_options, **storage})
    store = GramStore(path, job.shape, block, symmetric=x2 is None, dtype=precision)
    with store.locked():
        try:
            if overwrite:
                store.delete()
            _warn_of(store.check(attributes), store.path)
            store.create(attributes)
            compute(job, store, scheduler, workers, progress)
        except OSError as error:
            raise cannot_write(store, error) from error
        except KeyboardInterrupt as stop:
            stop.add_note(
                f"{path}: finished blocks are kept. To go on, call npk_gram again with the same "
                "arguments"
            )
            raise
    return store.array()


def _job(
    net: GatedNetwork,
    x: Tensor | np.ndarray,
    x2: Tensor | np.ndarray | None,
    dtype: Precision | None,
    options: dict[str, Any],
) -> Job:
    """Network and data as the blocks take them."""
    require("net", net, gated, PathKernelError)
    own = next((p.dtype for p in net.parameters() if p.is_floating_point()), torch.float32)
    precision = own if dtype is None else getattr(torch, dtype)
    if precision not in (torch.float32, torch.float64):
        raise PathKernelError(
            f"dtype: expected a network of float32 or float64, got {precision}. Repair: "
            "dtype='float32'"
        )
    rows = _examples("x", x, precision)
    columns = None if x2 is None else _examples("x2", x2, precision)
    network = frozen(net, rows)
    check_examples(network, options["gates"], x=rows, x2=columns)
    return Job(network, rows, columns, options)


def _examples(name: str, values: Tensor | np.ndarray, dtype: torch.dtype) -> Tensor:
    """Examples as a tensor of the type to compute in; what is no floating-point data is refused."""
    tensor = values
    if isinstance(values, np.ndarray) and values.dtype.str[1:] in ("f2", "f4", "f8"):
        native = values.dtype.newbyteorder("=")
        tensor = torch.from_numpy(np.require(values, native, ["C", "W"]))
    if not isinstance(tensor, Tensor) or not is_floating(tensor):
        raise PathKernelError(
            f"{name}: expected a tensor or NumPy array of floating-point numbers, got "
            f"{said(values)}. Repair: normalise the examples as for training"
        )
    return tensor.detach().to(dtype)


def _require_libraries(scheduler: str) -> None:
    require_cluster(scheduler, "npk_gram")
    for library in ("zarr", "tqdm"):
        need(library, "kernel", "npk_gram")


def _check_name(path: Path) -> None:
    with refused_by_the_system(path, "a folder for the store", "choose another"):
        path.exists()


def _check_scheduler(scheduler: str, workers: int | None) -> None:
    address = is_address(scheduler)
    if scheduler not in ("threads", PROCESSES) and not address:
        raise PathKernelError(
            "scheduler: expected 'threads', 'processes' or an address such as 'tcp://host:8786', "
            f"got {scheduler!r}"
        )
    if address and workers is not None:
        raise PathKernelError(
            f"workers: expected none with the cluster at {scheduler}, which has its own; got "
            f"{workers}"
        )


def _warn_of(versions: dict[str, str], path: Path) -> None:
    if versions:
        changes = ", ".join(f"{name} {change}" for name, change in versions.items())
        warnings.warn(
            f"{path}: its blocks so far were computed with other versions ({changes}); the last "
            "digits of the rest may differ",
            DualviewWarning,
            stacklevel=4,
        )
