"""Properties proved here.

1. The same seed gives the same numbers whatever is random outside, another seed others; PyTorch's
   random state, its thread count and the handling of Ctrl-C are as before, also when interrupted.
2. Ctrl-C in the midst of an epoch leaves as KeyboardInterrupt, and the run goes on to the numbers
   and parameters of an uninterrupted one, whatever network it is given.
3. A loss that is not finite ends the run as "diverged", with the epochs before it, and within 50
   steps.
4. The folder holds what the docstring says; the saved parameters give the recorded accuracies.
5. Channels lie last in memory while a network trains, and before it is saved as they were; a
   compiled network trains like the plain one.
6. Without validation the validation split is not looked at, and all else is as it was.
7. "auto" is bfloat16 where the machine multiplies it, and float32 elsewhere; parameters stay
   float32.
8. What Lightning cannot serve here is refused; a missing Lightning is named.
"""

import importlib.util
import math
import os
import signal
import sys
import threading
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_model

from dualview.datasets import Batches
from dualview.errors import MissingExtraError
from dualview.training import (
    CHECKPOINT,
    METRICS,
    MODEL,
    SettingsError,
    TrainSettings,
    Unwatched,
    check_machine,
    cpu_threads,
    on_this_machine,
    require_lightning,
    train,
)
from tests.training.tiny import tiny_data, tiny_net

DATA = tiny_data()
SETTINGS = TrainSettings(
    epochs=3, batch_size=16, learning_rate=0.01, accelerator="cpu", tensorboard=False
)
STEPS = math.ceil(len(DATA.train) / 16)


def _exact(result):
    """All numbers of a run but its times."""
    return [replace(epoch, seconds=0) for epoch in result.curve]


def _content(folder):
    return {path.name for path in folder.iterdir()}


class _Signals(Unwatched):
    """Sends this process a signal after some steps."""

    def __init__(self, steps, number=signal.SIGINT):
        self.steps, self.number = steps, number

    def stepped(self):
        self.steps -= 1
        if self.steps == 0:
            os.kill(os.getpid(), self.number)


def test_seed_decides_all(tmp_path):
    torch.manual_seed(3)
    first = train(tiny_net(), DATA, SETTINGS, tmp_path / "a")
    torch.manual_seed(4)
    second = train(tiny_net(), DATA, SETTINGS, tmp_path / "b")
    other = train(tiny_net(), DATA, replace(SETTINGS, seed=1), tmp_path / "c")
    assert _exact(first) == _exact(second)
    assert _exact(first) != _exact(other)


def test_process_is_left_as_it_was(tmp_path):
    before = torch.get_rng_state(), torch.get_num_threads(), signal.getsignal(signal.SIGINT)
    threads = torch.get_num_threads() + 1
    result = train(tiny_net(), DATA, replace(SETTINGS, epochs=1, threads=threads), tmp_path)
    assert result.device == f"cpu ({threads} threads)"
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (torch.get_num_threads(), signal.getsignal(signal.SIGINT)) == before[1:]


@pytest.mark.parametrize("steps", [1, STEPS, STEPS + 1, 3 * STEPS - 1])
def test_ctrl_c(tmp_path, steps):
    before = torch.get_rng_state(), signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(tiny_net(), DATA, SETTINGS, tmp_path / "a", watcher=_Signals(steps))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert signal.getsignal(signal.SIGINT) == before[1]
    begun = (tmp_path / "a" / CHECKPOINT).exists()
    resumed = train(tiny_net(seed=9 if begun else 0), DATA, SETTINGS, tmp_path / "a")
    whole = train(tiny_net(), DATA, SETTINGS, tmp_path / "b")
    assert _exact(resumed) == _exact(whole)
    models = [(tmp_path / name / MODEL).read_bytes() for name in "ab"]
    assert models[0] == models[1]


def test_other_exits_stay_as_they_are(tmp_path):
    class Exits(Unwatched):
        def stepped(self):
            raise SystemExit(7)

    with pytest.raises(SystemExit, match="7"):
        train(tiny_net(), DATA, SETTINGS, tmp_path, watcher=Exits())


def test_trains_in_another_thread(tmp_path):
    results = []

    def work():
        results.append(train(tiny_net(), DATA, SETTINGS, tmp_path / "thread"))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    here = train(tiny_net(), DATA, SETTINGS, tmp_path / "here")
    assert [_exact(result) for result in results] == [_exact(here)]


