"""What is measured of one network.

- Spreads are those of `ntk_spread` and `ntk_variance` for the same examples, the closed form where
  it reaches.
- Examples without an open path are left out; with none left, that is all that is said.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

import dualview as dv
from dualview.experiments.width import concentration as measured
from dualview.training.feeding import transform_of
from tests.experiments.reproduced import few_digits

DATA = few_digits(20)


def network(model, **options):
    torch.manual_seed(0)
    return dv.disentangle(
        model(), "dgn", gate="hard", seed=0, input_transform=transform_of(DATA), **options
    ).eval()


def dense():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3), nn.ReLU(), nn.Linear(3, 2))


def convolutional():
    layers = nn.Conv2d(1, 3, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(3, 2))


def test_drawn_and_in_closed_form(monkeypatch):
    monkeypatch.setattr(measured, "DRAWS", 6)
    net = network(dense)
    found = measured.concentration(net, DATA)
    exact = net.double()
    x = DATA.test.images[: measured.MOST_MEASURED].double()
    x = x[dv.npk(exact, x).diagonal() > 0]
    assert 0 < found["examples"] == len(x) < measured.MOST_MEASURED
    drawn = dv.ntk_spread(exact, x, draws=6)
    assert found["spread"] == pytest.approx(drawn.relative.diagonal().tolist())
    assert found["spread_error"] == pytest.approx(drawn.relative_error.diagonal().tolist())
    formula = dv.ntk_variance(exact, x).diagonal().sqrt() / dv.expected_ntk(exact, x).diagonal()
    assert found["formula"] == pytest.approx(formula.tolist())
    assert found["needed"] == dv.needed_width(exact, x, 0.1).widths[0]


def test_images_too_large_for_the_closed_form(monkeypatch):
    monkeypatch.setattr(measured, "DRAWS", 2)
    monkeypatch.setattr(measured, "MOST_MEASURED", 2)
    found = measured.concentration(network(convolutional), DATA)
    assert len(found["spread"]) == found["examples"]
    assert found["formula"] is found["needed"] is None


def test_closed_networks():
    net = network(dense)
    for parameter in net.gating_network.parameters():
        parameter.data.fill_(-1.0 if parameter.dim() == 1 else 0.0)
    assert measured.concentration(net, DATA) == {"examples": 0}
