"""`reproduce`: one experiment from a request to its records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualview.arguments import file_path, flag, instance_of, offering, optional, takes
from dualview.experiments.data import load_settings
from dualview.experiments.experiment import Experiment, Request, check_options
from dualview.experiments.jobs import Job, JobsProgress, run_jobs
from dualview.experiments.records import RunRecord
from dualview.experiments.settings import DataSettings
from dualview.files.writing import write_json
from dualview.training import (
    SettingsError,
    TrainSettings,
    check_machine,
    is_main_process,
    require_lightning,
)

if TYPE_CHECKING:
    from dualview.datasets import Dataset


def _dataset(value: Any) -> Any:
    """A check as `dualview.arguments` has them: a data set. PyTorch is imported here."""
    from dualview.datasets import Dataset

    return instance_of(Dataset)(value)


DONE = "experiment.json"
"""Experiment, data and preset of a folder whose runs are all done."""


@takes(
    SettingsError,
    experiment=instance_of(Experiment),
    request=instance_of(Request),
    out=file_path,
    data=optional(_dataset),
    overwrite=flag,
    progress=optional(offering("over", "skipped", "watcher", "done")),
)
def reproduce(
    experiment: Experiment,
    request: Request,
    out: Path,
    *,
    data: Dataset | None = None,
    overwrite: bool = False,
    progress: JobsProgress | None = None,
) -> list[RunRecord]:
    """Do the experiment, or what is left of it, in the folder `out`.

    Args:
        experiment: of `registry.EXPERIMENTS`, or one of your own.
        request: what was asked for.
        out: folder of its runs; when all are done it gets `experiment.json`.
        data: use this in place of what the request names.
        overwrite: delete earlier runs of the same names first.
        progress: shows how it goes.

    Returns:
        One record for each job.

    Raises:
        SettingsError, DataError, ConversionError: what was asked for does not fit; nothing was
            trained.
        RunError: as `run_jobs`.

    >>> import tempfile
    >>> from dualview.experiments.registry import EXPERIMENTS
    >>> request = Request(arch="fc", kinds=("dlgn",), width=8, seeds=1, epochs=1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     records = reproduce(EXPERIMENTS["shallow"], request, Path(folder))
    >>> [(record.architecture, record.kind, record.status) for record in records]
    [('fc', 'dlgn', 'finished')]
    """
    check_options(experiment, request)
    require_lightning()
    check_machine(request.applied(TrainSettings()))
    if data is None and (experiment.needs_data or request.data is not None):
        data = load_settings(request.data or DataSettings(experiment.default_data))
    out = Path(out)
    jobs = experiment.plan(request, data, out)
    _check_named(experiment, jobs)
    records = run_jobs(jobs, out, overwrite=overwrite, progress=progress)
    if is_main_process():
        _note(experiment, request, data, out)
    return records


def _check_named(experiment: Experiment, jobs: Sequence[Job]) -> None:
    """Records are told apart by the experiment in their config, so that must be this one."""
    for job in jobs:
        named = job.config.get("experiment")
        if named != experiment.name:
            raise SettingsError(
                f"{experiment.name}: expected jobs whose config says experiment="
                f"{experiment.name!r}, got {named!r} of {job.folder.name}"
            )


def _note(experiment: Experiment, request: Request, data: Dataset | None, out: Path) -> None:
    """Leave in the folder what was done there, for those who collect its records."""
    name = data.description if data is not None else "no data"
    write_json(out / DONE, {"experiment": experiment.name, "data": name, "preset": request.preset})
