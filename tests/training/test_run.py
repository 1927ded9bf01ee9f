"""Training one network.

- Interrupted after any epoch or within one, and called again, it ends in the numbers, parameters
  and buffers of an uninterrupted run, bit for bit, dropout and augmentation included.
- The same seed gives the same numbers; another seed others; PyTorch's random state, thread count
  and the handling of Ctrl-C are as before.
- A loss that is not finite ends the run as "diverged", with the epochs before it.
- The folder holds what the docstring says; the saved parameters are those of the network.
- Options that Lightning cannot serve here are refused; a missing Lightning is named.
"""

import importlib.util
import math
import signal
import threading
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_model

from dualview.errors import MissingExtraError, RunError
from dualview.training import (
    SettingsError,
    check_machine,
    cpu_threads,
    is_main_process,
    require_lightning,
    train,
)
from tests.training.small_runs import QUICK, StopAfter, content, network, striped_data, timeless

DATA = striped_data()
AUGMENTED = replace(QUICK, crop=1, flip=True)


def state(net):
    return {name: value.numpy().tobytes() for name, value in net.state_dict().items()}


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("stop", [{"epochs": 1}, {"epochs": 3}, {"epochs": 4}, {"steps": 12}])
def test_interrupted_and_resumed(stop, optimizer, tmp_path):
    settings = replace(AUGMENTED, optimizer=optimizer)
    whole, pieces = network(), network()
    expected = train(whole, DATA, settings, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(pieces, DATA, settings, tmp_path / "pieces", watcher=StopAfter(**stop))
    resumed = network(seed=7)  # the checkpoint, not the network given, says how to go on
    result = train(resumed, DATA, settings, tmp_path / "pieces")
    assert timeless(result.curve) == timeless(expected.curve)
    assert len(result.curve) == 4
    assert state(resumed) == state(whole)
    models = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "pieces")]
    assert models[0] == models[1]


def test_interrupted_twice(tmp_path):
    whole = network()
    expected = train(whole, DATA, AUGMENTED, tmp_path / "whole")
    for epochs in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            train(network(), DATA, AUGMENTED, tmp_path / "pieces", watcher=StopAfter(epochs=epochs))
    net = network()
    result = train(net, DATA, AUGMENTED, tmp_path / "pieces")
    assert timeless(result.curve) == timeless(expected.curve)
    assert state(net) == state(whole)


