"""A finished run as a network again: with its trained parameters, its data and its record."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from dualview.architectures.own import make, own_model
from dualview.arguments import UnfitError, file_path, optional, require, takes, whole
from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.parameters import MODEL, load_parameters
from dualview.conversion.sharing.loading import config_in, load_described
from dualview.datasets import Dataset
from dualview.datasets.fingerprint import data_fingerprint
from dualview.errors import RunError, SavedNetworkError
from dualview.experiments.classifiers import STRUCTURE
from dualview.experiments.data import enlarged, load_settings
from dualview.experiments.networks import Maker, as_gated, build_network, structure_digest
from dualview.experiments.records import RunRecord, load_record
from dualview.experiments.run_folders import CONFIG, RECORD
from dualview.experiments.settings import ENLARGED, KINDS, ComparisonSettings, DataSettings
from dualview.files.user_code import is_place
from dualview.files.writing import read_json
from dualview.training import choose

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


@dataclass(frozen=True)
class TrainedNetwork:
    """A trained network from any folder that holds one.

    Attributes:
        folder: where it is.
        net: in evaluation mode, on the CPU; a plain module as a gated network of kind "dnn".
        data: what it is asked about.
        run: what is known of its training, where the folder is a run's.
    """

    folder: Path
    net: GatedNetwork
    data: Dataset
    run: FinishedRun | None = None


def _data(value: Any) -> Any:
    """A check as `dualview.arguments` has them: data, or where it is."""
    if isinstance(value, Dataset | DataSettings) or (isinstance(value, str) and value):
        return value
    raise UnfitError("a Dataset, DataSettings, or a name or path as text")


def _model(value: Any) -> Any:
    """Likewise: where a factory is, or a factory."""
    if callable(value) or (isinstance(value, str) and is_place(value)):
        return value
    raise UnfitError("a factory, a network, or where a factory is, as in 'mine.py:make'")


Own = str | nn.Module | Callable[..., nn.Module]
"""A model of the user's own: "mine.py:make", a factory, or such a network."""


