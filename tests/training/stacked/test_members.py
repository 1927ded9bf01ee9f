"""Properties:
- what a stack hands out is what it takes in: parameters into the networks, the optimiser's memory
  into the members, for every kind of stack and optimiser;
- a checkpoint read back gives the member again, and holds no more than its own share;
- no checkpoint leaves a member as it is;
- the mean of metrics is their mean, over members, without validation too.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim import Optimizer

from dualview.training import CHECKPOINT, METRICS, EpochMetrics
from dualview.training.feeding import feed
from dualview.training.optimisation import optimiser
from dualview.training.stacked.members import Member, hand_out, keep, mean_metrics, take_in
from dualview.training.stacked.network import FrozenGatesStack, Stack, stack
from tests.training.stacked.test_run import DATA, EXACT, KINDS

EPOCH = EpochMetrics(0, 2.0, 0.5, None, None, 4.0, 0.25, 0.1, 3.0)
OPTIONS = {
    "adam": EXACT,
    "sgd": dataclasses.replace(EXACT, optimizer="sgd", momentum=0.0),
    "momentum": dataclasses.replace(EXACT, optimizer="sgd"),
}


def member_of(net: nn.Module, folder: Path) -> Member:
    return Member(net, feed(net, DATA), EXACT, folder)


def members(kind: str, folder: Path) -> list[Member]:
    made = [member_of(KINDS[kind](seed), folder / str(seed)) for seed in range(3)]
    for member in made:
        member.folder.mkdir()
    return made


def stepped(kind: str, option: str, folder: Path) -> tuple[list[Member], Stack, Optimizer]:
    """Members, and a stack of them that was trained for two steps."""
    made = members(kind, folder)
    together = stack([member.fed.core for member in made], 16)
    opt = optimiser(OPTIONS[option], together.parameters())
    generator = torch.Generator().manual_seed(0)
    for _ in range(2):
        opt.zero_grad()
        x = torch.rand(3, 4, 16, generator=generator)
        gates = (torch.rand(3, 4, 12, generator=generator) > 0.5).to(torch.uint8)
        together(x, gates if isinstance(together, FrozenGatesStack) else None).sum().backward()
        opt.step()
    return made, together, opt


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_taken_in_is_what_was_handed_out(kind: str, option: str, tmp_path: Path) -> None:
    made, together, opt = stepped(kind, option, tmp_path)
    hand_out(together, opt, made)
    again = stack([member.fed.core for member in made], 16)
    own = optimiser(OPTIONS[option], again.parameters())
    take_in(again, own, made)
    for mine, theirs in zip(again.parameters(), together.parameters(), strict=True):
        assert torch.equal(mine, theirs)
        remembered = {n: v for n, v in opt.state[theirs].items() if v is not None}
        assert set(own.state[mine]) == set(remembered)
        for name, value in remembered.items():
            assert torch.equal(own.state[mine][name], value)


def test_checkpoint_gives_the_member_again(tmp_path: Path) -> None:
    made, together, opt = stepped("learnt", "adam", tmp_path)
    hand_out(together, opt, made)
    for member in made:
        member.curve.append(EPOCH)
    keep(made)
    numbers = sum(p.numel() for p in made[1].net.parameters())
    path = made[1].folder / CHECKPOINT
    assert path.stat().st_size < 3 * 4 * numbers + 40_000
    assert {p.name for p in made[1].folder.iterdir()} == {CHECKPOINT, METRICS}
    again = member_of(KINDS["learnt"](7), made[1].folder)
    again.resume()
    assert again.curve == [EPOCH]
    for name, value in made[1].net.state_dict().items():
        assert torch.equal(value, again.net.state_dict()[name])
    for mine, theirs in zip(again.optimiser, made[1].optimiser, strict=True):
        assert set(mine) == {"step", "exp_avg", "exp_avg_sq"}
        assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


def test_without_a_checkpoint_nothing_changes(tmp_path: Path) -> None:
    (member, *_) = members("plain", tmp_path)
    before = {name: value.clone() for name, value in member.net.state_dict().items()}
    member.resume()
    assert member.epochs_done == 0
    assert all(torch.equal(before[n], value) for n, value in member.net.state_dict().items())


def test_mean_metrics(tmp_path: Path) -> None:
    made = members("plain", tmp_path)[:2]
    made[0].curve.append(EPOCH)
    made[1].curve.append(dataclasses.replace(EPOCH, train_loss=3.0, test_accuracy=0.75))
    assert mean_metrics(made) == dataclasses.replace(EPOCH, train_loss=2.5, test_accuracy=0.5)
