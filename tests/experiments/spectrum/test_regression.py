"""Properties proved here.

1. Learning all frequencies in one pass gives each network what a plain loop over its own frequency
   alone gives it: parameters and errors, for every kind of network.
2. A fit that was interrupted, once or again and again, ends with exactly the parameters and the
   course of an uninterrupted one; so does one that has nothing left to do.
3. The network it starts from, PyTorch's random state and number of threads are left as they were.
4. Errors are mean squared errors; it is measured at the start, at the end and at distances that
   grow; the watcher hears of every step.
5. A damaged checkpoint is refused by name. An error that is not finite stays in its own network.
"""

import dataclasses
import math

import numpy as np
import pytest
import torch

from dualview.errors import RunError
from dualview.experiments.spectrum.networks import function_network
from dualview.experiments.spectrum.regression import Fit, errors, fit, measured_epochs
from dualview.experiments.spectrum.scores import COMPARED_KINDS
from dualview.experiments.spectrum.targets import target, train_points, unseen_points
from dualview.training import CHECKPOINT, Unwatched

TASK = Fit(1, (1, 3), 20, epochs=9, batch_size=8, learning_rate=0.01, seed=2, threads=1)


def _net(kind="dlgn", dimension=1):
    return function_network(kind, 0, dimension=dimension, width=5, depth=3, beta=4.0)


def _plain_loop(net, task, k):
    """One network on one frequency: its parameters change in place; the last errors come back."""
    x, y = (
        (2 * train_points(task.dimension, task.side) - 1).float(),
        target(train_points(task.dimension, task.side), (k,))[0].float(),
    )
    adam = torch.optim.Adam(net.parameters(), task.learning_rate)
    steps = math.ceil(len(x) / task.batch_size)
    for epoch in range(task.epochs):
        order = np.random.default_rng([task.seed, epoch]).permutation(len(x))
        for step in range(steps):
            rows = order[step * task.batch_size : (step + 1) * task.batch_size]
            share = (epoch * steps + step) / (task.epochs * steps)
            adam.param_groups[0]["lr"] = task.learning_rate * (1 + math.cos(math.pi * share)) / 2
            adam.zero_grad()
            (net(x[rows])[:, 0] - y[rows]).square().mean().backward()
            adam.step()
    unseen = unseen_points(task.dimension, task.side)
    with torch.no_grad():
        out = net((2 * unseen - 1).float())[:, 0]
    return (out - target(unseen, (k,))[0]).square().mean().item()


@pytest.mark.parametrize("dimension", [1, 2])
@pytest.mark.parametrize("kind", COMPARED_KINDS)
def test_equals_plain_loops(tmp_path, kind, dimension):
    task = dataclasses.replace(TASK, dimension=dimension, side=20 if dimension == 1 else 5)
    parameters, course = fit(_net(kind, dimension), task, tmp_path, Unwatched())
    for place, k in enumerate(task.frequencies):
        alone = _net(kind, dimension)
        last = _plain_loop(alone, task, k)
        for name, p in alone.named_parameters():
            torch.testing.assert_close(parameters[name][place], p.detach(), rtol=1e-3, atol=1e-4)
        assert course.test_mse[-1][place] == pytest.approx(last, rel=1e-3)


class _Stop(BaseException):
    """Like a signal."""


class _Counts(Unwatched):
    def __init__(self, stop=None):
        self.calls, self.steps, self.stop = [], 0, stop

    def started(self, epochs_done, epochs, steps_per_epoch):
        self.calls.append((epochs_done, epochs, steps_per_epoch))

    def stepped(self):
        self.steps += 1
        if self.steps == self.stop:
            raise _Stop


def _same(first, second):
    (parameters, course), (others, again) = first, second
    assert all(torch.equal(parameters[name], others[name]) for name in others)
    assert vars(course) | {"seconds": 0} == vars(again) | {"seconds": 0}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return fit(_net(), TASK, tmp_path_factory.mktemp("whole"), Unwatched())


@pytest.mark.parametrize("stops", [(1,), (3,), (4,), (14, 9), (26,)])
def test_interrupted(tmp_path, stops, whole):
    for stop in stops:
        with pytest.raises(_Stop):
            fit(_net(), TASK, tmp_path, _Counts(stop))
    _same(fit(_net(), TASK, tmp_path, Unwatched()), whole)
    _same(fit(_net(), TASK, tmp_path, Unwatched()), whole)


def test_left_as_it_was(tmp_path):
    net, threads, state = _net(), torch.get_num_threads(), torch.get_rng_state()
    before = {name: p.clone() for name, p in net.state_dict().items()}
    fit(net, dataclasses.replace(TASK, threads=threads + 1), tmp_path, Unwatched())
    assert all(torch.equal(p, before[name]) for name, p in net.state_dict().items())
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


def test_course_and_watcher(tmp_path):
    watcher, net = _Counts(), _net("dnn")
    _, course = fit(net, TASK, tmp_path, watcher)
    assert watcher.calls == [(0, 9, 3)]
    assert watcher.steps == 27
    assert course.epochs == [0, *measured_epochs(9)]
    assert course.epochs[-1] == 9
    assert len(course.train_mse) == len(course.test_mse) == len(course.epochs)
    with torch.no_grad():
        out = net((2 * train_points(1, 20) - 1).float())[:, 0]
    for place, k in enumerate(TASK.frequencies):
        wanted = target(train_points(1, 20), (k,))[0]
        expected = ((out - wanted) ** 2).mean().item()
        assert course.train_mse[0][place] == pytest.approx(expected, rel=1e-5)


def test_it_learns(tmp_path):
    task = dataclasses.replace(TASK, frequencies=(1,), side=64, epochs=150)
    _, course = fit(_net("dnn"), task, tmp_path, Unwatched())
    assert course.test_mse[-1][0] < 0.1 * course.test_mse[0][0]


@pytest.mark.parametrize("epochs", [1, 2, 3, 40, 600])
def test_measured_epochs(epochs):
    times = measured_epochs(epochs)
    assert (times[0], times[-1]) == (1, epochs)
    assert times == sorted(set(times))
    assert len(times) <= 40


@pytest.mark.parametrize("content", [b"", b"nonsense"])
def test_damaged_checkpoint(tmp_path, content):
    (tmp_path / CHECKPOINT).write_bytes(content)
    with pytest.raises(RunError, match=r"last\.ckpt: expected a checkpoint"):
        fit(_net(), TASK, tmp_path, Unwatched())


def test_networks_never_meet():
    net = _net("dnn")
    stacked = {name: p.detach().expand(2, *p.shape).clone() for name, p in net.named_parameters()}
    stacked["0.weight"][1] = math.nan
    x, y = torch.randn(7, 1), torch.randn(2, 7)
    first, second = errors(net, stacked, x, y).tolist()
    assert math.isnan(second)
    assert first == pytest.approx((net(x)[:, 0] - y[0]).square().mean().item())
