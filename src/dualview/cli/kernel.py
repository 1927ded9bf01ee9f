"""`dualview kernel`: the Gram matrix of the path kernel, of a fresh or a trained network."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualview.arguments import require, seed_number
from dualview.cli.interruption import told_if_interrupted
from dualview.cli.options import add_data_options, add_fields, data_settings
from dualview.experiments.settings import KINDS, ComparisonSettings
from dualview.files.user_code import is_place
from dualview.training import SettingsError, at_least

if TYPE_CHECKING:
    from torch import Tensor

    from dualview.conversion.gated_network import GatedNetwork
    from dualview.datasets import Dataset

NAME = "kernel"
HELP = "compute the Gram matrix of a network's path kernel, block by block, into a zarr store"
DESCRIPTION = """\
Compute the neural path kernel of every pair of examples, exactly, for the gates of a
network as it is drawn (--arch) or as it was trained (--run). Rows and columns are the first
examples of a split, in its order."""
EPILOG = """\
examples:
  dualview kernel
      500 digits, a fully connected DLGN as it is drawn
  dualview kernel --data data/cifar10 --arch c4gap --width 16 --gates hard --n 2000
      a convolutional network on a folder of Parquet files
  dualview kernel --run runs/digits-fc/dlgn-seed0
      the trained gates of one run of `dualview compare`
  dualview kernel --arch mine.py:make --kind dnn
      your own architecture, as `dualview compare --help` says
  dualview kernel --scheduler tcp://host:8786
      on a dask cluster

Interrupted, by Ctrl-C or otherwise? The same command computes only what is missing."""

DEFAULT_EXAMPLES = 500
"""Of the kernel, unless asked otherwise."""

_OF_COMPARE = ("arch", "width", "batch_norm", "beta", "max_pool")

NETWORK: dict[str, Any] = {
    **{name: getattr(ComparisonSettings(), name) for name in _OF_COMPARE},
    "kind": "dlgn",
    "seed": 0,
}
"""Options of a fresh network; a run has its own."""


def add_options(parser: Any) -> None:
    """The options of this command."""
    add_data_options(parser)
    _add_network_options(parser)
    _add_kernel_options(parser)
    _add_work_options(parser)


def _add_network_options(parser: Any) -> None:
    group = parser.add_argument_group("network: of a run, or drawn anew")
    group.add_argument(
        "--run",
        metavar="FOLDER",
        dest="run_folder",
        type=str | None,
        help="a run of `dualview compare`, as in runs/digits-fc/dlgn-seed0, on the same data, or "
        "what save_pretrained or train wrote; the options that follow are then its own, but for "
        "--arch, which names your own again",
    )
    unset = {name: str(NETWORK[name] or "") for name in _OF_COMPARE}
    add_fields(group, ComparisonSettings, *_OF_COMPARE, unset=unset)
    group.add_argument(
        "--kind",
        metavar="KIND",
        type=str | None,
        help=f"one of {', '.join(KINDS)} (default: {NETWORK['kind']})",
    )
    group.add_argument(
        "--seed",
        metavar="N",
        type=int | None,
        help=f"draws the network (default: {NETWORK['seed']})",
    )


def _add_kernel_options(parser: Any) -> None:
    group = parser.add_argument_group("kernel")
    group.add_argument(
        "--n",
        metavar="N",
        type=int | None,
        help="examples, the first of the split (default: "
        f"{DEFAULT_EXAMPLES}, or all if there are fewer)",
    )
    group.add_argument(
        "--split", choices=["train", "validation", "test"], default="train", help="of the data"
    )
    group.add_argument(
        "--gates",
        choices=["model", "hard"],
        default="model",
        help="as the network applies them, or 1{q > 0}, which is much faster",
    )
    group.add_argument(
        "--biases", action="store_true", help="count paths that start at a bias (default: none do)"
    )
    group.add_argument(
        "--bias-variance",
        metavar="V",
        type=float,
        default=1.0,
        help="variance of the biases, with --biases",
    )
    group.add_argument(
        "--norms",
        choices=["identity", "scale"],
        default="identity",
        help="batch norms as the identity, or as factors gamma / sqrt(variance + eps)",
    )
    group.add_argument(
        "--dtype",
        choices=["float32", "float64"],
        help="to compute in and to store (default: the network's own)",
    )


def _add_work_options(parser: Any) -> None:
    group = parser.add_argument_group("work")
    group.add_argument(
        "--block",
        metavar="N",
        type=int | None,
        help="examples on each side of a block (default: so many that a block takes seconds)",
    )
    group.add_argument("--out", metavar="FOLDER", type=str, default="gram.zarr", help="the store")
    group.add_argument(
        "--overwrite", action="store_true", help="delete an earlier Gram store at --out"
    )
    group.add_argument(
        "--scheduler",
        metavar="NAME",
        type=str,
        default="threads",
        help="threads, processes, or the address of a dask scheduler, as in tcp://host:8786",
    )
    group.add_argument(
        "--workers",
        metavar="N",
        type=int | None,
        help="threads or processes (default: one for each core)",
    )


def run(options: Any, again: str) -> int:
    """Compute, and say where it is; `again` is the command that goes on after an interruption."""
    from dualview.path_kernel.gram.gram import npk_gram

    at_least("n", options.n, 1)
    net, data = _network(options)
    x = examples(data, options.split, options.n)
    start = time.perf_counter()
    with told_if_interrupted(f"finished blocks are kept. To go on: {again}"), _log_shown():
        gram = npk_gram(
            net,
            x,
            options.out,
            block=options.block,
            scheduler=options.scheduler,
            workers=options.workers,
            gates=options.gates,
            biases=options.biases,
            bias_variance=options.bias_variance,
            batch_norm=options.norms,
            dtype=options.dtype,
            overwrite=options.overwrite,
        )
    print(result_text(gram.shape[0], time.perf_counter() - start, Path(options.out)))
    return 0


@contextmanager
def _log_shown() -> Iterator[None]:
    """The path kernel's log on standard error: how much there is to do, and how far it is."""
    log = logging.getLogger("dualview.path_kernel")
    handler, level = logging.StreamHandler(sys.stderr), log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


