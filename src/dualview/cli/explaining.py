"""What `explain` and `explore` share: a run as a network, its examples explained, the page."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualview.cli.options import add_data_options, data_settings
from dualview.progress import Terminal
from dualview.training import at_least

if TYPE_CHECKING:
    from dualview.experiments.finished import TrainedNetwork

SPLITS = ("train", "validation", "test")
GATES = ("model", "hard")
SLOW_PAGE_BYTES = 15e6
"""A page that is larger is slow to open; the command says so."""


def add_run_options(parser: Any, out: str) -> None:
    """The run, its model and data, the kernel machine, and the page."""
    add_network_options(parser)
    group = parser.add_argument_group("page")
    group.add_argument("--out", metavar="FILE", type=str, default=out, help="the page")
    group.add_argument(
        "--split", choices=list(SPLITS), default="test", help="of the data, to choose examples from"
    )
    group.add_argument(
        "--train",
        metavar="N",
        type=int | None,
        help="training examples of the kernel machine, 0 for none (default: 1,000 for dense "
        "networks, 200 for others, and no machine where that takes more than ten minutes)",
    )
    group.add_argument(
        "--machine-gates",
        choices=list(GATES),
        help="gates of the kernel machine: as the network applies them, or 1{q > 0}, which is much "
        "faster in convolutional networks (default: model for dense networks, else hard)",
    )


def add_network_options(parser: Any) -> None:
    """The run, its model and data."""
    parser.add_argument(
        "run_folder",
        metavar="RUN",
        type=str,
        help="the folder of one finished run, as in demo/dlgn-seed0, or one that save_pretrained "
        "or train wrote",
    )
    parser.add_argument(
        "--model",
        metavar="WHERE",
        type=str | None,
        help="of a network of your own, what made its model: module:Class, ./mine.py:Class or a "
        "factory, called with those of num_classes and input_shape that it takes; files never "
        "bring code",
    )
    add_data_options(parser)


def load_network(options: Any) -> TrainedNetwork:
    """The network that the options name, with its data.

    Raises:
        RunError: there is none in the folder, it diverged, was trained on other data, or needs a
            model.
    """
    from dualview.experiments import finished

    at_least("train", options.train, 0)
    return finished.load_network(options.run_folder, data_settings(options), model=options.model)


def write_page(options: Any, found: TrainedNetwork, rows: Sequence[int], again: str) -> int:
    """Explain the rows, with progress in a terminal; write the page, and say what is missing.

    Returns:
        The exit status.
    """
    from dualview.explorer.writing import explain_page

    path = Path(options.out)
    shown = explain_page(
        found.net,
        found.data,
        rows,
        path,
        split=options.split,
        n_train=options.train,
        machine_gates=options.machine_gates,
        run=found.run,
        command=again,
        watcher=Terminal(),
    )
    for note in shown.notes:
        print(f"dualview: note: {note}", file=sys.stderr)
    size = path.stat().st_size
    if size > SLOW_PAGE_BYTES:
        print(
            f"dualview: note: the page has {size / 1e6:.0f} MB and will be slow to open; fewer "
            f"examples make it smaller",
            file=sys.stderr,
        )
    print(f"Page: {path} ({size / 1e6:.1f} MB)")
    return 0
