"""What a record keeps of a trial: the scores' means and errors, of examples that a seed draws."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import dualview as dv
from dualview.architectures import fc
from dualview.experiments.explanations.trial import measured, tried
from tests.experiments.reproduced import few_digits

DATA = few_digits(20)


def network(kind):
    torch.manual_seed(0)
    model = fc(10, (1, 8, 8), width=6, depth=3)
    return model if kind == "plain" else dv.disentangle(model, kind, seed=0)


def test_means_and_errors():
    found = dv.evaluate_explanations(network("dlgn"), torch.rand(5, 1, 8, 8), methods=["paths"])
    kept = measured(found)
    scores = found.scores["deletion"][0]
    assert kept["deletion"] == [pytest.approx(scores.mean())]
    assert kept["deletion_error"] == [pytest.approx(scores.std(ddof=1) / np.sqrt(5))]
    curve = found.curves["insertion"][0]
    assert kept["insertion_curve"][0] == pytest.approx(curve.mean(0))
    assert kept["insertion_curve_error"][0] == pytest.approx(curve.std(0, ddof=1) / np.sqrt(5))
    assert kept["examples"] == 5


def test_examples_are_drawn_by_the_seed():
    kept = [
        tried(network("dlgn"), DATA, examples=3, methods=["paths"], seed=seed) for seed in (1, 1, 2)
    ]
    first, again, other = (one["deletion_curve"] for one in kept)
    assert first == again != other
    every = tried(network("dlgn"), DATA, examples=99, methods=["random"], split="validation")
    assert every["examples"] == 20


@pytest.mark.parametrize(("kind", "lifted"), [("plain", True), ("dnn", False)])
def test_deep_lift_is_tried_on_a_plain_module(kind, lifted):
    kept = tried(network(kind), DATA, examples=2)
    assert ("deeplift" in kept["methods"]) is lifted
    named = tried(network(kind), DATA, examples=2, methods=["random"])
    assert named["methods"] == ["random"]