@takes(RunError, folder=file_path, data=optional(_data), model=optional(_model))
def load_run(
    folder: Path | str,
    data: Dataset | DataSettings | str | None = None,
    *,
    model: Own | None = None,
) -> FinishedRun:
    """The network that a run of `compare` or of an experiment of classifiers ended with.

    Args:
        folder: of one run, as in "runs/digits-fc/dlgn-seed0".
        data: what it was trained on, or where that is, as `dualview.datasets.load` takes it.
            Default: the digits.
        model: of a run of an architecture of your own, what makes that: "mine.py:make" as it was
            named for the run, the factory, or such a network. What a run says of its making
            imports nothing.

    Raises:
        RunError: it is no finished run, it diverged, its files are damaged, or it was trained on
            other data; or it is of an architecture of your own, and no model or another is given.
        ArchitectureError: the model cannot be made.
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
    loaded = _data_of(folder, config, _loaded(data))
    settings = ComparisonSettings(kinds=(kind,), **given)
    maker = _own_maker(folder, settings, loaded, model)
    order = config.get("gate_order")
    net = build_network(settings, kind, seed, loaded, gate_order=order, maker=maker)
    if maker and structure_digest(net, loaded) != config.get(STRUCTURE):
        raise RunError(
            f"{folder}: the model given is another one than the run's, {settings.arch}: an "
            f"operation, an option or a shape differs. Repair: give the one that was trained, as "
            f"it was then"
        )
    _load(net, folder)
    return FinishedRun(folder, as_gated(net, loaded).eval(), loaded, record)


def _data_of(folder: Path, config: Mapping[str, Any], loaded: Dataset) -> Dataset:
    """The data as the run saw it, enlarged where that was; other data is refused."""
    factor = config.get(ENLARGED, 1)
    if factor != 1:
        name = f"{folder / CONFIG}: {ENLARGED}"
        loaded = enlarged(loaded, require(name, factor, whole(1, 64), RunError))
    if data_fingerprint(loaded) != config["data_fingerprint"]:
        raise RunError(
            f"{folder}: was trained on other data ({config['data']}) than {loaded.description}. "
            "Repair: give the run's own --data, --validation and --test"
        )
    return loaded


@takes(RunError, folder=file_path, data=optional(_data), model=optional(_model))
def load_network(
    folder: Path | str,
    data: Dataset | DataSettings | str | None = None,
    *,
    model: Own | None = None,
) -> TrainedNetwork:
    """The network in a folder: of a finished run, or one that `save_pretrained` or `train` wrote.

    Args:
        folder: of one of them.
        data: as `load_run` takes it. Only a run knows what it was trained on.
        model: as `load_run` takes it, wherever the network was made of a model of your own. A plain
            module that `train` trained is taken apart as a "dnn", behind the transform that
            standardises the data.

    Raises:
        RunError: as `load_run`, or there is no network in the folder.
        SavedNetworkError: its files are damaged, or are not the model's.
        ArchitectureError: the model cannot be made.
        DataError: the data cannot be read.

    >>> import tempfile, dualview as dv
    >>> from dualview.architectures import fc
    >>> net = dv.disentangle(fc(10, (1, 8, 8), width=8, depth=3), "dlgn", seed=0)
    >>> with tempfile.TemporaryDirectory() as place:
    ...     net.save_pretrained(place)
    ...     load_network(place).net.kind
    'dlgn'
    """
    folder = Path(folder)
    saved = folder / MODEL
    if _is_there(folder / RECORD) or not _is_there(saved):
        run = load_run(folder, data, model=model)
        return TrainedNetwork(folder, run.net, run.data, run)
    loaded = _loaded(data)
    made = None if model is None else own_maker(model, loaded)()
    config = config_in(folder)
    if config is None:
        net = _plain(folder, loaded, made)
    elif made is None and config.recipe.architecture is None:
        raise _needs_model(folder, f"made of a model of the class {config.recipe.model!r}")
    else:
        if made is not None and config.recipe.architecture is not None:
            made = None  # one of ours needs none
        net = load_described(folder, config, made)
    return TrainedNetwork(folder, net.cpu().eval(), loaded)


def _loaded(data: Dataset | DataSettings | str | None) -> Dataset:
    source = DataSettings(data) if isinstance(data, str) else data
    source = DataSettings() if source is None else source
    return load_settings(source) if isinstance(source, DataSettings) else source


def _needs_model(folder: Path, what: str, repair: str = "--model mine.py:Net") -> RunError:
    return RunError(
        f"{folder}: the network is {what}, and files never bring code. Repair: name what makes "
        f"it, {repair} (in Python model=...)"
    )


def _plain(folder: Path, data: Dataset, model: nn.Module | None) -> GatedNetwork:
    """A module that `train` trained, which says nothing of itself."""
    if model is None:
        raise _needs_model(folder, "a plain module that says nothing of its making")
    load_parameters(model, folder / MODEL)
    return as_gated(model, data)


def _own_maker(
    folder: Path, settings: ComparisonSettings, data: Dataset, model: Own | None
) -> Maker | None:
    """What makes the run's architecture where that is the user's own; None for one of ours."""
    if not is_place(settings.arch):
        if model is None:
            return None
        raise RunError(
            f"{folder}: expected no model of your own, since the run is of the architecture "
            f"{settings.arch!r}. Repair: leave --model out"
        )
    if model is None:
        own = settings.arch
        raise _needs_model(folder, f"of the architecture {own!r} of your own", f"--model {own}")
    return own_maker(model, data, settings)


def own_maker(model: Own, data: Dataset, settings: ComparisonSettings | None = None) -> Maker:
    """What makes a model of the user's own for the data, of the settings' width if there are any.

    Raises:
        ArchitectureError: when called, or if there is no such factory.
    """
    if isinstance(model, nn.Module):
        return lambda: copy.deepcopy(model)
    options: dict[str, Any] = {}
    if settings:
        options = {"width": settings.width, "batch_norm": settings.batch_norm}
    if isinstance(model, str):
        return partial(own_model, model, data.n_classes, data.input_shape, **options)
    asked = {name: value for name, value in options.items() if value is not None}
    given = {"num_classes": data.n_classes, "input_shape": data.input_shape, **asked}
    return partial(make, model, getattr(model, "__name__", "model"), given)


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