def test_interrupted_before_the_first_checkpoint(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(network(), DATA, QUICK, tmp_path, watcher=StopAfter(steps=2))
    assert "last.ckpt" not in content(tmp_path)
    result = train(network(), DATA, QUICK, tmp_path)
    assert timeless(result.curve) == timeless(train(network(), DATA, QUICK, tmp_path / "b").curve)


def test_seed_decides_all(tmp_path):
    torch.manual_seed(3)
    first = train(network(), DATA, QUICK, tmp_path / "a")
    torch.manual_seed(4)  # nothing that comes from outside may matter
    second = train(network(), DATA, QUICK, tmp_path / "b")
    other = train(network(), DATA, replace(QUICK, seed=1), tmp_path / "c")
    assert timeless(first.curve) == timeless(second.curve)
    assert timeless(first.curve) != timeless(other.curve)


def test_process_is_left_as_it_was(tmp_path):
    before = torch.get_rng_state(), torch.get_num_threads(), signal.getsignal(signal.SIGINT)
    threads = torch.get_num_threads() + 1
    result = train(network(), DATA, replace(QUICK, epochs=1, threads=threads), tmp_path)
    assert result.device == f"cpu ({threads} threads)"
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (torch.get_num_threads(), signal.getsignal(signal.SIGINT)) == before[1:]


def test_process_is_left_as_it_was_when_interrupted(tmp_path):
    before = torch.get_rng_state(), signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(network(), DATA, QUICK, tmp_path, watcher=StopAfter(steps=7))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert signal.getsignal(signal.SIGINT) == before[1]


def test_trains_in_another_thread(tmp_path):
    results = []

    def work():
        results.append(train(network(), DATA, QUICK, tmp_path / "thread"))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    here = train(network(), DATA, QUICK, tmp_path / "here")
    assert [timeless(result.curve) for result in results] == [timeless(here.curve)]


def test_it_learns(tmp_path):
    result = train(network(), DATA, replace(QUICK, epochs=15), tmp_path)
    assert result.test_accuracy > 0.8
    assert result.curve[-1].train_loss < 0.6 * result.curve[0].train_loss


def test_folder_and_network_afterwards(tmp_path):
    net = network()
    result = train(net, DATA, QUICK, tmp_path)
    assert content(tmp_path) == {"metrics.csv", "model.safetensors", "last.ckpt"}
    assert not net.training
    assert result.parameters == (16 * 12 + 12) + 2 * 12 + (12 * 3 + 3)
    saved = network(seed=9)
    load_model(saved, tmp_path / "model.safetensors")
    assert state(saved) == state(net)
    assert (
        tmp_path / "model.safetensors"
    ).stat().st_mode & 0o044 == tmp_path.stat().st_mode & 0o044


def test_divergence(tmp_path):
    settings = replace(QUICK, optimizer="sgd", learning_rate=1e38, schedule="constant")
    result = train(network(), DATA, settings, tmp_path)
    assert (result.status, result.test_accuracy) == ("diverged", None)
    assert result.max_test_accuracy_over_epochs is None
    assert "loss is nan in epoch 1 of 4" in result.message
    assert "lower learning rate (now 1e+38)" in result.message
    assert "model.safetensors" not in content(tmp_path)


class BreaksIn(torch.nn.Module):
    """A network whose logits are NaN from its n-th call in training mode on."""

    def __init__(self, calls):
        super().__init__()
        self.net = network()
        self.calls = calls

    def forward(self, x):
        self.calls -= self.training
        return self.net(x) * (math.nan if self.training and self.calls < 0 else 1.0)


def test_divergence_keeps_the_epochs_before(tmp_path):
    steps = math.ceil(len(DATA.train) / 16)
    result = train(BreaksIn(2 * steps + 1), DATA, QUICK, tmp_path)
    assert result.status == "diverged"
    assert [epoch.epoch for epoch in result.curve] == [0, 1]
    assert "the train loss is nan in epoch 3 of 4" in result.message
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == 1 + 2


def test_long_epoch_is_not_waited_for(tmp_path):
    data = striped_data(n=120)
    net = BreaksIn(1)
    result = train(net, data, replace(QUICK, batch_size=1), tmp_path)
    assert result.status == "diverged"
    assert net.calls == 1 - 50


def test_damaged_checkpoint(tmp_path):
    (tmp_path / "last.ckpt").write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(RunError, match=r"last\.ckpt: expected a checkpoint"):
        train(network(), DATA, QUICK, tmp_path)


def test_tensorboard_logs_where_it_is_installed(tmp_path):
    train(network(), DATA, replace(QUICK, epochs=1, tensorboard=True), tmp_path)
    installed = importlib.util.find_spec("tensorboard") is not None
    assert ("tensorboard" in content(tmp_path)) == installed


def test_without_tensorboard(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "tensorboard" else find(name)
    )
    result = train(network(), DATA, replace(QUICK, epochs=1, tensorboard=True), tmp_path)
    assert result.status == "finished"
    assert "tensorboard" not in content(tmp_path)


def test_without_lightning(tmp_path, monkeypatch):
    require_lightning()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"dualview\[train\]"):
        train(network(), DATA, QUICK, tmp_path / "new")
    assert not content(tmp_path)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"accelerator": "gqu"}, "accelerator='gqu'"),
        ({"accelerator": "cpu", "devices": 0}, "devices=0"),
        ({"accelerator": "cpu", "devices": "a,b"}, "devices='a,b'"),
        ({"precision": "31-true"}, "precision='31-true'"),
    ],
)
def test_machine_that_is_not_there(options, named):
    with pytest.raises(SettingsError, match=named):
        check_machine(replace(QUICK, **options))


def test_machine_that_is_there():
    check_machine(QUICK)
    assert cpu_threads(QUICK) == torch.get_num_threads()
    assert cpu_threads(replace(QUICK, threads=3)) == 3


@pytest.mark.parametrize("name", ["RANK", "LOCAL_RANK", "SLURM_PROCID"])
def test_only_one_process_writes(name, monkeypatch):
    for other in ("RANK", "LOCAL_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(other, raising=False)
    assert is_main_process()
    monkeypatch.setenv(name, "0")
    assert is_main_process()
    monkeypatch.setenv(name, "1")
    assert not is_main_process()
