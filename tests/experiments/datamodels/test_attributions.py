"""Attributions against their definitions.

- The margin is the logarithm of the odds.
- The kernel machine's parts and its offset sum to its scores, own class minus the mean of others.
- Gradient similarity is the change of a target's margin by a small step on one example.
- TRAK says of every target and example something, where its library is there.
"""

import copy
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from torch import nn

import dualview as dv
from dualview.experiments.datamodels.attributions import (
    Case,
    attributions,
    gradient_similarity,
    kernel_machine,
    margins,
    same_class,
    trak,
)


@pytest.fixture(scope="module")
def case():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).double()
    net = dv.disentangle(model, "dlgn", seed=0).eval()
    x, labels = torch.rand(12, 1, 2, 2).double(), torch.arange(12) % 3
    return Case(net, x[:9], labels[:9], x[9:], labels[9:])


def test_the_margin_is_the_logarithm_of_the_odds():
    logits, labels = torch.randn(5, 4).double(), torch.tensor([0, 3, 1, 2, 2])
    p = logits.softmax(1)[torch.arange(5), labels]
    torch.testing.assert_close(margins(logits, labels), torch.log(p / (1 - p)))


def test_parts_of_the_kernel_machine(case):
    machine = dv.NPKClassifier(case.net).fit(case.train.numpy(), case.train_labels.numpy())
    scores = machine.decision_function(case.targets.numpy()) - machine.intercept_
    for row, score, label in zip(kernel_machine(case), scores, case.target_labels, strict=True):
        others = np.delete(score, int(label)).mean()
        assert row.sum() == pytest.approx(score[int(label)] - others)


def test_a_step_on_one_example(case):
    """By a step so small that the first order is all: margins before and after."""
    found = gradient_similarity(case)
    assert found.shape == (3, 9)
    rate = 1e-7
    before = margins(case.net(case.targets), case.target_labels)
    for example in (0, 4):
        moved = copy.deepcopy(case.net)
        logits = moved(case.train[example : example + 1])
        nn.functional.cross_entropy(logits, case.train_labels[example : example + 1]).backward()
        with torch.no_grad():
            for parameter in moved.parameters():
                parameter -= rate * parameter.grad
            change = margins(moved(case.targets), case.target_labels) - before
        assert found[:, example] == pytest.approx((change / rate).detach().numpy(), abs=1e-6)


def test_labels_alone(case):
    assert same_class(case).tolist() == [[1, 0, 0] * 3, [0, 1, 0] * 3, [0, 0, 1] * 3]


@pytest.mark.skipif(not find_spec("trak"), reason="needs traker")
def test_trak(case):
    net = copy.deepcopy(case.net).float()
    small = Case(
        net, case.train.float(), case.train_labels, case.targets.float(), case.target_labels
    )
    found = trak(small)
    assert found.shape == (3, 9)
    assert np.isfinite(found).all()
    assert found.std() > 0
    assert "TRAK" in attributions()