def test_it_learns(tmp_path):
    data = tiny_data(n_train=200, n_other=60)
    result = train(tiny_net(), data, replace(SETTINGS, epochs=12), tmp_path)
    assert result.test_accuracy > 0.8  # chance is 1/3
    assert result.curve[-1].train_loss < 0.6 * result.curve[0].train_loss


def test_folder_and_network_afterwards(tmp_path):
    net = tiny_net()
    result = train(net, DATA, SETTINGS, tmp_path)
    assert _content(tmp_path) == {METRICS, MODEL, CHECKPOINT}
    assert not net.training
    assert result.parameters == (4 * 9 + 4) + 2 * 4 + (64 * 3 + 3)
    (tmp_path / "new").touch()
    assert (tmp_path / MODEL).stat().st_mode == (tmp_path / "new").stat().st_mode


class _Layout(torch.nn.Module):
    """Convolutions that note how an input and a weight lie in memory."""

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Conv2d(1, 4, 3, padding=1)
        self.second = torch.nn.Conv2d(4, 3, 3, padding=1)
        self.seen = set()

    def forward(self, x):
        hidden = torch.relu(self.first(x))
        form = {"memory_format": torch.channels_last}
        if len(x) > 2:  # two are tried before
            self.seen.add((hidden.is_contiguous(**form), self.second.weight.is_contiguous(**form)))
        return self.second(hidden).mean((2, 3))


def test_channels_lie_last_in_memory_only_while_training(tmp_path):
    net = _Layout()
    train(net, DATA, replace(SETTINGS, epochs=1), tmp_path)
    assert net.seen == {(True, True)}
    assert net.second.weight.is_contiguous()
    load_model(_Layout(), tmp_path / MODEL)


def test_compiled_networks_train_alike_under_their_own_names(tmp_path, monkeypatch):
    def without_a_compiler(net):
        compiled.append(net)
        return make(net, backend="eager")

    make, compiled = torch.compile, []
    monkeypatch.setattr(torch, "compile", without_a_compiler)
    nets = [tiny_net(), tiny_net()]
    for number, net in enumerate(nets):
        settings = replace(SETTINGS, epochs=1, compile=bool(number))
        train(net, DATA, settings, tmp_path / str(number))
    assert compiled == nets[1:]
    torch.testing.assert_close(nets[0].state_dict(), nets[1].state_dict())


def test_saved_parameters_give_the_recorded_accuracy(tmp_path):
    data = tiny_data(n_train=60, n_other=50)
    result = train(tiny_net(), data, SETTINGS, tmp_path)
    net = tiny_net(seed=9).eval()
    load_model(net, tmp_path / MODEL)
    for split, recorded in (
        (data.test, result.test_accuracy),
        (data.validation, result.curve[-1].validation_accuracy),
    ):
        batches = Batches(split, 7, mean=data.mean, std=data.std)
        hits = sum(int((net(images).argmax(1) == labels).sum()) for images, labels in batches)
        assert hits / len(split) == pytest.approx(recorded)


def test_divergence(tmp_path):
    settings = replace(SETTINGS, optimizer="sgd", learning_rate=1e38, schedule="constant")
    result = train(tiny_net(), DATA, settings, tmp_path)
    assert (result.status, result.test_accuracy) == ("diverged", None)
    assert result.max_test_accuracy_over_epochs is None
    assert "loss is nan in epoch 1 of 3" in result.message
    assert "lower learning rate (now 1e+38)" in result.message
    assert MODEL not in _content(tmp_path)


class _Breaks(torch.nn.Module):
    """Its logits are NaN after so many training steps."""

    def __init__(self, steps):
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3))
        self.steps = steps

    def forward(self, x):
        self.steps -= self.training
        return self.net(x) * (math.nan if self.training and self.steps < 0 else 1.0)


def test_divergence_keeps_the_epochs_before(tmp_path):
    result = train(_Breaks(2 * STEPS + 1), DATA, SETTINGS, tmp_path)
    assert result.status == "diverged"
    assert [epoch.epoch for epoch in result.curve] == [0, 1]
    assert "the train loss is nan in epoch 3 of 3" in result.message
    assert len((tmp_path / METRICS).read_text().splitlines()) == 1 + 2


def test_divergence_in_a_long_epoch_is_not_waited_for(tmp_path):
    net = _Breaks(1)
    result = train(net, tiny_data(n_train=120), replace(SETTINGS, batch_size=1), tmp_path)
    assert result.status == "diverged"
    assert net.steps == 1 - 50


