"""Options that several commands share, and the settings they stand for."""

from __future__ import annotations

import argparse
import shlex
from dataclasses import fields
from typing import Any, TypeVar

from dualview.cli.parser import switch
from dualview.experiments.settings import KINDS, MAX_POOLING, DataSettings
from dualview.files.user_code import is_place
from dualview.training import (
    DECAYED,
    LOSSES,
    OPTIMIZERS,
    SCHEDULES,
    SettingsError,
    TrainSettings,
)

ARCHITECTURE_NAMES = (
    "fc, vconv, gconv, c4gap, c6white, vgg16, resnet20, resnet32, resnet56, resnet110, vit"
)

OWN_ARCHITECTURE = (
    "or your own: module:factory or ./mine.py:factory, called with those of num_classes, "
    "input_shape, width, batch_norm that it takes"
)

Settings = TypeVar("Settings")

DATA = DataSettings()
TRAINING = TrainSettings()


def add_data_options(parser: Any, source: str | None = DATA.source) -> None:
    """Which data, and how it is read; `source` is what is read where nothing is named."""
    group = parser.add_argument_group("data")
    group.add_argument(
        "--data",
        metavar="NAME_OR_PATH",
        type=str | None if source is None else str,
        default=source,
        help="'digits' (built in), a folder of Parquet files as the Hugging Face hub has them, "
        "a folder of images (class/*.png or train/class/*.png), an .npz file with x and y, or the "
        "name of a data set of the hub",
    )
    group.add_argument(
        "--validation",
        metavar="SHARE",
        type=float,
        default=DATA.validation,
        help="share of the train split to validate on, where the data has no validation split",
    )
    group.add_argument(
        "--test",
        metavar="SHARE",
        type=float,
        default=DATA.test,
        help="share of the train split to test on, where the data has no test split",
    )
    group.add_argument(
        "--image-column", metavar="NAME", type=str | None, help="column of images, if not found"
    )
    group.add_argument(
        "--label-column", metavar="NAME", type=str | None, help="column of labels, if not found"
    )
    group.add_argument(
        "--subset", metavar="NAME", type=str | None, help="configuration of data that has several"
    )
    switch(group, "cache", "keep decoded images on disk for the next time (on)", default=True)


def add_network_options(parser: Any) -> None:
    """Which networks are compared."""
    group = parser.add_argument_group("networks")
    group.add_argument(
        "--arch",
        metavar="NAME",
        type=str,
        default="fc",
        help=f"one of {ARCHITECTURE_NAMES}; {OWN_ARCHITECTURE}",
    )
    group.add_argument(
        "--width",
        metavar="N",
        type=int | None,
        help="units or channels of the first layer, others scale with it "
        "(default: as in the papers)",
    )
    group.add_argument(
        "--batch-norm",
        action=argparse.BooleanOptionalAction,
        help="batch norm before convolutional activations (default: as in the papers)",
    )
    group.add_argument(
        "--kinds",
        metavar="KIND",
        nargs="+",
        type=str,
        default=["dnn", "dgn", "dlgn", "dlgn-ones"],
        help=f"any of {', '.join(KINDS)}",
    )
    group.add_argument(
        "--beta",
        metavar="B",
        type=float,
        default=4.0,
        help="steepness of the soft gate sigmoid(B q), where gates are learnt",
    )
    group.add_argument(
        "--max-pool",
        choices=list(MAX_POOLING),
        help="what takes the place of max pooling in the weights network "
        "(default: switch for dgn, average for dlgn)",
    )


