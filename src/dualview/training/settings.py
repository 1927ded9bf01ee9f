"""The options of a training run: their defaults by size of data, and their checks. No torch."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from dualview.arguments import (
    Check,
    UnfitError,
    flag,
    number,
    optional,
    require,
    require_fields,
    said,
    text_value,
    whole,
)
from dualview.errors import DualviewError, did_you_mean

OPTIMIZERS = ("adam", "sgd", "rmsprop")
LOSSES = ("cross-entropy", "squared")
SCHEDULES = ("constant", "cosine", "one-cycle", "steps")
DECAYED = ("all", "weights")
AUTO = "auto"
"""The precision that suits the machine; see `TrainSettings`."""

SMALL_DATA = 5_000
LARGE_DATA = 20_000
"""Train examples from which on the defaults change."""


_WHOLE = {
    "epochs": (1, 10**6),
    "batch_size": (1, 2**31 - 1),
    "threads": (1, 1_024),
}
"""Lowest and highest value; beyond, PyTorch overflows, or asks the system for what it has not."""


class SettingsError(DualviewError, ValueError):
    """An option with a value it cannot take; the message names the nearest one where that helps."""


def _devices(value: Any) -> int | str:
    """A number of devices, or which, as Lightning takes them."""
    if isinstance(value, str):
        return text_value(value)
    try:
        found: int = whole(1)(value)
    except UnfitError as unfit:
        raise UnfitError(f"{unfit.expected}, or indices such as '0,1'") from None
    return found


def _precision(value: Any) -> str:
    """A name, or a number of bits, as Lightning takes them."""
    if isinstance(value, int) and not isinstance(value, bool) and value in (16, 32, 64):
        return str(value)
    return text_value(value)


_CHECKS: dict[str, Check] = {
    "crop": whole(0, 1_000),
    "seed": whole(0, 2**63 - 1),
    "learning_rate": optional(number(above=0)),
    "momentum": number(least=0, below=1),
    "weight_decay": number(least=0),
    "label_smoothing": number(least=0, below=1),
    "nesterov": flag,
    "flip": flag,
    "accelerator": text_value,
    "devices": _devices,
    "precision": _precision,
    "compile": flag,
    "tensorboard": flag,
}


CHOICES = "choices"
"""In the metadata of a field: all values that it can take."""

READ = "read"
"""Likewise: what a text of the command line stands for, where the field's type does not say it."""


def _one_of(default: str, choices: Collection[str]) -> Any:
    """A field that takes one of the choices."""
    return dataclasses.field(default=default, metadata={CHOICES: choices})


