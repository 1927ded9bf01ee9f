"""The comparison: one architecture as DNN, DGN, DLGN, ..., some seeds each, on one data set.

Each run has a folder of its own. A comparison that was interrupted, even by `kill -9`, and is
started again with the same settings reads back the finished runs, goes on with the unfinished one
after its last completed epoch, and ends (on the CPU) with the numbers of an uninterrupted one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from dualview.datasets import Dataset, load
from dualview.experiments import run_folders
from dualview.experiments.networks import build_network, count_parameters
from dualview.experiments.records import RunRecord, load_record, provenance, save_record
from dualview.experiments.settings import ComparisonSettings
from dualview.experiments.summary import summarise
from dualview.training import (
    TrainingResult,
    TrainSettings,
    Unwatched,
    Watcher,
    check_machine,
    cpu_threads,
    is_main_process,
    require_lightning,
    train,
)
from dualview.training.files import write_json

RESULTS = "results.json"


@dataclass(frozen=True)
class Run:
    """One network to train."""

    kind: str
    seed: int
    folder: Path
    config: dict[str, Any]
    """Every option, as records keep it."""
    training: TrainSettings
    """Resolved."""
    parameters: int

    @property
    def name(self) -> str:
        """Name of the run's folder."""
        return self.folder.name


class Progress(Protocol):
    """Told how a comparison goes, run by run, in one context."""

    def over(self, runs: list[Run]) -> Any:
        """A context manager around the whole comparison."""

    def skipped(self, run: Run, record: RunRecord) -> None:
        """The run was finished by an earlier call."""

    def watcher(self, run: Run) -> Watcher:
        """The run begins; who is told of its epochs."""

    def done(self, run: Run, record: RunRecord) -> None:
        """The run finished or diverged, and its record is safe."""


class Silent:
    """No progress shown."""

    def over(self, runs: list[Run]) -> Any:
        """Nothing to set up."""
        return nullcontext()

    def skipped(self, run: Run, record: RunRecord) -> None:
        """Ignored."""

    def watcher(self, run: Run) -> Watcher:
        """Nobody."""
        return Unwatched()

    def done(self, run: Run, record: RunRecord) -> None:
        """Ignored."""


