"""The kernel machine.

- It is the classifier on the network's path kernel, fitted to examples spread over the train split:
  same scores, and parts that sum to them; the strongest parts come first on each side.
- Convolutional networks get hard gates and fewer examples unless asked otherwise.
- There is none, and a sentence says why: none asked for, one class, no rule for the network, or
  too slow and not asked for.
"""

import numpy as np
import pytest
import torch
from torch import nn

import dualview as dv
from dualview.explorer.explanations import training_examples as module
from dualview.explorer.explanations.inputs import inputs, spread_rows
from dualview.explorer.explanations.training_examples import (
    DENSE_EXAMPLES,
    OTHER_EXAMPLES,
    MachinePlan,
    all_scores,
    fit,
    machine_parts,
    machine_plan,
    seconds_for,
)
from dualview.path_kernel.machines import NPKClassifier

from .cases import ROWS, network, small_data

HARD = MachinePlan(12, "hard", asked=True)


def fitted(shape, plan=HARD, net=None, notes=None):
    data = small_data()
    net = net or network(shape)
    x = inputs(net, data, data.test, ROWS)
    note = (lambda text: None) if notes is None else notes.append
    return fit(net, data, x, plan, note)


@pytest.mark.parametrize("gates", ["hard", "model"])
@pytest.mark.parametrize("shape", ["dense", "convolutional"])
def test_scores_and_parts(shape, gates):
    notes = []
    machine, found, why = fitted(shape, MachinePlan(12, gates, True), notes=notes)
    data = small_data()
    rows = spread_rows(12, len(data.train))
    train = inputs(network(shape), data, data.train, rows)
    labels = data.train.labels[rows].numpy()
    classifier = NPKClassifier(network(shape), gates=gates).fit(train, labels)
    scores = classifier.decision_function(inputs(network(shape), data, data.test, ROWS))
    assert why == ""
    assert machine.rows == tuple(rows)
    assert (machine.images == data.train.images[rows].numpy()).all()
    assert machine.ridge == classifier.ridge_
    assert len(notes) == 1
    for one, row in zip(found, scores, strict=True):
        np.testing.assert_allclose(all_scores(one, 3), row, rtol=1e-5, atol=1e-6)
        for label in range(3):
            check_parts(machine_parts(one, label), row[label])
            other = (label + 1) % 3
            check_parts(machine_parts(one, label, other), row[label] - row[other])


def check_parts(parts, score):
    assert parts.score == pytest.approx(score, rel=1e-5, abs=1e-6)
    total = parts.offset + parts.speak_for + parts.speak_against
    assert total == pytest.approx(parts.score, abs=1e-9)
    ups = [example.part for example in parts.strongest_for]
    downs = [example.part for example in parts.strongest_against]
    assert ups == sorted(ups, reverse=True)
    assert downs == sorted(downs)
    assert all(part > 0 for part in ups)
    assert all(part < 0 for part in downs)
    assert sum(ups) <= parts.speak_for + 1e-12


def test_class_without_training_example():
    found = fitted("dense", MachinePlan(2, "hard", True))[1][0]
    missing = ({0, 1, 2} - set(found.classes.tolist())).pop()
    assert machine_parts(found, missing) is None
    assert machine_parts(found, int(found.classes[0]), missing) is None
    assert np.isnan(all_scores(found, 3)[missing])


@pytest.mark.parametrize(
    ("is_dense", "n_train", "gates", "expected"),
    [
        (True, None, None, MachinePlan(DENSE_EXAMPLES, "model", False)),
        (False, None, None, MachinePlan(OTHER_EXAMPLES, "hard", False)),
        (False, 50, "model", MachinePlan(50, "model", True)),
        (True, 10**6, "hard", MachinePlan(5000, "hard", True)),
        (True, 0, None, MachinePlan(0, "model", True)),
    ],
)
def test_plan(is_dense, n_train, gates, expected):
    assert machine_plan(is_dense, n_train, gates, available=5000) == expected


def test_none_asked_for():
    machine, found, why = fitted("dense", MachinePlan(0, "hard", True))
    assert machine is None
    assert found == ()
    assert "asked for" in why


def test_one_class():
    assert "one class" in fitted("dense", MachinePlan(1, "hard", True))[2]


def test_network_without_rule():
    tied = nn.Linear(5, 5)
    layers = (nn.Flatten(), nn.Linear(147, 5), nn.ReLU(), tied, nn.ReLU(), tied)
    net = dv.disentangle(nn.Sequential(*layers), seed=0).eval()
    assert "There is no kernel machine: " in fitted("", net=net)[2]


def test_slow_ones_only_if_asked_for(monkeypatch):
    monkeypatch.setattr(module, "seconds_for", lambda *arguments: 1e5)
    machine, _, why = fitted("dense", MachinePlan(12, "hard", False))
    assert machine is None
    assert "1667 minutes" in why
    assert "--train" in why
    assert fitted("dense", MachinePlan(12, "hard", True))[0] is not None


def test_time_grows_with_the_pairs(monkeypatch):
    clock = iter(range(1000))
    monkeypatch.setattr(module.time, "perf_counter", lambda: float(next(clock)))
    x = torch.randn(4, 3, 7, 7)
    seconds = seconds_for(network("dense"), x, torch.randn(40, 3, 7, 7), "hard")
    assert seconds == pytest.approx(40 * (40 / 2 + 4) / 16)
