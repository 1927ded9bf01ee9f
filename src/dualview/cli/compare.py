"""`dualview compare`: DNN, DGN and DLGN of one architecture on any data."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from dualview.cli.comparison import run_comparison
from dualview.cli.options import (
    add_data_options,
    add_fields,
    add_machine_options,
    add_network_options,
    add_out,
    add_sharing_options,
    add_training_options,
    check_named_here,
    data_settings,
    gathered,
    sharing_settings,
    train_settings,
)
from dualview.cli.outlook import outlook_text
from dualview.experiments.settings import ComparisonSettings
from dualview.files.foreign_text import file_name
from dualview.files.user_code import own_name

NAME = "compare"
HELP = "train DNN, DGN and DLGN on any data and compare them"
DESCRIPTION = """\
Train one architecture as several kinds of network, some seeds each, and compare them.

  dnn      the architecture as it is, with ReLUs
  dgn      gates from a ReLU network of its own, weights from a second network
  dlgn     the same with a deep linear network deciding the gates
  dlgn-sf  the same with every gated layer reading the input directly
  -ones    at the end of a kind: the weights network reads the constant 1, not the data

The score is the test accuracy after the last epoch; "recovered" is that divided by the
DNN's with the same seed."""
EPILOG = """\
examples:
  dualview compare
      all defaults: fully connected networks on the built-in digits
  dualview compare --data data/cifar10 --arch c4gap --width 16 --epochs 8 --flip
      a small convolutional network on a folder of Parquet files
  dualview compare --kinds dnn dlgn --seeds 5 --optimizer sgd --schedule cosine
      two kinds, five seeds each
  dualview compare --arch mine.py:make --data data/cifar10
      your own architecture: in mine.py, def make(num_classes, input_shape): ... returns a
      torch.nn.Module from images (n, channels, height, width) to logits (n, classes)
  dualview compare --print_config > mine.yaml
  dualview compare --config mine.yaml --epochs 20
      options from a file; those on the command line win

  dualview compare --seeds 10 --dry-run
      the jobs, what is done of them, and how long the rest should take
  dualview compare --seeds 10 --scheduler processes
      a job on each core; on a dask cluster: --scheduler tcp://host:8786
  dualview compare --seeds 3-5
  dualview compare --seeds 10 --only dlgn-seed3
      a part of it, as a batch system starts it

Interrupted, by Ctrl-C or otherwise? The same command goes on after the last finished epoch."""


def add_options(parser: Any) -> None:
    """The options of this command."""
    parser.add_argument("--config", action="config", metavar="FILE", help="YAML file of options")
    add_data_options(parser)
    add_network_options(parser)
    add_training_options(parser)
    add_machine_options(parser)
    group = parser.add_argument_group("runs")
    add_fields(group, ComparisonSettings, "seeds")
    add_sharing_options(group)
    add_out(group, "where the runs and the report go (default: runs/DATA-ARCH-WIDTH)")
    group.add_argument(
        "--overwrite", action="store_true", help="delete earlier runs of the same names in --out"
    )


def run(options: Any, again: str) -> int:
    """Compare, and report; `again` is the command that goes on after an interruption."""
    check_named_here(options.arch, again)
    settings = gathered(
        ComparisonSettings,
        options,
        data=data_settings(options),
        kinds=tuple(options.kinds),
        training=train_settings(options),
    )
    out = Path(options.out) if options.out else default_folder(settings)
    sharing = sharing_settings(options)
    if options.dry_run:
        from dualview.experiments.comparison import plan_comparison

        print(outlook_text(plan_comparison(settings, out), sharing, f"Jobs in {out}"))
        return 0
    return run_comparison(settings, out, overwrite=options.overwrite, again=again, sharing=sharing)


def default_folder(settings: ComparisonSettings) -> Path:
    """Where a comparison goes that was given no folder.

    >>> default_folder(ComparisonSettings(arch="c4gap", width=16)).as_posix()
    'runs/digits-c4gap-16'
    >>> default_folder(ComparisonSettings(arch="./models/mine.py:make")).as_posix()
    'runs/digits-mine-make'
    """
    source = re.sub(r"[^\w.]+", "-", Path(settings.data.source).absolute().name)
    arch = file_name(own_name(settings.arch).replace(".py:", "-"))
    width = [] if settings.width is None else [str(settings.width)]
    return Path("runs") / "-".join([source, arch, *width])
