"""Networks as steps: which are taken, and why others are not. What steps compute: tests/browser."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

import dualview as dv
from dualview.explorer.explanations.programs import program_of

from .cases import explained, network, small_data


@pytest.mark.parametrize("shape", ["dense", "convolutional", "strided"])
def test_chains_are_taken(shape):
    net = network(shape)
    program, why = program_of(net, small_data(), explained(shape).examples)
    assert why == ""
    assert len(program.preactivations) == len(program.gates) == net.n_gates
    assert [step.numbers for step in program.weights if step.op == "gate"] == [(0,), (1,)]
    assert program.images.shape == (3, 3, 7, 7)


def test_others_are_not_and_it_says_why():
    examples, data = explained("dense").examples, small_data()
    program, why = program_of(network("residual"), data, examples)
    assert program is None
    assert "does not compute the operation" in why
    program, why = program_of(network("dense", "dgn"), data, examples)
    assert program is None
    large = nn.Sequential(nn.Flatten(), nn.Linear(147, 1500), nn.ReLU(), nn.Linear(1500, 3))
    program, why = program_of(dv.disentangle(large, "dlgn", seed=0), data, examples)
    assert program is None
    assert "too large" in why


def test_images_of_floats_stay_pixels():
    examples = explained("dense").examples
    floats = [dataclasses.replace(e, image=e.image / np.float64(255)) for e in examples]
    program, _ = program_of(network("dense"), small_data(), floats)
    assert program.images.dtype == np.float32
    np.testing.assert_allclose(program.images[1], examples[1].image / 255, rtol=1e-6)


def test_a_network_that_carries_its_transform():
    net = dv.disentangle(
        nn.Sequential(nn.Flatten(), nn.Linear(147, 4), nn.ReLU(), nn.Linear(4, 3)),
        "dlgn",
        seed=0,
        example_input=torch.zeros(1, 3, 7, 7),
        input_transform=dv.InputTransform(0.25, 0.5),
    )
    program, _ = program_of(net, small_data(), explained("dense").examples)
    assert program.mean == (0.25,) * 3
    assert program.std == (0.5,) * 3
