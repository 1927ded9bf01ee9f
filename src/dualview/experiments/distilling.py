"""A trained network of the user's own, distilled: a job with folder, record and network."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from dualview.conversion.parameters import load_parameters
from dualview.datasets import Dataset
from dualview.errors import RunError, SavedNetworkError
from dualview.experiments.experiment import data_config
from dualview.experiments.finished import own_maker
from dualview.experiments.jobs import Job, JobsProgress, record, training_config
from dualview.experiments.records import RunRecord
from dualview.experiments.run_folders import LEFT_NETWORK
from dualview.experiments.running import run_jobs
from dualview.files.user_code import own_name
from dualview.training import TrainSettings, Watcher, on_this_machine
from dualview.training.distil_settings import DistilSettings
from dualview.training.distillation import DistilKind, distil

FIRST_BETA = 4.0


@dataclass(frozen=True)
class Distilling:
    """What is distilled, and how.

    Attributes:
        model: what makes the trained network: "mine.py:Net" or "module:factory".
        weights: file of its parameters: .safetensors, or a state dict that PyTorch saved.
        kind: "dlgn" or "dgn".
        hard: whether the network that is kept has hard gates.
        teaching: what is learnt from the trained network.
        training: how.
    """

    model: str
    weights: Path
    kind: DistilKind = "dlgn"
    hard: bool = True
    teaching: DistilSettings = field(default_factory=DistilSettings)
    training: TrainSettings = field(default_factory=TrainSettings)


def distil_own(
    settings: Distilling,
    data: Dataset,
    out: Path,
    *,
    overwrite: bool = False,
    progress: JobsProgress | None = None,
) -> RunRecord:
    """Distil a network in `out/KIND-seed0`, or go on with it; the network is left there.

    Args:
        settings: of what.
        data: to learn on.
        out: the folder; locked meanwhile.
        overwrite: delete an earlier run first.
        progress: shows how it goes.

    Returns:
        The record; "before", "soft", "hard" and "teacher" among its measurements are accuracies
        on the test split.

    Raises:
        ArchitectureError: the model cannot be made.
        ConversionError: it has no network of the kind.
        RunError, SettingsError: the folder holds another run, or a value cannot be meant.
        SavedNetworkError: the file is damaged, or not of the model.
    """
    model = _trained(settings, data)
    training = on_this_machine(replace(settings.training, seed=0).resolved(len(data.train)))
    config = {
        "experiment": "distil",
        **data_config(data),
        "arch": own_name(settings.model),
        "width": None,
        "kind": settings.kind,
        "beta": FIRST_BETA,
        "hard": settings.hard,
        "weights": _digest(settings.weights),
        **asdict(settings.teaching),
        **training_config(training),
    }
    job = Job(
        settings.kind,
        0,
        Path(out) / f"{settings.kind}-seed0",
        config,
        1.0,
        f"{settings.kind.upper()} of {own_name(settings.model)}",
        partial(_perform, settings, config, model, data, training),
        2 * sum(parameter.numel() for parameter in model.parameters()),
    )
    (found,) = run_jobs([job], Path(out), overwrite=overwrite, progress=progress)
    return found


def _perform(
    settings: Distilling,
    config: dict[str, Any],
    model: nn.Module,
    data: Dataset,
    training: TrainSettings,
    where: Path,
    watcher: Watcher,
) -> RunRecord:
    found = distil(
        model,
        data,
        settings.kind,
        folder=where,
        settings=training,
        teaching=settings.teaching,
        beta=FIRST_BETA,
        hard=settings.hard,
        watcher=watcher,
    )
    if found.result.status == "finished":
        found.network.cpu().save_pretrained(where / LEFT_NETWORK)
    return record(config, settings.kind, 0, found.result, found.accuracies)


def _trained(settings: Distilling, data: Dataset) -> nn.Module:
    """The model with its parameters, in evaluation mode."""
    make: Callable[[], nn.Module] = own_maker(settings.model, data)
    model = make().eval()
    if settings.weights.suffix == ".safetensors":
        load_parameters(model, settings.weights)
    else:
        _load_state(model, settings.weights)
    return model


def _load_state(model: nn.Module, path: Path) -> None:
    """A state dict that `torch.save` wrote; nothing but tensors is read of it."""
    import torch

    repair = "Repair: torch.save(model.state_dict(), FILE), or a .safetensors file"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise RunError(f"{path}: expected the model's parameters, got {error.strerror}") from error
    except Exception as error:  # whatever a damaged or hostile file makes the unpickler raise
        raise SavedNetworkError(
            f"{path}: expected a state dict, cannot read it as one ({type(error).__name__}). "
            f"{repair}"
        ) from error
    try:
        model.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        first = str(error).splitlines()[-1].strip()
        raise SavedNetworkError(
            f"{path}: expected the parameters of {type(model).__name__}: {first}. {repair}"
        ) from error


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
