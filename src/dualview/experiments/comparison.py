"""The comparison: one architecture as DNN, DGN, DLGN, ..., some seeds each, on one data set.

Each run is a job with a folder of its own; `jobs` says how interrupted ones go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from dualview.arguments import file_path, flag, instance_of, offering, optional, takes
from dualview.datasets import Dataset
from dualview.experiments import disk_space
from dualview.experiments.classifiers import classifier_jobs, of_kind
from dualview.experiments.data import load_settings
from dualview.experiments.jobs import Job, JobsProgress
from dualview.experiments.records import RunRecord
from dualview.experiments.running import run_jobs
from dualview.experiments.selection import ALL, Sharing
from dualview.experiments.settings import ComparisonSettings
from dualview.experiments.summary import summarise
from dualview.files.user_code import from_anywhere
from dualview.files.writing import write_json
from dualview.training import SettingsError, check_machine, is_main_process, require_lightning

RESULTS = "results.json"


@takes(
    SettingsError,
    settings=instance_of(ComparisonSettings),
    out=file_path,
    data=optional(instance_of(Dataset)),
    overwrite=flag,
    progress=optional(offering("over", "skipped", "watcher", "done")),
    sharing=instance_of(Sharing),
)
def compare(
    settings: ComparisonSettings,
    out: Path,
    *,
    data: Dataset | None = None,
    overwrite: bool = False,
    progress: JobsProgress | None = None,
    sharing: Sharing = ALL,
) -> list[RunRecord]:
    """Train every kind with every seed, or what is left of it, and record each run in its folder.

    A run that diverges is recorded as such, and the others go on.

    Args:
        settings: what to train; None entries are chosen by the size of the data.
        out: the folder of the comparison; its runs lie in `out/KIND-seedN`, the summary in
            `out/results.json`.
        data: use this in place of what `settings.data` names.
        overwrite: delete earlier runs of the same names first.
        progress: shows how it goes; see `experiments.progress.TerminalProgress`.
        sharing: which of the runs, and who does them; with `only`, `results.json` is left to a call
            for all.

    Returns:
        The records, seed by seed, in the order of the kinds.

    Raises:
        SettingsError, DataError, ConversionError: an option, the data or the network is refused;
            nothing was trained.
        RunError: the folder is in use, or holds runs with other settings.
        KeyboardInterrupt: the user interrupted; call again to go on.

    >>> import tempfile
    >>> from dualview.training import TrainSettings
    >>> settings = ComparisonSettings(
    ...     kinds=("dnn", "dlgn"), seeds=1, width=32, training=TrainSettings(epochs=2)
    ... )
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     records = compare(settings, Path(folder))
    >>> [(record.kind, record.status, len(record.curve)) for record in records]
    [('dnn', 'finished', 2), ('dlgn', 'finished', 2)]
    """
    out = Path(out)
    if sharing.scheduler is not None:
        settings = replace(settings, arch=from_anywhere(settings.arch))
    jobs = plan_comparison(settings, out, data=data)
    records = run_jobs(jobs, out, overwrite=overwrite, progress=progress, sharing=sharing)
    if is_main_process() and sharing.only is None:
        with disk_space.explained(out):
            _write_results(records, jobs, out)
    return records


@takes(
    SettingsError,
    settings=instance_of(ComparisonSettings),
    out=file_path,
    data=optional(instance_of(Dataset)),
)
def plan_comparison(
    settings: ComparisonSettings, out: Path, *, data: Dataset | None = None
) -> list[Job]:
    """The runs that `compare` would train, without training any; `outlook` says for how long.

    Args:
        settings: what to compare.
        out: folder of the comparison.
        data: use this in place of what `settings.data` names.

    Returns:
        The jobs, seed by seed, in the order of the kinds.

    Raises:
        SettingsError, DataError, ConversionError: an option, the data or the network is refused.

    >>> settings = ComparisonSettings(kinds=("dnn", "dlgn"), seeds="3-4", width=32)
    >>> [job.name for job in plan_comparison(settings, Path("runs"))]
    ['dnn-seed3', 'dlgn-seed3', 'dnn-seed4', 'dlgn-seed4']
    """
    require_lightning()
    check_machine(settings.training)
    data = load_settings(settings.data) if data is None else data
    variants = [of_kind(settings, kind, data) for kind in settings.kinds]
    return classifier_jobs(settings, variants, Path(out), data)


def _write_results(records: Sequence[RunRecord], jobs: Sequence[Job], out: Path) -> None:
    rows = [asdict(row) for row in summarise(records)]
    write_json(out / RESULTS, {"summary": rows, "runs": [job.name for job in jobs]})
