"""Properties:
- a stack's curve and parameters are those of `train` on each network alone, in float64: for plain
  networks, frozen gates and learnt gates, Adam, SGD and momentum; the last batch is smaller;
- an interrupted stack goes on to the bit, also where one member was kept later than the others;
- a member that diverges drops out, and the others end as without it;
- without validation nothing of it is measured;
- what a stack cannot do is refused.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import dualview as dv
from dualview.architectures import fc
from dualview.conversion.gates import SoftGate
from dualview.errors import RunError
from dualview.experiments.npk_paper import frozen_gates
from dualview.training import CHECKPOINT, METRICS, MODEL, SettingsError, TrainSettings, train
from dualview.training.metrics import EpochMetrics
from dualview.training.stacked.run import train_stacked
from dualview.training.watcher import Unwatched
from tests.training.tiny import tiny_data

SEEDS = (0, 1, 2)
EXACT = TrainSettings(
    epochs=3,
    batch_size=16,
    learning_rate=0.01,
    schedule="one-cycle",
    precision="64-true",
    accelerator="cpu",
    threads=1,
    tensorboard=False,
)
DATA = tiny_data(n_train=40)  # two and a half batches


def plain(seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return fc(3, (1, 4, 4), width=6, depth=3)


def frozen(seed: int) -> nn.Module:
    return frozen_gates(plain(seed), seed)


def learnt(seed: int) -> nn.Module:
    return dv.disentangle(plain(seed), "dgn", gate=SoftGate(4, 0.1), seed=seed)


KINDS = {"plain": plain, "frozen": frozen, "learnt": learnt}


def stacked(
    kind: str, folder: Path, seeds: tuple[int, ...] = SEEDS, watcher: Any = None, **options: Any
) -> tuple[list[nn.Module], list[Any]]:
    nets = [KINDS[kind](seed) for seed in seeds]
    settings = [dataclasses.replace(EXACT, seed=seed, **options) for seed in seeds]
    folders = [folder / str(seed) for seed in seeds]
    return nets, train_stacked(nets, DATA, settings, folders, watcher=watcher)


def numbers(epoch: EpochMetrics) -> dict[str, Any]:
    return {name: v for name, v in dataclasses.asdict(epoch).items() if name != "seconds"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "options",
    [{}, {"optimizer": "sgd", "momentum": 0.0}, {"optimizer": "sgd", "weight_decay": 0.01}],
    ids=["adam", "sgd", "momentum"],
)
def test_stack_equals_single_runs(kind: str, options: dict[str, Any], tmp_path: Path) -> None:
    nets, results = stacked(kind, tmp_path / "stack", **options)
    for seed, net, result in zip(SEEDS, nets, results, strict=True):
        alone = KINDS[kind](seed).double()
        settings = dataclasses.replace(EXACT, seed=seed, **options)
        single = train(alone, DATA, settings, tmp_path / f"single{seed}")
        assert (result.status, result.parameters) == (single.status, single.parameters)
        for mine, theirs in zip(result.curve, single.curve, strict=True):
            # Lightning's tally is in float32
            assert numbers(mine) == pytest.approx(numbers(theirs), rel=1e-6)
        for name, value in alone.state_dict().items():
            torch.testing.assert_close(net.state_dict()[name], value, rtol=1e-10, atol=1e-12)


def test_seeds_differ(tmp_path: Path) -> None:
    _, results = stacked("plain", tmp_path)
    assert len({result.curve[-1].train_loss for result in results}) == len(SEEDS)


class Stop(Unwatched):
    """Raises at a step, counted over all epochs."""

    def __init__(self, at: int) -> None:
        self.left = at

    def stepped(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def same(one: tuple[list[nn.Module], list[Any]], other: tuple[list[nn.Module], list[Any]]) -> bool:
    curves = [
        [[numbers(epoch) for epoch in result.curve] for result in results]
        for _, results in (one, other)
    ]
    states = ([net.state_dict() for net in nets] for nets, _ in (one, other))
    equal = all(torch.equal(a[name], b[name]) for a, b in zip(*states, strict=True) for name in a)
    return curves[0] == curves[1] and equal


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", [1, 3, 5])
def test_interrupted_stack_ends_the_same(kind: str, step: int, tmp_path: Path) -> None:
    whole = stacked(kind, tmp_path / "whole", precision="32-true")
    with pytest.raises(KeyboardInterrupt):
        stacked(kind, tmp_path / "cut", watcher=Stop(step), precision="32-true")
    assert (tmp_path / "cut/0" / CHECKPOINT).exists() == (step > 3)
    assert same(stacked(kind, tmp_path / "cut", precision="32-true"), whole)


def test_members_wait_for_one_that_is_behind(tmp_path: Path) -> None:
    whole = stacked("plain", tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        stacked("plain", tmp_path / "cut", watcher=Stop(5))
    (tmp_path / "cut/1" / CHECKPOINT).unlink()
    _, results = resumed = stacked("plain", tmp_path / "cut")
    assert [len(result.curve) for result in results] == [3, 3, 3]
    for mine, theirs in zip(resumed[0], whole[0], strict=True):
        for name, value in theirs.state_dict().items():
            torch.testing.assert_close(mine.state_dict()[name], value, rtol=1e-12, atol=1e-14)


def test_finished_stack_is_read_back(tmp_path: Path) -> None:
    whole = stacked("frozen", tmp_path)
    assert all((tmp_path / str(s) / f).exists() for s in SEEDS for f in (MODEL, METRICS))
    assert same(stacked("frozen", tmp_path, watcher=Stop(1)), whole)


def test_a_stack_of_fewer_goes_on(tmp_path: Path) -> None:
    whole = stacked("learnt", tmp_path / "whole", seeds=(0,))
    with pytest.raises(KeyboardInterrupt):
        stacked("learnt", tmp_path / "cut", watcher=Stop(5))
    _, results = stacked("learnt", tmp_path / "cut", seeds=(0,))
    assert numbers(results[0].curve[-1]) == pytest.approx(numbers(whole[1][0].curve[-1]))


def test_a_member_that_diverges_drops_out(tmp_path: Path) -> None:
    settings = [dataclasses.replace(EXACT, seed=seed) for seed in SEEDS]
    folders = [tmp_path / str(seed) for seed in SEEDS]

    with pytest.raises(KeyboardInterrupt):
        train_stacked([plain(seed) for seed in SEEDS], DATA, settings, folders, watcher=Stop(4))
    path = folders[1] / CHECKPOINT
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["optimiser"][0]["exp_avg"].fill_(float("inf"))
    torch.save(checkpoint, path)
    results = train_stacked([plain(seed) for seed in SEEDS], DATA, settings, folders)
    assert [result.status for result in results] == ["finished", "diverged", "finished"]
    assert "epoch 2 of 3" in results[1].message
    assert len(results[1].curve) == 1
    assert results[1].test_accuracy is None
    assert not (folders[1] / MODEL).exists()
    _, without = stacked("plain", tmp_path / "without", seeds=(0, 2))
    for mine, theirs in zip((results[0], results[2]), without, strict=True):
        assert numbers(mine.curve[-1]) == pytest.approx(numbers(theirs.curve[-1]))


def test_without_validation_nothing_of_it_is_measured(tmp_path: Path) -> None:
    (result,) = train_stacked([plain(0)], DATA, [EXACT], [tmp_path], validate=False)
    assert {epoch.validation_loss for epoch in result.curve} == {None}
    assert all(epoch.test_loss > 0 for epoch in result.curve)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("precision", "bf16-mixed"),
        ("flip", True),
        ("crop", 2),
        ("loss", "squared"),
        ("devices", 2),
        ("decayed", "weights"),
        ("label_smoothing", 0.1),
    ],
)
def test_what_needs_single_runs_is_refused(option: str, value: Any, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=f"{option}: expected .* in one pass"):
        stacked("plain", tmp_path, **{option: value})


def test_a_foreign_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "0").mkdir()
    torch.save({"curve": []}, tmp_path / "0" / CHECKPOINT)
    with pytest.raises(RunError, match="expected a checkpoint of an interrupted run"):
        stacked("plain", tmp_path)
