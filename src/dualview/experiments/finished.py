"""A finished run as a network again: with its trained parameters, its data and its record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualview.arguments import UnfitError, file_path, optional, takes
from dualview.conversion.parameters import MODEL, load_parameters
from dualview.datasets.fingerprint import data_fingerprint
from dualview.errors import RunError, SavedNetworkError
from dualview.experiments.data import load_settings
from dualview.experiments.networks import as_gated, build_network
from dualview.experiments.records import RunRecord, load_record
from dualview.experiments.run_folders import CONFIG, RECORD
from dualview.experiments.settings import KINDS, ComparisonSettings, DataSettings
from dualview.files.writing import read_json
from dualview.training import choose

if TYPE_CHECKING:
    from torch import nn

    from dualview.conversion.gated_network import GatedNetwork
    from dualview.datasets import Dataset

NETWORK = ("arch", "width", "batch_norm", "kind", "beta", "max_pool", "seed")
"""Options in a run's config that say which network it is."""


@dataclass(frozen=True)
class FinishedRun:
    """A trained network, and where it is from.

    Attributes:
        folder: of the run.
        net: in evaluation mode, on the CPU; a DNN as a gated network of kind "dnn".
        data: what it was trained on.
        record: what was measured.
    """

    folder: Path
    net: GatedNetwork
    data: Dataset
    record: RunRecord


def _data(value: Any) -> Any:
    """A check as `dualview.arguments` has them: data, or where it is."""
    from dualview.datasets import Dataset

    kinds = (Dataset, DataSettings)
    if isinstance(value, kinds) or (isinstance(value, str) and value):
        return value
    raise UnfitError("a Dataset, DataSettings, or a name or path as text")


@takes(RunError, folder=file_path, data=optional(_data))
def load_run(folder: Path | str, data: Dataset | DataSettings | str | None = None) -> FinishedRun:
    """The network that a run of `compare` or of an experiment of classifiers ended with.

    Args:
        folder: of one run, as in "runs/digits-fc/dlgn-seed0".
        data: what it was trained on, or where that is, as `dualview.datasets.load` takes it.
            Default: the digits.

    Raises:
        RunError: it is no finished run, it diverged, its files are damaged, or it was trained on
            other data.
        DataError: the data cannot be read.

    >>> import tempfile
    >>> from dualview.experiments import ComparisonSettings, compare
    >>> from dualview.training import TrainSettings
    >>> settings = ComparisonSettings(
    ...     kinds=("dlgn",), seeds=1, width=8, training=TrainSettings(epochs=1, threads=1)
    ... )
    >>> with tempfile.TemporaryDirectory() as out:
    ...     _ = compare(settings, Path(out))
    ...     run = load_run(Path(out) / "dlgn-seed0")
    >>> run.net.kind, run.record.status
    ('dlgn', 'finished')
    """
    folder = Path(folder)
    record, config = read_run(folder)
    given = {name: config[name] for name in NETWORK if config[name] is not None}
    kind, seed = given.pop("kind"), given.pop("seed")
    choose("kind", kind, KINDS)
    source = DataSettings(data) if isinstance(data, str) else data
    source = DataSettings() if source is None else source
    loaded = load_settings(source) if isinstance(source, DataSettings) else source
    settings = ComparisonSettings(kinds=(kind,), **given)
    net = build_network(settings, kind, seed, loaded, gate_order=config.get("gate_order"))
    if data_fingerprint(loaded) != config["data_fingerprint"]:
        raise RunError(
            f"{folder}: was trained on other data ({config['data']}) than {loaded.description}. "
            "Repair: give the run's own --data, --validation and --test"
        )
    _load(net, folder)
    return FinishedRun(folder, as_gated(net, loaded).eval(), loaded, record)


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that no system takes
        return False


def read_run(folder: Path) -> tuple[RunRecord, Mapping[str, Any]]:
    """Record and config of a run, if it finished.

    Raises:
        RunError: otherwise; the message names runs that lie in the folder.
    """
    for name in (RECORD, CONFIG):
        if not _is_there(folder / name):
            raise RunError(
                f"{folder}: expected the folder of a finished run, as in runs/digits-fc/dlgn-seed0,"
                f" found no {name}. Repair: give {_runs_inside(folder)}, or finish the run"
            )
    record = load_record(folder / RECORD)
    if record.status != "finished":
        raise RunError(
            f"{folder}: the run {record.status} ({record.message}), so that its predictions mean "
            f"nothing. Repair: give a run that finished"
        )
    if not (folder / MODEL).exists():
        raise RunError(
            f"{folder}: expected the folder of a finished run, found no {MODEL}. Repair: train the "
            "run again, with --overwrite"
        )
    try:
        config = read_json(folder / CONFIG)
    except (OSError, ValueError) as error:
        raise RunError(
            f"{folder / CONFIG}: expected JSON, cannot read it ({error}). Repair: train the run "
            "again, with --overwrite"
        ) from error
    missing = [name for name in (*NETWORK, "data", "data_fingerprint") if name not in config]
    if missing:
        raise RunError(
            f"{folder / CONFIG}: expected {', '.join(missing)} there, found none. Repair: give a "
            "run of `dualview compare`"
        )
    return record, config


def _runs_inside(folder: Path) -> str:
    try:
        names = sorted(path.parent.name for path in folder.glob(f"*/{RECORD}"))
    except OSError:  # a name that no system takes
        names = []
    inside = sorted(names, key=lambda name: not name.startswith("dlgn-seed"))
    return f"one of the runs in it, such as {folder / inside[0]}" if inside else "such a folder"


def _load(net: nn.Module, folder: Path) -> None:
    try:
        load_parameters(net, folder / MODEL)
    except SavedNetworkError as error:
        raise RunError(
            f"expected the parameters of the network in the run's config: {error}. Or train the "
            "run again"
        ) from error