def result_text(n: int, seconds: float, out: Path) -> str:
    """What was computed, where it is, and how to read it."""
    return (
        f"Gram matrix of {n:,} examples in {seconds:.1f} s: {out}\n\n"
        "To read it in Python:\n"
        "  import zarr\n"
        f'  gram = zarr.open_array({str(out / "gram")!r}, mode="r")[:]'
    )


def _network(options: Any) -> tuple[GatedNetwork, Dataset]:
    """The network, of a run or as it is drawn, and its data."""
    from dualview.experiments.data import load_settings
    from dualview.experiments.finished import load_network
    from dualview.experiments.networks import as_gated, build_network

    given = {name: options[name] for name in NETWORK if options[name] is not None}
    if options.run_folder is not None:
        own = options.arch if options.arch is not None and is_place(options.arch) else None
        if own:
            del given["arch"]
        if given:
            raise SettingsError(
                f"--{next(iter(given)).replace('_', '-')}: expected no option of a network beside "
                "--run, which has its own"
            )
        run = load_network(options.run_folder, data_settings(options), model=own)
        return run.net, run.data
    network = {**NETWORK, **given}
    kind, seed = network.pop("kind"), network.pop("seed")
    require("seed", seed, seed_number, SettingsError)
    settings = ComparisonSettings(data=data_settings(options), kinds=(kind,), **network)
    data = load_settings(settings.data)
    return as_gated(build_network(settings, kind, seed, data), data), data


def examples(data: Dataset, split: str, n: int | None) -> Tensor:
    """The first `n` examples of a split as they are, pixels from 0 to 1: (n, c, h, w) float32.

    None: `DEFAULT_EXAMPLES` of them, or all.

    Raises:
        SettingsError: the split has fewer.
    """
    from dualview.datasets import Batches

    part = getattr(data, split)
    n = min(DEFAULT_EXAMPLES, len(part)) if n is None else n
    if n > len(part):
        raise SettingsError(f"--n: expected at most {len(part)}, the {split} split's size, got {n}")
    images, _ = next(iter(Batches(part, n, normalise=False)))
    return images
