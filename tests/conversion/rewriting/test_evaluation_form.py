"""What is another thing in training mode, as it is in evaluation mode.

- A functional batch norm, fused with an activation as libraries have it or with tensors of its own,
  is a layer: the dual form equals the model in float64, follows the mode, and keeps the tensors.
- Without a shape, and where it is the same in both modes, it is refused.
- Alpha dropout is nothing and a randomised leaky ReLU has its mean slope with `mode="evaluation"`,
  as layers and as functions, whether symbolic tracing follows forward or `torch.export` does;
  without it they are refused.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import dualview as dv
from dualview.errors import ConversionError

D = torch.float64


class Fused(nn.BatchNorm2d):
    """As timm's BatchNormAct2d: the batch norm of its parent, spelled out, and an activation."""

    def forward(self, x):
        if self.training and self.track_running_stats and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        training = True if self.training else self.running_mean is None
        mean = self.running_mean if not self.training or self.track_running_stats else None
        x = F.batch_norm(
            x, mean, self.running_var, self.weight, self.bias, training, self.momentum, self.eps
        )
        return F.relu(x)


class Own(nn.Module):
    """A batch norm of tensors of its own, without a shift."""

    def __init__(self, channels):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))

    def forward(self, x):
        norm = F.batch_norm(
            x, self.mean, self.variance, weight=self.scale, training=self.training, eps=1e-3
        )
        return torch.relu(norm)


def alive(*layers):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), *layers, nn.Flatten(), nn.Linear(48, 2)).to(D)
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point():
            tensor.data.uniform_(0.2, 1.2)
    return model.eval(), torch.randn(5, 2, 6, 6, dtype=D)


@pytest.mark.parametrize("layer", [Fused, Own])
@pytest.mark.parametrize("mode", ["evaluation", None])
def test_a_functional_batch_norm_is_a_layer(layer, mode):
    model, x = alive(layer(3))
    net = dv.disentangle(model, "dnn", example_input=x[:2], mode=mode)
    torch.testing.assert_close(net(x), model(x), rtol=1e-12, atol=1e-12)
    names = {id(p) for p in net.parameters()}
    assert len(names) == len(list(model.parameters()))
    assert all(not tensor.is_meta for tensor in net.state_dict().values())
    before = {k: v.clone() for k, v in net.weights_network.state_dict().items()}
    net.train()(x + 3)
    moved = {
        k for k, v in net.weights_network.state_dict().items() if not torch.equal(v, before[k])
    }
    assert any("running_mean" in name for name in moved)


@pytest.mark.parametrize("options", [{}, {"mode": "evaluation"}])
@pytest.mark.parametrize("layer", [Fused, Own])
def test_without_a_shape_it_is_refused(layer, options):
    model, _ = alive(layer(3))
    with pytest.raises(ConversionError, match=r"functional batch norm.*example_input"):
        dv.disentangle(model, "dnn", **options)


class Frozen(Own):
    """The same in both modes."""

    def forward(self, x):
        return torch.relu(F.batch_norm(x, self.mean, self.variance, self.scale))


def test_one_that_does_not_follow_the_mode_is_refused():
    model, x = alive(Frozen(3))
    with pytest.raises(ConversionError, match="does not follow the network's mode"):
        dv.disentangle(model, "dnn", example_input=x)
    net = dv.disentangle(model, "dnn", example_input=x, mode="evaluation")
    torch.testing.assert_close(net(x), model(x), rtol=1e-12, atol=1e-12)


class Step(nn.Module):
    """`step`; with `asks` symbolic tracing cannot follow it."""

    def __init__(self, step, asks, *layers):
        super().__init__()
        self.step, self.asks, self.layers = step, asks, nn.ModuleList(layers)

    def forward(self, h):
        if self.asks and h.shape[1] != 3:
            raise ValueError("expected three channels")
        return torch.relu(self.step(self, h))


RANDOM = {
    "nn.AlphaDropout": (lambda m, h: m.layers[0](h), nn.AlphaDropout(0.3)),
    "nn.FeatureAlphaDropout": (lambda m, h: m.layers[0](h), nn.FeatureAlphaDropout(0.3)),
    "F.alpha_dropout": (lambda m, h: F.alpha_dropout(h, 0.3, m.training),),
    "nn.RReLU": (lambda m, h: m.layers[0](h), nn.RReLU(0.1, 0.5)),
    "F.rrelu": (lambda m, h: F.rrelu(h, 0.1, training=m.training),),
}


@pytest.mark.parametrize("asks", [False, True])
@pytest.mark.parametrize("name", RANDOM)
def test_random_ones_are_what_evaluation_mode_makes_of_them(name, asks):
    step, *layers = RANDOM[name]
    model, x = alive(Step(step, asks, *layers))
    example = x[:2] if asks else None
    net = dv.disentangle(model, "dnn", example_input=example, mode="evaluation")
    torch.testing.assert_close(net(x), model(x), rtol=1e-12, atol=1e-12)
    with pytest.raises(ConversionError, match=r"random|training mode|slope|table"):
        dv.disentangle(model, "dnn", example_input=example)


@pytest.mark.parametrize("inplace", [False, True])
def test_dropout_of_channels_where_export_follows(inplace):
    model, x = alive(Step(lambda m, h: m.layers[0](h), True, nn.Dropout2d(0.5, inplace=inplace)))
    net = dv.disentangle(model, "dnn", example_input=x[:2])
    torch.testing.assert_close(net(x), model(x), rtol=1e-12, atol=1e-12)
    assert not torch.equal(net.train()(x), net.train()(x))