def add_training_options(parser: Any) -> None:
    """How each network is trained."""
    group = parser.add_argument_group("training")
    group.add_argument(
        "--epochs",
        metavar="N",
        type=int | None,
        help="passes over the train split (default: 40 below 5,000 examples, 20 below 20,000, "
        "else 10)",
    )
    group.add_argument(
        "--batch-size",
        metavar="N",
        type=int | None,
        help="examples in a step (default: 64 below 20,000 examples, else 128)",
    )
    group.add_argument(
        "--loss",
        choices=list(LOSSES),
        default=TRAINING.loss,
        help="what training makes small; squared: the mean squared difference from 1 at the label "
        "and 0 elsewhere",
    )
    group.add_argument(
        "--optimizer", choices=list(OPTIMIZERS), default=TRAINING.optimizer, help="how to descend"
    )
    group.add_argument(
        "--learning-rate",
        metavar="RATE",
        type=float | None,
        help="the schedule's highest (default: 0.002 for adam, 0.05 for sgd, 0.001 for rmsprop)",
    )
    group.add_argument(
        "--momentum", metavar="M", type=float, default=TRAINING.momentum, help="of sgd"
    )
    switch(group, "nesterov", "let sgd look ahead along its momentum")
    group.add_argument(
        "--weight-decay",
        metavar="W",
        type=float,
        default=TRAINING.weight_decay,
        help="L2 penalty",
    )
    group.add_argument(
        "--decayed",
        choices=list(DECAYED),
        default=TRAINING.decayed,
        help="what is penalised: all parameters, or weights alone (no biases, no factors of "
        "normalisation layers)",
    )
    group.add_argument(
        "--label-smoothing",
        metavar="SHARE",
        type=float,
        default=TRAINING.label_smoothing,
        help="share of each label that all classes get in equal parts while training",
    )
    group.add_argument(
        "--schedule",
        choices=list(SCHEDULES),
        default=TRAINING.schedule,
        help="how the learning rate changes over the run; 'steps' is the recipe of the residual "
        "networks: warm up, then a tenth after half the run and again after three quarters",
    )
    switch(group, "flip", "mirror train images left to right at random")
    group.add_argument(
        "--crop",
        metavar="PIXELS",
        type=int,
        default=TRAINING.crop,
        help="pad train images so far with zeros and cut the original size at random",
    )


def add_machine_options(parser: Any, default_precision: str | None = TRAINING.precision) -> None:
    """Where it runs: PyTorch Lightning's own options."""
    group = parser.add_argument_group("machine (as PyTorch Lightning takes them)")
    group.add_argument(
        "--device",
        "--accelerator",
        metavar="NAME",
        dest="accelerator",
        type=str,
        default=TRAINING.accelerator,
        help="cpu, gpu, mps, ...; auto takes a GPU if there is one",
    )
    group.add_argument(
        "--devices",
        metavar="N",
        type=int | str,
        default=TRAINING.devices,
        help="how many of them train together, or which, as in 0,1; the batch is shared out",
    )
    group.add_argument(
        "--precision",
        metavar="NAME",
        type=str | None if default_precision is None else str,
        default=default_precision,
        help="32-true, 64-true, bf16-mixed, 16-mixed, ..., or auto: bf16-mixed where the machine "
        "is faster with it, else 32-true"
        + (" (default: the preset's)" if default_precision is None else ""),
    )
    switch(group, "compile", "let torch.compile make kernels first; pays on a GPU in long runs")
    group.add_argument(
        "--threads",
        metavar="N",
        type=int | None,
        help="CPU threads of PyTorch; small networks train fastest with 1 (default: PyTorch's)",
    )


def gathered(kind: type[Settings], options: Any, **given: Any) -> Settings:
    """Settings whose fields are the options of the same names, but for those that are given."""
    # A type variable cannot say that its types are dataclasses, which `fields` wants to know.
    named = (field.name for field in fields(kind) if field.name not in given)  # type: ignore[arg-type]
    own = {name: getattr(options, name) for name in named if hasattr(options, name)}
    return kind(**own, **given)


def check_named_here(arch: str | None, command: str) -> None:
    """See that code of the user's own is named on the command line, not by a file of options.

    Raises:
        SettingsError: it is not.
    """
    words = shlex.split(command)
    if arch is None or not is_place(arch) or arch in words or f"--arch={arch}" in words:
        return
    raise SettingsError(
        f"arch: expected your own architecture on the command line, got {arch!r} from a file, and "
        f"files never bring code. Repair: take it out of the file, and give --arch {arch}"
    )


def data_settings(options: Any) -> DataSettings:
    """What `add_data_options` gathered."""
    return gathered(DataSettings, options, source=options.data)


def train_settings(options: Any) -> TrainSettings:
    """What `add_training_options` and `add_machine_options` gathered; seeds are the runs'."""
    return gathered(TrainSettings, options, seed=TRAINING.seed)