def test_tensorboard_logs_where_it_is_installed(tmp_path):
    train(tiny_net(), DATA, replace(SETTINGS, epochs=1, tensorboard=True), tmp_path)
    installed = importlib.util.find_spec("tensorboard") is not None
    assert ("tensorboard" in _content(tmp_path)) == installed


def test_without_tensorboard(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "tensorboard" else find(name)
    )
    result = train(tiny_net(), DATA, replace(SETTINGS, epochs=1, tensorboard=True), tmp_path)
    assert result.status == "finished"
    assert "tensorboard" not in _content(tmp_path)


def test_without_lightning(tmp_path, monkeypatch):
    require_lightning()
    monkeypatch.setitem(sys.modules, "pytorch_lightning", None)
    with pytest.raises(MissingExtraError, match=r"dualview\[train\]"):
        train(tiny_net(), DATA, SETTINGS, tmp_path / "new")
    assert not _content(tmp_path)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"accelerator": "gqu"}, "accelerator='gqu'"),
        ({"accelerator": "tpu"}, "accelerator='tpu'.* not possible here"),
        ({"devices": 0}, "devices: expected a whole number from 1 on"),
        ({"devices": "a,b"}, "devices='a,b'"),
        ({"precision": "31-true"}, "precision='31-true'"),
    ],
)
def test_machine_that_is_not_there(options, named):
    with pytest.raises(SettingsError, match=named):
        check_machine(replace(SETTINGS, **options))


def test_machine_that_is_there():
    check_machine(SETTINGS)
    assert cpu_threads(SETTINGS) == torch.get_num_threads()
    assert cpu_threads(replace(SETTINGS, threads=3)) == 3


@pytest.mark.parametrize(
    ("accelerator", "cuda", "mps", "instructions", "expected"),
    [
        ("cpu", False, False, {"avx512_bf16": True}, "bf16-mixed"),
        ("cpu", True, False, {"amx_bf16": True}, "bf16-mixed"),
        ("cpu", True, False, {"avx512_bf16": False, "avx2": True}, "32-true"),
        ("auto", False, False, {"avx512_bf16": True}, "bf16-mixed"),
        ("auto", True, False, {}, "bf16-mixed"),
        ("gpu", True, False, {}, "bf16-mixed"),
        ("auto", False, True, {"avx512_bf16": True}, "32-true"),
        ("mps", False, True, {"avx512_bf16": True}, "32-true"),
    ],
)
def test_precision_by_the_machine(accelerator, cuda, mps, instructions, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions)
    settings = replace(SETTINGS, accelerator=accelerator, precision="auto", threads=2)
    assert on_this_machine(settings) == replace(settings, precision=expected)
    for chosen in ("64-true", "bf16-mixed"):
        asked = replace(settings, precision=chosen)
        assert on_this_machine(asked) == asked


def test_bfloat16_is_for_products_alone(tmp_path):
    """Parameters and losses are float32; the curve is that of float32 to bfloat16's precision."""
    curves = {}
    for precision in ("32-true", "bf16-mixed"):
        net = tiny_net()
        result = train(net, DATA, replace(SETTINGS, precision=precision), tmp_path / precision)
        assert {p.dtype for p in net.parameters()} == {torch.float32}
        curves[precision] = [epoch.test_loss for epoch in result.curve]
    assert curves["bf16-mixed"] != curves["32-true"]
    assert curves["bf16-mixed"] == pytest.approx(curves["32-true"], rel=0.05)


@pytest.mark.parametrize("interrupted", [False, True])
def test_without_validation(tmp_path, interrupted):
    unseen = replace(DATA, validation=tiny_data(seed=7).validation)
    folder = tmp_path / "without"
    if interrupted:
        watcher = _Signals(STEPS + 1)
        with pytest.raises(KeyboardInterrupt):
            train(tiny_net(), unseen, SETTINGS, folder, watcher=watcher, validate=False)
    without = train(tiny_net(), unseen, SETTINGS, folder, validate=False)
    with_it = train(tiny_net(), DATA, SETTINGS, tmp_path / "with")
    assert _exact(without) == [
        replace(epoch, validation_loss=None, validation_accuracy=None) for epoch in _exact(with_it)
    ]
    models = [(tmp_path / name / MODEL).read_bytes() for name in ("with", "without")]
    assert models[0] == models[1]
