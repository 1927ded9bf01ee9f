"""`dualview compare`: DNN, DGN and DLGN on any data and architecture, side by side."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from dualview.cli.options import Parser
from dualview.experiments.settings import (
    KINDS,
    MAX_POOLING,
    ComparisonSettings,
    DataSettings,
)
from dualview.training import OPTIMIZERS, SCHEDULES, TrainSettings

DESCRIPTION = """\
Train kinds of one architecture on one data set, some seeds each, and compare their test accuracy.

  dnn    the network itself
  dgn    gates learnt in one ReLU network, weights in another
  dlgn   the same, with a gating network that is deep linear
  dlgn-sf  the same, every gated layer reading the input directly
  ...-ones  the weights network reads the constant 1 in place of the data

Ends with a table (accuracy, mean and standard deviation over seeds; recovered = accuracy divided by
the DNN's) and OUT/report.html. An interrupted comparison, even one that was killed, goes on from
its last finished epoch when the same command is given again.
"""

EXAMPLES = """\
examples:
  dualview compare --data digits --arch fc
  dualview compare --data path/to/cifar10 --arch c4gap --width 16 --epochs 8 --flip true
  dualview compare --config comparison.yaml --seeds 5
"""

ARCHITECTURES = (
    "fc",
    "vconv",
    "gconv",
    "c4gap",
    "vgg16",
    "resnet20",
    "resnet32",
    "resnet56",
    "resnet110",
)
"""Named here too, so that the help needs no PyTorch."""


def parser() -> Parser:
    """The options of the command."""
    made = Parser("compare", DESCRIPTION, EXAMPLES)
    made.config_option()
    _add_what(made)
    _add_training(made)
    _add_output(made)
    return made


def _add_what(made: Parser) -> None:
    made.section("what to compare")
    made.option(
        "--data",
        default="digits",
        help="digits; a folder of Parquet files or of class folders of images; an .npz file with "
        "x and y; or a name on the Hugging Face hub",
    )
    made.option("--arch", default="fc", help=f"one of {', '.join(ARCHITECTURES)}")
    made.option(
        "--width",
        type=int | None,
        help="channels or units of the first layer; the others "
        "scale with it (default: the architecture's own)",
    )
    made.option(
        "--batch-norm",
        type=bool | None,
        help="true or false: batch norm before every "
        "convolutional activation (default: the architecture's own)",
    )
    made.option(
        "--kinds", nargs="+", default=["dnn", "dgn", "dlgn"], help=f"any of {', '.join(KINDS)}"
    )
    made.option("--seeds", type=int, default=3, help="runs of each kind, with the seeds 0, 1, ...")
    made.option("--beta", type=float, default=4.0, help="steepness of the gates, sigmoid(beta q)")
    made.option(
        "--max-pool",
        type=str | None,
        help=f"{' or '.join(MAX_POOLING)} in place of max "
        "pooling in gated networks (default: the kind's own)",
    )
    made.section("how the data is read")
    made.option(
        "--validation",
        type=float,
        default=0.1,
        help="share of the train split to validate on, where the data has no such split",
    )
    made.option("--test", type=float, default=0.2, help="the same for the test split")
    made.option("--image-column", type=str | None, help="column of images (default: found by type)")
    made.option("--label-column", type=str | None, help="column of labels (default: found by name)")
    made.option("--subset", type=str | None, help="configuration, of data that has several")
    made.option("--cache", type=bool, default=True, help="keep decoded images on disk")


def _add_training(made: Parser) -> None:
    made.section("training")
    made.option("--epochs", type=int | None, help="default: 40, 20 or 10 by the number of examples")
    made.option("--batch-size", type=int | None, help="default: 64, or 128 from 20,000 examples on")
    made.option("--optimizer", default="adam", help=" or ".join(OPTIMIZERS))
    made.option(
        "--learning-rate",
        type=float | None,
        help="highest rate of the schedule (default: 2e-3 for adam, 5e-2 for sgd)",
    )
    made.option(
        "--schedule", default="one-cycle", help=f"one of {', '.join(SCHEDULES)}; it spans the run"
    )
    made.option("--momentum", type=float, default=0.9, help="of sgd")
    made.option("--weight-decay", type=float, default=0.0, help="L2 penalty")
    made.option("--flip", type=bool, default=False, help="true: mirror train images at random")
    made.option(
        "--crop", type=int, default=0, help="zero pixels around train images before a random cut"
    )
    made.option("--accelerator", default="auto", help="Lightning's: auto, cpu, gpu, ...")
    made.option("--devices", type=int | str, default=1, help="Lightning's: a number, or indices")
    made.option("--precision", default="32-true", help="Lightning's: 32-true, bf16-mixed, ...")


def _add_output(made: Parser) -> None:
    made.section("output")
    made.option("--out", default="runs/compare", help="folder of the runs and of report.html")
    made.option("--overwrite", type=bool, default=False, help="true: delete earlier runs in --out")


def settings(options: Any) -> ComparisonSettings:
    """The options as the comparison takes them.

    Raises:
        SettingsError: a value is refused; the message offers the nearest.
    """
    names = (
        "epochs batch_size optimizer learning_rate momentum weight_decay schedule flip crop "
        "accelerator devices precision"
    )
    return ComparisonSettings(
        data=DataSettings(
            options.data,
            options.validation,
            options.test,
            image_column=options.image_column,
            label_column=options.label_column,
            subset=options.subset,
            cache=options.cache,
        ),
        arch=options.arch,
        width=options.width,
        batch_norm=options.batch_norm,
        kinds=tuple(options.kinds),
        seeds=options.seeds,
        beta=options.beta,
        max_pool=options.max_pool,
        training=TrainSettings(**{name: options[name] for name in names.split()}),
    )


def run(options: Any) -> int:
    """Compare; print the table and where the report is."""
    return compare_and_report(settings(options), Path(options.out), overwrite=options.overwrite)


def compare_and_report(
    chosen: ComparisonSettings,
    out: Path,
    *,
    overwrite: bool = False,
    title: str = "DNN, DGN and DLGN compared",
) -> int:
    """Run a comparison with progress, print its table, write its report.

    Returns:
        Exit code: 1 if a run diverged.
    """
    from dualview.experiments.compare import compare
    from dualview.experiments.progress import TerminalProgress
    from dualview.experiments.summary import format_summary, summarise
    from dualview.report import write_report
    from dualview.training import is_main_process

    records = compare(chosen, out, overwrite=overwrite, progress=TerminalProgress())
    if not is_main_process():
        return 0
    print(f"\n{records[0].data}, {chosen.arch}\n\n{format_summary(summarise(records))}\n")
    path = write_report(records, out / "report.html", title)
    print(f"report: {path}")
    diverged = [record for record in records if record.status != "finished"]
    for record in diverged:
        print(f"{record.kind}, seed {record.seed} diverged: {record.message}", file=sys.stderr)
    return 1 if diverged else 0