def compare(
    settings: ComparisonSettings,
    out: Path,
    *,
    data: Dataset | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
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

    Returns:
        The records, seed by seed, in the order of the kinds.

    Raises:
        SettingsError, DataError, ConversionError: an option, the data or the network is refused;
            nothing was trained.
        RunError: the folder is in use, or holds runs with other settings.
        KeyboardInterrupt: the user interrupted; call again to go on.

    >>> import tempfile
    >>> settings = ComparisonSettings(
    ...     kinds=("dnn", "dlgn"), seeds=1, width=32, training=TrainSettings(epochs=2)
    ... )
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     records = compare(settings, Path(folder))
    >>> [(record.kind, record.status, len(record.curve)) for record in records]
    [('dnn', 'finished', 2), ('dlgn', 'finished', 2)]
    """
    require_lightning()
    check_machine(settings.training)
    out, progress = Path(out), progress or Silent()
    data = data or load_data(settings)
    runs = plan(settings, out, data)
    with _held(out):
        if overwrite and is_main_process():
            for run in runs:
                run_folders.delete_run(run.folder)
        for run in runs:
            run_folders.check_folder(run.folder, run.config)
        with progress.over(runs):
            records = [_finish(run, settings, data, progress) for run in runs]
        if is_main_process():
            _write_results(records, runs, out)
    return records


def load_data(settings: ComparisonSettings) -> Dataset:
    """The data that the settings name."""
    options = settings.data
    return load(
        options.source,
        validation=options.validation,
        test=options.test,
        seed=options.split_seed,
        image_column=options.image_column,
        label_column=options.label_column,
        config=options.subset,
        cache=options.cache,
    )


def plan(settings: ComparisonSettings, out: Path, data: Dataset) -> list[Run]:
    """All runs, seed by seed.

    Builds each kind's network once, so that what cannot be built is refused before hours of
    training.
    """
    parameters = {
        kind: count_parameters(build_network(settings, kind, 0, data)) for kind in settings.kinds
    }
    fingerprint = data_fingerprint(data)
    threads = cpu_threads(settings.training)
    runs = []
    for seed in range(settings.seeds):
        training = replace(settings.seeded(seed).resolved(len(data.train)), threads=threads)
        for kind in settings.kinds:
            config = _config(settings, kind, training, data, fingerprint)
            folder = out / f"{kind}-seed{seed}"
            runs.append(Run(kind, seed, folder, config, training, parameters[kind]))
    return runs


def _config(
    settings: ComparisonSettings,
    kind: str,
    training: TrainSettings,
    data: Dataset,
    fingerprint: str,
) -> dict[str, Any]:
    """Every option that a run's numbers depend on, flat. The data's path is none of them."""
    gated = kind != "dnn"
    options = asdict(training)
    del options["tensorboard"]
    return {
        "experiment": settings.experiment,
        "data": data.description,
        "data_fingerprint": fingerprint,
        "n_train": len(data.train),
        "n_validation": len(data.validation),
        "n_test": len(data.test),
        "arch": settings.arch,
        "width": settings.width,
        "batch_norm": settings.batch_norm,
        "kind": kind,
        "beta": settings.beta if gated else None,
        "max_pool": settings.max_pool if gated else None,
        **options,
    }


def data_fingerprint(data: Dataset) -> str:
    """A short hash of all images and labels: changed data must not pass for the same."""
    digest = hashlib.blake2b(digest_size=8)
    for split in (data.train, data.validation, data.test):
        for tensor in (split.images, split.labels):
            digest.update(repr((tuple(tensor.shape), tensor.dtype)).encode())
            digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()


def _finish(run: Run, settings: ComparisonSettings, data: Dataset, progress: Progress) -> RunRecord:
    """The run's record: read back if it is done, else trained to the end."""
    path = run.folder / run_folders.RECORD
    if path.exists():
        record = load_record(path)
        if is_main_process():
            run_folders.close_folder(run.folder)
            progress.skipped(run, record)
        return record
    if is_main_process():
        run_folders.open_folder(run.folder, run.config)
    net = build_network(settings, run.kind, run.seed, data)
    result = train(net, data, run.training, run.folder, watcher=progress.watcher(run))
    record = _record(run, result)
    if is_main_process():
        save_record(record, path)
        run_folders.close_folder(run.folder)
        progress.done(run, record)
    return record


def _record(run: Run, result: TrainingResult) -> RunRecord:
    config, epochs = run.config, run.training.epochs
    assert epochs is not None
    return RunRecord(
        experiment=config["experiment"],
        data=config["data"],
        architecture=config["arch"],
        width=config["width"],
        kind=run.kind,
        seed=run.seed,
        epochs=epochs,
        status=result.status,
        message=result.message,
        test_accuracy=result.test_accuracy,
        max_test_accuracy_over_epochs=result.max_test_accuracy_over_epochs,
        n_train=config["n_train"],
        n_validation=config["n_validation"],
        n_test=config["n_test"],
        parameters=result.parameters,
        seconds=result.seconds,
        config=config,
        curve=result.curve,
        provenance=provenance(result.device),
    )


def _write_results(records: list[RunRecord], runs: list[Run], out: Path) -> None:
    rows = [asdict(row) for row in summarise(records)]
    write_json(out / RESULTS, {"summary": rows, "runs": [run.name for run in runs]})


@contextmanager
def _held(out: Path) -> Iterator[None]:
    """The folder's lock, for the main process; those that help it share it."""
    with run_folders.locked(out) if is_main_process() else nullcontext():
        yield