@dataclass(frozen=True)
class TrainSettings:
    """How to train one network.

    None stands for a default that depends on the number of train examples; `resolved` fills it in.

    The command line has an option for each but the seed and TensorBoard, which says what is said
    here.

    Attributes:
        epochs: passes over the train split. Default: 40 below 5,000 examples, 20 below 20,000,
            else 10.
        batch_size: examples in a step, over all devices together. Default: 64 below 20,000
            examples, else 128.
        loss: what training makes small: "cross-entropy", or "squared", the mean over examples and
            outputs of the squared difference from 1 at the label and 0 elsewhere; of a network with
            a single output, from -1 for the first of two classes and +1 for the second.
        optimizer: how to descend: "adam", "sgd" or "rmsprop".
        learning_rate: the schedule's highest. Default: 0.002 for adam, 0.05 for sgd, 0.001 for
            rmsprop.
        momentum: of sgd; the others do not use it.
        nesterov: let sgd look ahead along its momentum (Sutskever et al. 2013).
        weight_decay: L2 penalty, added to the gradients.
        decayed: what is penalised: "all" parameters, or "weights" alone, those of two or more axes:
            no biases and no factors of normalisation layers.
        label_smoothing: share of each label that the cross-entropy hands out evenly to all classes
            while training (Szegedy et al. 2015); losses of other splits are without it.
        schedule: how the learning rate changes over the whole run: "constant", "cosine" (down to
            0), "one-cycle" (up for 30 % of the steps, then down to almost 0) or "steps" (the recipe
            of He et al. 2015: a tenth for the first 1/160 of the steps, full to half of them, then
            a tenth, and a hundredth after three quarters).
        flip: mirror train images left to right at random.
        crop: zero pixels around train images before a random cut of the original size.
        seed: of order, augmentation and dropout.
        accelerator: "cpu", "gpu", "mps", ..., as Lightning takes it; "auto" takes a GPU if there is
            one.
        devices: how many of them train together, or which, as in "0,1"; they share the batch out.
        precision: "32-true", "64-true", "bf16-mixed", "16-mixed", ..., as Lightning takes it; or
            "auto": "bf16-mixed" where the machine multiplies bfloat16 numbers (GPUs, and processors
            with avx512_bf16 or AMX), which takes about half the time there, else "32-true".
            Parameters are float32 either way, and what is asked of a trained network (kernels,
            paths, filters, explanations) is computed in float32.
        compile: let torch.compile make kernels for the network: minutes at first, which pay on a
            GPU in long runs.
        threads: CPU threads of PyTorch; small networks train fastest with 1, and more are slow
            where other processes want the cores. Default: as they are.
        tensorboard: also log to TensorBoard, where it is installed.
    """

    epochs: int | None = None
    batch_size: int | None = None
    loss: str = _one_of("cross-entropy", LOSSES)
    optimizer: str = _one_of("adam", OPTIMIZERS)
    learning_rate: float | None = None
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0
    decayed: str = _one_of("all", DECAYED)
    label_smoothing: float = 0.0
    schedule: str = _one_of("one-cycle", SCHEDULES)
    flip: bool = False
    crop: int = 0
    seed: int = 0
    accelerator: str = "auto"
    devices: int | str = 1
    precision: str = "32-true"
    compile: bool = False
    threads: int | None = None
    tensorboard: bool = True

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        require_fields(self, SettingsError, **_CHECKS)
        for field in dataclasses.fields(self):
            if CHOICES in field.metadata:
                choose(field.name, getattr(self, field.name), field.metadata[CHOICES])
        if isinstance(self.devices, int):
            at_most("devices", self.devices, 1024)
        for name, (lowest, highest) in _WHOLE.items():
            at_least(name, getattr(self, name), lowest)
            at_most(name, getattr(self, name), highest)
        self._expect_that_they_go_together()

    def _expect_that_they_go_together(self) -> None:
        if self.label_smoothing and self.loss != "cross-entropy":
            raise SettingsError(
                f"label_smoothing: expected 0 with the loss {self.loss!r}, got "
                f"{self.label_smoothing}; it belongs to the cross-entropy"
            )
        if self.nesterov and (self.optimizer != "sgd" or self.momentum == 0):
            raise SettingsError(
                f"nesterov: expected the optimizer 'sgd' with momentum, got {self.optimizer!r} "
                f"with momentum {self.momentum}"
            )

    def resolved(self, n_train: int) -> TrainSettings:
        """The same settings with every None filled in for `n_train` examples.

        >>> TrainSettings(epochs=3).resolved(50_000).batch_size
        128
        """
        n_train = require("n_train", n_train, whole(0), SettingsError)
        rates = {"adam": 2e-3, "sgd": 5e-2, "rmsprop": 1e-3}
        epochs = 40 if n_train < SMALL_DATA else 20 if n_train < LARGE_DATA else 10
        return dataclasses.replace(
            self,
            epochs=self.epochs or epochs,
            batch_size=self.batch_size or (64 if n_train < LARGE_DATA else 128),
            learning_rate=self.learning_rate or rates[self.optimizer],
        )


def choose(name: str, value: str, choices: Collection[str]) -> str:
    """`value` if it is among the choices.

    Raises:
        SettingsError: it is not; the message lists the choices and the nearest.

    >>> choose("optimizer", "adm", OPTIMIZERS)
    Traceback (most recent call last):
    ...
    dualview.training.settings.SettingsError: optimizer: expected one of adam, sgd, rmsprop, got \
'adm'; did you mean 'adam'?
    """
    if isinstance(value, str) and value in choices:
        return value
    raise SettingsError(
        f"{name}: expected one of {', '.join(choices)}, got {said(value)}"
        f"{did_you_mean(value, choices)}"
    )


def at_least(name: str, value: int | None, lowest: int) -> None:
    """Refuse a value that is no whole number or too small; None passes."""
    if value is not None:
        require(name, value, whole(lowest, math.inf), SettingsError)


def at_most(name: str, value: int | None, highest: int) -> None:
    """Refuse a whole number that is too large; None passes."""
    if value is not None and value > highest:
        got = f"{value:,}" if value < 10**40 else said(value)
        raise SettingsError(f"{name}: expected {highest:,} at most, got {got}")


def positive(name: str, value: float) -> None:
    """Refuse a value that is not a finite number above 0."""
    require(name, value, number(above=0), SettingsError)


def changed_settings(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What changed from some settings to others, as phrases; empty if nothing did.

    >>> changed_settings({"epochs": 3, "seed": 0}, {"epochs": 4, "seed": 0})
    ['epochs was 3, is now 4']
    >>> changed_settings({"width": 4}, {"width": None})
    ['width was 4, is now the default']
    """
    names = [*earlier, *(name for name in now if name not in earlier)]
    return [
        f"{name} was {_shown(earlier, name)}, is now {_shown(now, name)}"
        for name in names
        if name not in earlier or name not in now or earlier[name] != now[name]
    ]


def _shown(config: Mapping[str, Any], name: str) -> str:
    if name not in config:
        return "not set"
    return "the default" if config[name] is None else json.dumps(config[name])
