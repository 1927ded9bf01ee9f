"""`dualview reproduce NAME`: one of the papers' experiments, resumable, with tables and figures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dualview.cli.comparison import told_of_some
from dualview.cli.interruption import told_if_interrupted
from dualview.cli.options import (
    add_data_options,
    add_fields,
    add_machine_options,
    add_out,
    add_sharing_options,
    data_settings,
    gathered,
    sharing_settings,
)
from dualview.cli.outlook import outlook_text
from dualview.experiments.experiment import Experiment, Machine, Request
from dualview.experiments.records import RunRecord
from dualview.experiments.registry import EXPERIMENTS, find
from dualview.experiments.selection import ALL, Sharing
from dualview.progress import Terminal
from dualview.training import is_main_process

NAME = "reproduce"
USAGE = "dualview reproduce NAME [OPTION ...]"
HELP = "repeat one of the papers' experiments and set published numbers beside the measured ones"

DESCRIPTION = f"""\
Repeat one of the papers' experiments: train its networks, and end with tables (in the
terminal, as Markdown and as CSV), figures and a page, published numbers beside the measured
ones where there are some.

experiments, and how long the cpu preset takes on two cores:
{chr(10).join(f"  {name:<14} {own.duration}" for name, own in EXPERIMENTS.items())}

`dualview reproduce --list` says what each of them asks. NAME may be an experiment of your
own, too: a file such as mine.py with an EXPERIMENT, or module:NAME."""
EPILOG = """\
examples:
  dualview reproduce architectures
      on the built-in digits, sized for two cores
  dualview reproduce architectures --data data/cifar10
      the same preset on CIFAR-10: larger networks, fewer of them
  dualview reproduce architectures --data data/cifar10 --preset paper --precision bf16-mixed
      the papers' sizes and settings, for a GPU
  dualview reproduce shallow --arch c4gap --seeds 5 --epochs 30
      the preset, with some choices of your own
  dualview reproduce architectures --arch mine.py:make
      your own architecture, as `dualview compare --help` says
  dualview reproduce architectures --preset paper --dry-run
      its jobs, and how long they should take on this machine
  dualview reproduce architectures --scheduler processes
      a job on each core; on a dask cluster: --scheduler tcp://host:8786
  dualview reproduce mine.py
      an experiment of your own: the documentation has one, "Write an experiment"

Interrupted, by Ctrl-C or otherwise? The same command goes on after the last finished epoch."""


def add_options(parser: Any) -> None:
    """The options of this command."""
    parser.add_argument(
        "experiment",
        metavar="NAME",
        nargs="?",
        type=str | None,
        help="of the experiment, or the file of your own one",
    )
    parser.add_argument("--list", action="store_true", help="say what each experiment asks")
    group = parser.add_argument_group("size")
    add_fields(group, Request, "preset", "seeds", "epochs")
    group = parser.add_argument_group(
        "choices (not every experiment has each; one that has not says so)"
    )
    add_fields(group, Request, "arch", "width", "optimizer", "kinds")
    add_data_options(parser, {"source": "the experiment's"})
    add_machine_options(parser, {"precision": "the preset's"})
    group = parser.add_argument_group("runs")
    add_out(
        group,
        "where runs, tables, figures and the page go (default: runs/NAME-DATA, with -paper behind "
        "it for that preset)",
    )
    group.add_argument(
        "--overwrite", action="store_true", help="delete earlier runs of the same names in --out"
    )
    add_sharing_options(group)


def run(options: Any, again: str) -> int:
    """Do the experiment, or list them; `again` is the command that goes on."""
    if options.list or options.experiment is None:
        print(list_text(list(EXPERIMENTS.values())))
        return 0
    experiment = find(options.experiment)
    request = _request(options)
    out = Path(options.out) if options.out else default_folder(experiment, request)
    sharing = sharing_settings(options)
    if options.dry_run:
        print(planned_text(experiment, request, out, sharing))
        return 0
    return run_experiment(
        experiment, request, out, overwrite=options.overwrite, again=again, sharing=sharing
    )


def list_text(experiments: Sequence[Experiment]) -> str:
    """Every experiment with its question, its source and how long it takes."""
    import textwrap

    blocks = []
    for experiment in experiments:
        lines = textwrap.wrap(experiment.question, 88)
        lines += textwrap.wrap(f"Source: {experiment.source}", 88)
        lines += textwrap.wrap(f"cpu preset, two cores: {experiment.duration}", 88)
        blocks.append("\n".join([experiment.name, *(f"  {line}" for line in lines)]))
    return "\n\n".join([*blocks, "dualview reproduce NAME does one of them."])


def _request(options: Any) -> Request:
    return gathered(
        Request,
        options,
        data=None if options.data is None else data_settings(options),
        kinds=None if options.kinds is None else tuple(options.kinds),
        machine=gathered(Machine, options),
    )


def default_folder(experiment: Experiment, request: Request) -> Path:
    """Where an experiment goes that was given no folder: runs/NAME-DATA."""
    source = request.data.source if request.data else experiment.default_data
    parts = [experiment.name]
    if experiment.needs_data or request.data:
        parts.append(re.sub(r"[^\w.]+", "-", Path(source).absolute().name))
    return Path("runs") / "-".join([*parts, *(["paper"] if request.preset == "paper" else [])])


def planned_text(experiment: Experiment, request: Request, out: Path, sharing: Sharing) -> str:
    """The jobs that it is made of, and for how long."""
    from dualview.experiments.reproduction import plan_experiment

    jobs = plan_experiment(experiment, request, out)
    return outlook_text(jobs, sharing, f"{experiment.title}: jobs in {out}")


def run_experiment(
    experiment: Experiment,
    request: Request,
    out: Path,
    *,
    overwrite: bool,
    again: str,
    sharing: Sharing = ALL,
) -> int:
    """Do it, print its tables, write its files; with some of its jobs alone there are none.

    The paper preset, which takes days, says first what it will train and for how long.

    Returns:
        0, or 1 if no run finished.

    Raises:
        KeyboardInterrupt, Terminated: after telling how to go on.
    """
    from dualview.experiments.progress import TerminalProgress
    from dualview.experiments.reproduction import reproduce

    with told_if_interrupted(f"finished epochs are kept. To go on: {again}"):
        if request.preset == "paper" and is_main_process():
            Terminal().note(planned_text(experiment, request, out, sharing) + "\n")
        records = reproduce(
            experiment,
            request,
            out,
            overwrite=overwrite,
            progress=TerminalProgress(),
            sharing=sharing,
        )
    if not is_main_process():
        return 0
    if sharing.only is not None:
        return told_of_some(records, again)
    from dualview.experiments.experiment_report import write_outputs  # figures take a moment

    print(result_text(experiment, records))
    report = write_outputs(experiment, records, out)
    print(
        f"\nReport:  {report}\nTables:  {out}/tables\nFigures: {out}/figures\n"
        f"Records: {out}/*/record.json"
    )
    return 0 if any(record.status == "finished" for record in records) else 1


def result_text(experiment: Experiment, records: Sequence[RunRecord]) -> str:
    """Title, question and tables, and what diverged."""
    import textwrap

    from dualview.experiments.tables import to_text

    parts = [f"\n{experiment.title}", textwrap.fill(experiment.question, 98)]
    parts += [to_text(table) for table in experiment.tables(records)]
    diverged = [
        f"diverged: {record.architecture}, {record.kind}, seed {record.seed}: {record.message}"
        for record in records
        if record.status == "diverged"
    ]
    return "\n\n".join([*parts, *(["\n".join(diverged)] if diverged else [])])
