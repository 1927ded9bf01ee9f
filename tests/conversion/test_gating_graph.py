"""The gating network's graph.

- Its outputs are the pre-activations the model computes (activations kept), hooks aside.
- A linear one is the product of the model's linear layers, written out here.
- Nothing behind the last gate is in it, and switches come one a max pool.
"""

import torch
from torch import nn
from torch.nn import functional as F

from dualview.conversion.gating_graph import gating_graph
from dualview.conversion.graph_network import GraphNetwork
from dualview.conversion.tracing import trace
from tests.cases import small_architecture, small_input


def networks(model, **options):
    traced = trace(model)
    return GraphNetwork(traced.module, gating_graph(traced, **options)).eval()


def test_pre_activations_are_the_models():
    model, x = small_architecture("resnet20", True).eval(), small_input("resnet20", 2)
    seen = []
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_pre_hook(lambda _, args: seen.append(args[0].clone()))
    model(x)
    for module in model.modules():
        module._forward_pre_hooks.clear()
    got = networks(model, linear=False, switches=False)(x)
    assert len(got) == len(seen) == 19
    for q, expected in zip(got, seen, strict=True):
        torch.testing.assert_close(q, expected)


def test_linear_network_by_hand():
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(2, 2, 1), nn.ReLU(), nn.Flatten()
    ).double()
    x = torch.randn(2, 1, 6, 6, dtype=torch.float64)
    q1, q2, switch = networks(model, linear=True, switches=True)(x)
    torch.testing.assert_close(q1, model[0](x))
    torch.testing.assert_close(q2, model[3](F.avg_pool2d(model[0](x), 2)))
    assert torch.equal(switch, F.max_pool2d(q1, 2, return_indices=True)[1])


def test_nothing_behind_the_last_gate():
    network = networks(small_architecture("gconv"), linear=True, switches=False)
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == 6  # of the model's seven
