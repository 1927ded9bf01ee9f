"""Networks as steps: which are taken, and why others are not. What steps compute: tests/browser."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

import dualview as dv
from dualview.explorer.explanations.programs import program_of

from .cases import explained, network, small_data


@pytest.mark.parametrize("shape", ["dense", "convolutional", "strided", "residual"])
def test_small_networks_are_taken(shape):
    net = network(shape)
    program, why = program_of(net, small_data(), explained(shape).examples)
    assert why == ""
    assert len(program.preactivations) == len(program.gates) == net.n_gates
    gates = [step.numbers for step in program.weights if step.op == "gate"]
    assert gates == [(i,) for i in range(net.n_gates)]
    skips = [step for step in program.weights if step.op == "add"]
    assert len(skips) == (3 if shape == "residual" else 0)
    assert all(step.other is not None and step.other != step.source for step in skips)
    assert program.images.shape == (3, 3, 7, 7)


class Broadcast(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 2, 3), nn.Linear(50, 3)

    def forward(self, x):
        h = self.first(x)
        return self.last(torch.relu(h + h.mean((2, 3), keepdim=True)).flatten(1))


class Padded(Broadcast):
    def forward(self, x):
        h = nn.functional.pad(self.first(x), (1, 1, 1, 1), mode="reflect")[..., 1:-1, 1:-1]
        return self.last(torch.relu(h).flatten(1))


class Chosen(Broadcast):
    def forward(self, x):
        return self.last(torch.relu(self.first(x)[:, [1, 0]]).flatten(1))


def test_others_are_not_and_it_says_why():
    examples, data = explained("dense").examples, small_data()
    program, why = program_of(network("dense", "dgn"), data, examples)
    assert program is None
    assert "does not compute the operation" in why
    for model in (Broadcast(), Padded(), Chosen()):
        net = dv.disentangle(model, "dlgn", seed=0, example_input=torch.zeros(1, 3, 7, 7))
        program, why = program_of(net, data, examples)
        assert program is None
        assert "does not compute" in why
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
