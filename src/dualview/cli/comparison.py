"""What `compare` and `demo` share: run, show the table, write the report."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from dualview.cli.interruption import told_if_interrupted
from dualview.experiments.records import RunRecord
from dualview.experiments.selection import ALL, Sharing
from dualview.experiments.settings import ComparisonSettings
from dualview.training import is_main_process

REPORT = "report.html"
REPORT_TITLE = "DNN, DGN and DLGN compared"


def run_comparison(
    settings: ComparisonSettings,
    out: Path,
    *,
    overwrite: bool,
    again: str,
    title: str = REPORT_TITLE,
    sharing: Sharing = ALL,
) -> int:
    """Compare, print one table, write the report.

    Args:
        settings: what to compare.
        out: folder of runs and report.
        overwrite: delete earlier runs first.
        again: the command that goes on after an interruption.
        title: of the report.
        sharing: which runs, and who does them; with some of them alone there is no report.

    Returns:
        0, or 1 if no run finished.

    Raises:
        KeyboardInterrupt, Terminated: after telling how to go on.
    """
    from dualview.experiments.comparison import compare
    from dualview.experiments.progress import TerminalProgress

    with told_if_interrupted(f"finished epochs are kept. To go on: {again}"):
        records = compare(
            settings, out, overwrite=overwrite, progress=TerminalProgress(), sharing=sharing
        )
    if not is_main_process():
        return 0
    if sharing.only is not None:
        return told_of_some(records, again)
    from dualview.experiments.report import write_report  # figures take a moment

    print(result_text(records))
    report = write_report(records, out / REPORT, title)
    print(f"\nReport:  {report}\nRecords: {out}/*/record.json")
    return 0 if any(record.status == "finished" for record in records) else 1


def told_of_some(records: Sequence[RunRecord], again: str) -> int:
    """Say that these jobs are done, and how to the report; 0, or 1 if none finished."""
    finished = sum(record.status == "finished" for record in records)
    print(
        f"\n{finished} of {len(records)} jobs finished. For tables and report, when all are done: "
        f"{without_only(again)}"
    )
    return 0 if finished else 1


def without_only(command: str) -> str:
    """A command line without the choice of jobs.

    >>> without_only("dualview compare --only dnn-seed0 'dgn-*' --seeds 2 --only=dlgn-seed0")
    'dualview compare --seeds 2'
    """
    kept, skipping = [], False
    for word in shlex.split(command):
        skipping = word == "--only" or (skipping and not word.startswith("-"))
        if not skipping and not word.startswith("--only="):
            kept.append(word)
    return shlex.join(kept)


def result_text(records: Sequence[RunRecord]) -> str:
    """Heading, table, and what must be known to read it."""
    from dualview.experiments.summary import format_summary, summarise

    first = records[0]
    width = "" if first.width is None else f", width {first.width}"
    lines = [
        "",
        f"{first.data}: {first.architecture}{width}, {first.epochs} epochs, "
        f"{first.n_train:,} train and {first.n_test:,} test examples",
        "",
        format_summary(summarise(records)),
        "",
        "accuracy: on the test split after the last epoch, mean ± standard deviation over seeds",
        "recovered: accuracy divided by the DNN's, seed by seed",
    ]
    for record in records:
        if record.status == "diverged":
            lines.append(f"diverged: {record.kind}, seed {record.seed}: {record.message}")
    return "\n".join(lines)
