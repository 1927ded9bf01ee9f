"""`reproduce`: one experiment from a request to its records."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dualview.arguments import file_path, flag, instance_of, offering, optional, takes
from dualview.datasets import Dataset
from dualview.experiments.data import load_settings
from dualview.experiments.experiment import Experiment, Request, check_options
from dualview.experiments.jobs import Job, JobsProgress
from dualview.experiments.records import RunRecord
from dualview.experiments.running import run_jobs
from dualview.experiments.selection import ALL, Sharing
from dualview.experiments.settings import DataSettings
from dualview.files.user_code import from_anywhere
from dualview.files.writing import write_json
from dualview.training import (
    SettingsError,
    TrainSettings,
    check_machine,
    is_main_process,
    require_lightning,
)

DONE = "experiment.json"
"""Experiment, data and preset of a folder whose runs, all or those named by `only`, are done."""


@takes(
    SettingsError,
    experiment=instance_of(Experiment),
    request=instance_of(Request),
    out=file_path,
    data=optional(instance_of(Dataset)),
    overwrite=flag,
    progress=optional(offering("over", "skipped", "watcher", "done")),
    sharing=instance_of(Sharing),
)
def reproduce(
    experiment: Experiment,
    request: Request,
    out: Path,
    *,
    data: Dataset | None = None,
    overwrite: bool = False,
    progress: JobsProgress | None = None,
    sharing: Sharing = ALL,
) -> list[RunRecord]:
    """Do the experiment, or what is left of it, in the folder `out`.

    Args:
        experiment: of `registry.EXPERIMENTS`, or one of your own.
        request: what was asked for.
        out: folder of its runs; when those asked for are done it gets `experiment.json`.
        data: use this in place of what the request names.
        overwrite: delete earlier runs of the same names first.
        progress: shows how it goes.
        sharing: which of the jobs, and who does them.

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
    out, data = Path(out), data_of(experiment, request, data)
    if sharing.scheduler is not None and request.arch is not None:
        request = replace(request, arch=from_anywhere(request.arch))
    jobs = _planned(experiment, request, data, out)
    records = run_jobs(jobs, out, overwrite=overwrite, progress=progress, sharing=sharing)
    if is_main_process():
        _note(experiment, request, data, out)
    return records


@takes(
    SettingsError,
    experiment=instance_of(Experiment),
    request=instance_of(Request),
    out=file_path,
    data=optional(instance_of(Dataset)),
)
def plan_experiment(
    experiment: Experiment, request: Request, out: Path, *, data: Dataset | None = None
) -> list[Job]:
    """The jobs that `reproduce` would do, without doing any; `outlook` says for how long.

    Args:
        experiment: of `registry.EXPERIMENTS`, or one of your own.
        request: what is asked for.
        out: folder of its runs.
        data: use this in place of what the request names.

    Returns:
        The jobs, in their order; one that reads the files of others `needs` them.

    Raises:
        SettingsError, DataError, ConversionError: what is asked for does not fit.

    >>> from dualview.experiments.registry import EXPERIMENTS
    >>> request = Request(arch="fc", kinds=("dlgn-copied",), width=8, seeds=1, epochs=1)
    >>> jobs = plan_experiment(EXPERIMENTS["distillation"], request, Path("runs"))
    >>> [(job.name, job.needs) for job in jobs]
    [('fc-dnn-seed0', ()), ('fc-dlgn-copied-seed0', ('fc-dnn-seed0',))]
    """
    return _planned(experiment, request, data_of(experiment, request, data), Path(out))


def data_of(
    experiment: Experiment, request: Request, data: Dataset | None = None
) -> Dataset | None:
    """What is trained on; what can be refused without it is refused first."""
    check_options(experiment, request)
    require_lightning()
    check_machine(request.applied(TrainSettings()))
    if data is None and (experiment.needs_data or request.data is not None):
        return load_settings(request.data or DataSettings(experiment.default_data))
    return data


def _planned(
    experiment: Experiment, request: Request, data: Dataset | None, out: Path
) -> list[Job]:
    """The jobs; records are told apart by the experiment in their config: it must be this one."""
    jobs = experiment.plan(request, data, out)
    for job in jobs:
        named = job.config.get("experiment")
        if named != experiment.name:
            raise SettingsError(
                f"{experiment.name}: expected jobs whose config says experiment="
                f"{experiment.name!r}, got {named!r} of {job.folder.name}"
            )
    return jobs


def _note(experiment: Experiment, request: Request, data: Dataset | None, out: Path) -> None:
    """Leave in the folder what was done there, for those who collect its records."""
    name = data.description if data is not None else "no data"
    write_json(out / DONE, {"experiment": experiment.name, "data": name, "preset": request.preset})
