"""The walk through a weights network.

- Values that nobody reads any more are let go, so that a deep network holds few kernels at once.
- The scale is carried as a logarithm: products of widths beyond float32 do not overflow inside.
- Tied weights are refused, also where two layers share one parameter.
"""

import math

import pytest
import torch
from torch import nn

import dualview as dv
from dualview.architectures import c4gap, fc
from dualview.conversion.memory_meter import MemoryMeter
from dualview.errors import PathKernelError
from dualview.path_kernel.kernel import side, weight_layers
from dualview.path_kernel.propagate import propagate
from dualview.path_kernel.setting import Setting


def walk(model, x, setting=None):
    net = dv.disentangle(model.double(), "dgn", seed=0).eval()
    with torch.no_grad():
        examples = side(net, x, "model")
        return net, propagate(net.weights_network, examples, examples, setting or Setting())


def test_few_kernels_are_held_at_once():
    x = torch.randn(1, 1, 4, 4, dtype=torch.float64)

    def peak(depth):
        net = dv.disentangle(c4gap(2, (1, 4, 4), 2, widths=[2] * depth).double(), "dgn", seed=0)
        with torch.no_grad(), MemoryMeter() as meter:
            examples = side(net.eval(), x, "model")
            before = meter.peak
            propagate(net.weights_network, examples, examples, Setting())
        return meter.peak - before

    assert peak(12) <= 1.1 * peak(2)


def test_scale_is_a_logarithm():
    model = fc(input_shape=(1, 1, 5), width=64, depth=30, bias=False)
    x = torch.randn(2, 1, 1, 5, dtype=torch.float64)
    net, _ = walk(model, x)
    setting = Setting(dict.fromkeys(weight_layers(net), 1.0))
    _, block = walk(model.float(), x, setting)
    assert block.log_scale == pytest.approx(math.log(5) + 29 * math.log(64))
    assert block.kernel.isfinite().all()


def test_shared_parameter_is_refused():
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 1))
    model[2].weight = model[0].weight
    with pytest.raises(PathKernelError, match=r"Linear \(module '2'\).*module '0'"):
        walk(model, torch.randn(1, 3, dtype=torch.float64))


class Standardised(nn.Conv2d):
    """Weight standardisation, as its papers spell it."""

    def forward(self, x):
        w = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        w = w / (w.std((1, 2, 3), keepdim=True) + 1e-5)
        return nn.functional.conv2d(x, w, self.bias)


def test_standardised_weights_are_refused_for_what_they_are():
    layers = Standardised(1, 2, 3), nn.ReLU(), Standardised(2, 2, 3), nn.Flatten(), nn.Linear(8, 2)
    net = dv.disentangle(nn.Sequential(*layers).double(), "dlgn", seed=0)
    with pytest.raises(PathKernelError, match=r"made of the parameter '0\.weight'.*not linear"):
        dv.npk(net, torch.randn(2, 1, 6, 6).double())
