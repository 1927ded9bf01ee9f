"""A comparison small enough for tests: digits, a narrow network, few epochs."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

from safetensors.torch import load_file

from dualview.experiments.records import RunRecord
from dualview.experiments.settings import ComparisonSettings
from dualview.training import TrainSettings

TRAINING = TrainSettings(epochs=4, batch_size=256, tensorboard=False)
SMALL = ComparisonSettings(kinds=("dnn", "dlgn-ones"), seeds=1, width=12, training=TRAINING)

FLAGS = [
    "--kinds",
    "dnn",
    "dlgn-ones",
    "--seeds",
    "1",
    "--width",
    "12",
    "--epochs",
    "4",
    "--batch-size",
    "256",
    "--data",
    "digits",
]
"""`SMALL` as the command line takes it."""


def trained(**changes: object) -> ComparisonSettings:
    """`SMALL` with other training settings."""
    return replace(SMALL, training=replace(TRAINING, **changes))


def numbers(record: RunRecord) -> tuple:
    """All that must not depend on interruptions: the curve without its times."""
    curve = tuple({k: v for k, v in asdict(e).items() if k != "seconds"} for e in record.curve)
    return record.status, record.test_accuracy, record.max_test_accuracy_over_epochs, curve


def parameters(folder: Path) -> dict:
    """The trained parameters of a run, as bytes."""
    tensors = load_file(folder / "model.safetensors")
    return {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}
