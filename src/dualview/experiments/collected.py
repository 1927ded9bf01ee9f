"""Records kept for good: `FOLDER/EXPERIMENT/DATA/RUN.json`, small enough to commit.

`collect` copies the records of an experiment's run folder there, `read_collected` reads them all
back, and tables and figures are made from them as from any records.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dualview.errors import RunError
from dualview.experiments.experiment import PRESETS
from dualview.experiments.records import RunRecord, load_record
from dualview.experiments.registry import EXPERIMENTS
from dualview.experiments.reproduction import DONE
from dualview.experiments.run_folders import CONFIG, RECORD
from dualview.files.writing import read_json, write_text
from dualview.training.settings import SettingsError, changed_settings

DIGITS = 6
"""Significant digits of what was measured; scores keep all of theirs."""

Collected = Mapping[str, Mapping[str, list[RunRecord]]]
"""Experiment -> folder of the data -> records, in the order of their names."""


def collect(
    run_folder: Path, results: Path, suffix: str = "", *, overwrite: bool = False
) -> list[Path]:
    """Copy the records of the runs in `run_folder` to `results`, as small JSON.

    Args:
        run_folder: the output folder of `dualview reproduce`.
        results: the folder of all collected records.
        suffix: behind the folder's name (data, and preset if it is not cpu), to keep several runs
            of one experiment apart.
        overwrite: replace records of the same name.

    Returns:
        The files written.

    Raises:
        SettingsError: the suffix is no word.
        RunError: the folder's runs are not all finished or not of one experiment, or `results`
            holds another record of the same name and `overwrite` is not set; nothing was written.
    """
    if suffix and not re.fullmatch(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*", suffix):
        raise SettingsError(
            f"suffix: expected a word of letters, digits and hyphens, got {suffix!r}. Repair: "
            f"{slug(suffix)!r}"
        )
    experiment, data = _done(Path(run_folder))
    _expect_all_finished(Path(run_folder))
    target = Path(results) / experiment / "-".join(filter(None, (data, suffix)))
    copies = {
        target / f"{source.parent.name}.json": _record_of(experiment, source)
        for source in sorted(Path(run_folder).glob(f"*/{RECORD}"))
    }
    for path, record in copies.items():
        if not overwrite:
            _expect_no_other(record, path)
    target.mkdir(parents=True, exist_ok=True)
    for path, record in copies.items():
        write_text(path, small(record))
    return list(copies)


def _done(run_folder: Path) -> tuple[str, str]:
    """Experiment of a run folder, and the name of its data's folder."""
    path = run_folder / DONE
    try:
        done = read_json(path)
        experiment, data, preset = (str(done[name]) for name in ("experiment", "data", "preset"))
    except (OSError, ValueError, KeyError) as error:
        raise RunError(
            f"{run_folder}: expected the output folder of a `dualview reproduce` that ran to its "
            f"end, with {DONE}, got {type(error).__name__}; run it again, which ends at once if "
            "all is done"
        ) from error
    if experiment != slug(experiment):
        raise RunError(f"{path}: expected the name of an experiment, got {experiment!r}")
    if preset not in PRESETS:
        raise RunError(f"{path}: expected the preset {' or '.join(PRESETS)}, got {preset!r}")
    return experiment, slug(data) + ("" if preset == "cpu" else f"-{preset}")


def _expect_all_finished(run_folder: Path) -> None:
    """What a later call began and did not end is no result yet."""
    began = sorted(path.parent for path in run_folder.glob(f"*/{CONFIG}"))
    left = [folder.name for folder in began if not (folder / RECORD).exists()]
    if left:
        raise RunError(
            f"{run_folder}: expected finished runs, got unfinished ones: {', '.join(left)}. "
            "Repair: repeat the command that began them, which goes on, or delete them"
        )


def _record_of(experiment: str, path: Path) -> RunRecord:
    """The record, which must be one of the experiment's, be it listed here or a user's own."""
    record = load_record(path)
    if record.experiment != experiment:
        raise RunError(
            f"{path}: expected a record of the experiment {experiment!r}, got one of "
            f"{record.experiment!r}"
        )
    return record


def _expect_no_other(record: RunRecord, target: Path) -> None:
    """Records are kept as evidence: another run of the same name does not replace one unasked."""
    if not target.exists() or target.read_bytes() == small(record).encode():
        return
    changes = changed_settings(load_record(target).config, record.config)
    kept = f"with other settings: {'; '.join(changes)}" if changes else "of the same settings"
    raise RunError(
        f"{target}: holds another run, {kept}. Repair: --suffix WORD, to keep both, or --overwrite"
    )


def small(record: RunRecord) -> str:
    """A record in one line, with measured values rounded to `DIGITS` digits."""
    fields = asdict(record)
    for name in ("curve", "measurements", "seconds"):
        fields[name] = _rounded(fields[name])
    return json.dumps(fields, separators=(",", ":"), allow_nan=False) + "\n"


def _rounded(value: Any) -> Any:
    """The same structure with its floats rounded."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {name: _rounded(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(inner) for inner in value]
    return value


def read_collected(results: Path) -> Collected:
    """All records under `results`: experiments as they are listed, then those of users' own.

    Raises:
        RunError: a file is no record, or one of another experiment than its folder's.
    """
    found: dict[str, dict[str, list[RunRecord]]] = {}
    for path in sorted(Path(results).glob("*/*/*.json")):
        experiment, data = path.parts[-3:-1]
        record = _record_of(experiment, path)
        found.setdefault(experiment, {}).setdefault(data, []).append(record)
    own = sorted(set(found) - set(EXPERIMENTS))
    return {name: found[name] for name in (*EXPERIMENTS, *own) if name in found}


def slug(text: str) -> str:
    """A text as the name of a folder.

    >>> slug("CIFAR-10, JPEG re-encoding")
    'cifar-10-jpeg-re-encoding'
    """
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "data"
