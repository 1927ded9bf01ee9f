"""What a training run leaves behind: frozen records, read and written as JSON.

A record holds everything a table, a figure or a report needs, so that those are made from records
alone and never from a network in memory.
"""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from dualview.arguments import file_path, said, takes
from dualview.errors import RunError
from dualview.files.json_fields import from_json
from dualview.files.writing import read_json, write_json
from dualview.training.metrics import EpochMetrics

__all__ = [
    "RECORD_VERSION",
    "EpochMetrics",
    "Provenance",
    "RunRecord",
    "load_record",
    "load_records",
    "provenance",
    "save_record",
]

RECORD_VERSION = 1
NO_COMMIT = "none: the code did not run from a checkout"
STATUS = ("finished", "diverged")
Record = TypeVar("Record")


@dataclass(frozen=True)
class Provenance:
    """Where a number comes from."""

    commit: str
    """Commit of the checkout the code ran from, `+changes` appended if it was edited; else ""."""
    dualview: str
    torch: str
    python: str
    device: str
    """For example "cpu (2 threads)" or the name of the GPU."""
    machine: str
    finished: str
    """UTC time, ISO 8601."""

    @property
    def code(self) -> str:
        """The commit in words.

        >>> Provenance("0123456789ab+changes", "0.1.0", "2.7", "3.11", "cpu", "Linux", "").code
        '0123456789ab with uncommitted changes'
        """
        return self.commit.replace("+changes", " with uncommitted changes") or NO_COMMIT


@dataclass(frozen=True)
class RunRecord:
    """One trained network: settings, score and provenance.

    `test_accuracy` (the score) is that of the last epoch. `max_test_accuracy_over_epochs` looks at
    the test set to choose the epoch; it is kept only to compare with papers that report it.
    """

    experiment: str
    data: str
    """How reports name the data, for example "digits" or "CIFAR-100, own split"."""
    architecture: str
    width: int | None
    kind: str
    """ "dnn", "dgn", "dlgn" or "dlgn-sf", with "-ones" appended for a constant-1 input."""
    seed: int
    epochs: int
    status: str
    """ "finished" or "diverged"."""
    message: str
    """Why a run diverged; empty otherwise."""
    test_accuracy: float | None
    max_test_accuracy_over_epochs: float | None
    n_train: int
    n_validation: int
    n_test: int
    parameters: int
    seconds: float
    config: dict[str, Any]
    """Every option of the run."""
    curve: tuple[EpochMetrics, ...]
    provenance: Provenance
    version: int = RECORD_VERSION
    measurements: dict[str, Any] = field(default_factory=dict)
    """What an experiment measured beside the curve: numbers, texts and lists of them, by name."""


def save_record(record: RunRecord, path: Path) -> None:
    """Write `record` as JSON; the file appears whole or not at all."""
    write_json(Path(path), asdict(record))


def load_record(path: Path) -> RunRecord:
    """Read a record written by `save_record`.

    Raises:
        RunError: the file is missing, is not a record, or was written by another version.
    """
    with record_expected(path, "a run record (record.json)", "name the folder of a finished run"):
        return _consistent(read_record(RunRecord, path, RECORD_VERSION))


def read_record(kind: type[Record], path: Path, version: int) -> Record:
    """A record of a version, from JSON.

    Raises:
        RunError: it was written by another version.
        OSError, ValueError, KeyError: there is none.
    """
    fields = read_json(Path(path))
    if fields["version"] != version:
        raise RunError(
            f"{path}: expected a record of version {version}, got version {fields['version']}; "
            f"read it with the dualview that wrote it"
        )
    return from_json(kind, fields)


@contextmanager
def record_expected(path: Path, what: str, repair: str) -> Iterator[None]:
    """What cannot be read as a record is refused by its path, with the repair."""
    try:
        yield
    except (OSError, ValueError, KeyError) as error:
        raise RunError(
            f"{path}: expected {what}, got {type(error).__name__}: {error}; {repair}"
        ) from error


def _consistent(record: RunRecord) -> RunRecord:
    """The record, if its status is one that runs have, and a trained one has its score."""
    if record.status not in STATUS:
        raise ValueError(f"status: expected {' or '.join(STATUS)}, got {record.status!r}")
    if record.status == "finished" and record.curve and record.test_accuracy is None:
        raise ValueError("test_accuracy: expected that of the last epoch, got none")
    return record


@takes(RunError, folder=file_path)
def load_records(folder: Path) -> list[RunRecord]:
    """The records of all runs in `folder`, one subfolder each, in the order of their names.

    Raises:
        RunError: no run left its record there, or one cannot be read.
    """
    try:
        paths = sorted(Path(folder).glob("*/record.json"))
    except OSError as error:
        raise RunError(
            f"{said(folder)}: expected a folder of runs, got {error.strerror}"
        ) from error
    if not paths:
        raise RunError(
            f"{folder}: expected runs that left a record (RUN/record.json), found none; name the "
            "output folder of a comparison that ran to its end"
        )
    return [load_record(path) for path in paths]


def provenance(device: str) -> Provenance:
    """The provenance of a run that has just finished on `device`."""
    from importlib.metadata import version

    return Provenance(
        commit=_commit(),
        dualview=version("dualview"),
        torch=version("torch"),
        python=platform.python_version(),
        device=device,
        machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _commit() -> str:
    """Commit of the source checkout that this file lies in, or "" outside one."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(here), *arguments], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "--short=12", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return ""
