"""What holds for all that resume: `train`, `train_stacked` and the spectrum's regression.

1. A checkpoint with any of its bytes altered is refused by name, or the run ends in the numbers of
   an uninterrupted one; so is one that is cut short.
2. A checkpoint of another run is refused, and the message says what differs: another network, also
   one of the same shapes, other data, another option, another trainer. The file stays.
3. More epochs at a constant rate go on from fewer, and fewer do not pass for more.
4. A link or a pipe in a checkpoint's place is refused, at once.
"""

from __future__ import annotations

import dataclasses
import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from dualview.architectures import fc
from dualview.errors import RunError
from dualview.experiments.spectrum.networks import function_network
from dualview.experiments.spectrum.regression import Fit, fit
from dualview.training import CHECKPOINT, TrainSettings, Unwatched, train
from dualview.training.stacked.run import train_stacked
from tests.training.tiny import tiny_data

SETTINGS = TrainSettings(
    epochs=2, batch_size=20, learning_rate=0.01, accelerator="cpu", threads=1, tensorboard=False
)
TASK = Fit(1, (1, 3), 10, epochs=3, batch_size=8, learning_rate=0.01, seed=2, threads=1)


class _Stop(Unwatched):
    """Ends a run at a step."""

    def __init__(self, at: int) -> None:
        self.left = at

    def stepped(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def _train(folder: Path, watcher: Any, net: nn.Module, data: Any, **options: Any) -> object:
    settings = dataclasses.replace(SETTINGS, **options)
    result = train(net, data, settings, folder, watcher=watcher)
    return [dataclasses.replace(epoch, seconds=0) for epoch in result.curve]


def _stacked(folder: Path, watcher: Any, net: nn.Module, data: Any, **options: Any) -> object:
    settings = dataclasses.replace(SETTINGS, **options)
    (result,) = train_stacked([net], data, [settings], [folder], watcher=watcher)
    return [dataclasses.replace(epoch, seconds=0) for epoch in result.curve]


def _fit(folder: Path, watcher: Any, net: nn.Module, data: Any, **options: Any) -> object:
    folder.mkdir(parents=True, exist_ok=True)
    parameters, course = fit(net, dataclasses.replace(TASK, **options), folder, watcher)
    return {name: p.tolist() for name, p in parameters.items()}, course.test_mse


@dataclass(frozen=True)
class Trainer:
    run: Callable[..., object]
    net: Callable[[], nn.Module]
    others: tuple[Callable[[], nn.Module], ...]
    """Networks of other structure, some of the same shapes."""
    data: Any = None
    other_data: Any = None

    def __call__(self, folder: Path, stop: int = 0, **changes: Any) -> object:
        torch.manual_seed(0)
        net, data = changes.pop("net", self.net)(), changes.pop("data", self.data)
        return self.run(folder, _Stop(stop), net, data, **changes)

    def interrupted(self, folder: Path) -> bytes:
        """The checkpoint of a run that lacks its last epoch."""
        with pytest.raises(KeyboardInterrupt):
            self(folder, stop=3)
        return (folder / CHECKPOINT).read_bytes()


def _fc(**options: Any) -> nn.Module:
    return fc(3, (1, 4, 4), **{"width": 6, "depth": 3, **options})


def _plain(activation: Callable[[], nn.Module], width: int = 5) -> nn.Module:
    layers = (nn.Flatten(), nn.Linear(16, width), activation(), nn.Linear(width, 3))
    return nn.Sequential(*layers)


def _function(kind: str, **options: Any) -> nn.Module:
    return function_network(
        kind, 0, **{"dimension": 1, "width": 5, "depth": 3, "beta": 4.0} | options
    )


DATA, OTHER = tiny_data(), tiny_data(seed=1)
TRAINERS = {
    "train": Trainer(
        _train,
        lambda: _plain(nn.ReLU),
        (lambda: _plain(nn.Tanh), lambda: _plain(nn.ReLU, 6), lambda: _plain(nn.LeakyReLU)),
        DATA,
        OTHER,
    ),
    "train_stacked": Trainer(_stacked, _fc, (lambda: _fc(width=7),), DATA, OTHER),
    "fit": Trainer(
        _fit,
        lambda: _function("dlgn"),
        (lambda: _function("dgn"), lambda: _function("dlgn", beta=2.0)),
    ),
}


@pytest.fixture(params=TRAINERS)
def trainer(request: pytest.FixtureRequest) -> Trainer:
    return TRAINERS[request.param]


def test_goes_on(trainer: Trainer, tmp_path: Path) -> None:
    trainer.interrupted(tmp_path / "cut")
    assert trainer(tmp_path / "cut") == trainer(tmp_path / "whole")


def _flipped(content: bytes, where: random.Random) -> bytes:
    altered = bytearray(content)
    altered[where.randrange(len(content))] ^= 1 << where.randrange(8)
    return bytes(altered)


def test_a_flipped_bit_is_refused_or_harmless(trainer: Trainer, tmp_path: Path) -> None:
    content, refused = trainer.interrupted(tmp_path / "cut"), 0
    whole, where = trainer(tmp_path / "whole"), random.Random(0)
    path = tmp_path / "cut" / CHECKPOINT
    for n in range(30):
        cut = content[: where.randrange(len(content))]
        path.write_bytes(cut if n < 5 else _flipped(content, where))
        try:
            ended, message = trainer(tmp_path / "cut"), ""
        except RunError as error:
            ended, message = whole, str(error)
        assert ended == whole
        if message:
            assert message.startswith(f"{path}: expected a checkpoint")
            assert "Repair: delete the file" in message
            refused += 1
    assert refused >= 15


def _refused(trainer: Trainer, folder: Path, match: str, **changes: Any) -> None:
    before = (folder / CHECKPOINT).read_bytes()
    with pytest.raises(RunError, match=match):
        trainer(folder, **changes)
    assert (folder / CHECKPOINT).read_bytes() == before


def test_another_networks_checkpoint_is_refused(trainer: Trainer, tmp_path: Path) -> None:
    trainer.interrupted(tmp_path)
    for other in trainer.others:
        _refused(trainer, tmp_path, "one of another: network was .*, is now", net=other)


def test_another_runs_checkpoint_is_refused(trainer: Trainer, tmp_path: Path) -> None:
    trainer.interrupted(tmp_path)
    rate = "learning_rate was 0.01, is now 0.02. Repair: train as then, or in another folder"
    _refused(trainer, tmp_path, rate, learning_rate=0.02)
    _refused(trainer, tmp_path, "seed was", seed=7)
    _refused(trainer, tmp_path, "epochs was", epochs=9)
    if trainer.data:
        _refused(trainer, tmp_path, "data was", data=trainer.other_data)
        unnormalised = dataclasses.replace(trainer.data, mean=(0.0,))
        _refused(trainer, tmp_path, "mean was", data=unnormalised)


def test_another_trainers_checkpoint_is_refused(tmp_path: Path) -> None:
    for name, trainer in TRAINERS.items():
        for other in TRAINERS:
            trainer.interrupted(tmp_path / name / other)
            if other != name:
                _refused(TRAINERS[other], tmp_path / name / other, f"trainer was .{name}.")


@pytest.mark.parametrize("name", ["train", "train_stacked"])
def test_a_longer_run_at_a_constant_rate_goes_on(name: str, tmp_path: Path) -> None:
    trainer = TRAINERS[name]
    trainer(tmp_path / "a", schedule="constant")
    longer = trainer(tmp_path / "a", schedule="constant", epochs=3)
    assert longer == trainer(tmp_path / "b", schedule="constant", epochs=3)
    _refused(trainer, tmp_path / "a", "at most the 2 epochs .* got 3", schedule="constant")


def test_what_is_no_file_is_refused(trainer: Trainer, tmp_path: Path) -> None:
    content = trainer.interrupted(tmp_path)
    path = tmp_path / CHECKPOINT
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(RunError, match="a link, folder or device"):
        trainer(tmp_path)
    path.unlink()
    (tmp_path / "outside").write_bytes(content)
    path.symlink_to(tmp_path / "outside")
    with pytest.raises(RunError, match="a link, folder or device"):
        trainer(tmp_path)
