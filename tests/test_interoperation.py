"""Taken-apart networks in the hands of other software.

- ONNX: onnxruntime computes what the network computes, for every kind and any number of examples.
- torch.export: written and read again, the program gives the network's outputs and gates.
- torch.compile: forward and gradients traced ahead of time, in one graph, are the network's.
- Captum: attributions to inputs and layers are those of gradients written out here, and integrated
  gradients sum to the difference of outputs. Methods that give activation modules a derivative of
  their own find a product in the place of each, and so give another answer than on the model.

(`tests/path_kernel/test_machines.py` runs the kernel machines in scikit-learn's pipelines.)
"""

from __future__ import annotations

import io
import warnings

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dualview import DualviewWarning, disentangle
from dualview.architectures import vit
from tests.cases import enliven, relative_error


class Residual(nn.Module):
    """Batch norm, a max pool, an identity skip and a global average: three gates."""

    shape = (2, 8, 7)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.conv1, self.conv2 = (nn.Conv2d(4, 4, 3, padding=1) for _ in range(2))
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, 3) of images (n, 2, height, width)."""
        x = F.max_pool2d(torch.relu(self.norm(self.stem(x))), 2)
        x = torch.relu(self.conv2(torch.relu(self.conv1(x))) + x)
        return self.head(x.mean((2, 3)))


class Transformer(nn.Module):
    """One block of a vision transformer."""

    shape = (2, 4, 4)

    def __init__(self) -> None:
        super().__init__()
        self.body = vit(3, self.shape, width=4, depth=1)
        self.head = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, 3) of images (n, 2, 4, 4)."""
        return self.head(self.body(x))


NETWORKS = {
    "dnn": (Residual, {"kind": "dnn"}),
    "dgn, switches": (Residual, {"kind": "dgn", "max_pool": "switch"}),
    "dgn, attention": (Transformer, {"kind": "dgn"}),
    "dlgn": (Residual, {"kind": "dlgn"}),
    "dlgn, ones, shuffled gates": (
        Residual,
        {"kind": "dlgn", "weights_input": "ones", "gate_order": (0, 2, 1)},
    ),
}
"""Model and options; together they make every kind of node that conversion puts into a graph."""


@pytest.fixture(params=NETWORKS)
def net_and_shape(request):
    model, options = NETWORKS[request.param]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "BatchNorm2d .*constant-1 input", DualviewWarning)
        return disentangle(enliven(model().double()).eval(), seed=0, **options), model.shape


def examples(n, shape):
    return torch.randn(n, *shape, dtype=torch.float64)


def batch_axis():
    return {0: torch.export.Dim("batch", min=1, max=64)}


def test_onnxruntime_computes_the_network(net_and_shape):
    import onnxruntime

    net, shape = net_and_shape
    net, x = net.float(), torch.randn(3, *shape)
    program = torch.onnx.export(
        net, (x,), dynamo=True, dynamic_shapes=(batch_axis(),), verbose=False
    )
    file = io.BytesIO()
    program.save(file)
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    (name,) = [given.name for given in session.get_inputs()]
    for n in (1, 5):
        x = torch.randn(n, *shape)
        (got,) = session.run(None, {name: x.numpy()})
        assert relative_error(torch.from_numpy(got), net(x)) < 1e-5


class Everything(nn.Module):
    """Logits and gates of a network."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """(n, 3), and every layer's gates."""
        return self.net(x), self.net.gates(x)


def test_exported_and_read_again(net_and_shape):
    net, shape = net_and_shape
    net, file = Everything(net), io.BytesIO()
    program = torch.export.export(net, (examples(3, shape),), dynamic_shapes=(batch_axis(),))
    torch.export.save(program, file)
    file.seek(0)
    again = torch.export.load(file).module()
    for n in (1, 5):
        x = examples(n, shape)
        torch.testing.assert_close(again(x), net(x), rtol=0, atol=1e-12)


# The others are traced in one graph in `tests/conversion/test_gated_network.py`.
@pytest.mark.parametrize("net_and_shape", ["dgn, attention", "dlgn"], indirect=True)
def test_compiled_ahead_of_time_it_trains_alike(net_and_shape):
    net, shape = net_and_shape
    net.train()
    compiled = torch.compile(net, backend="aot_eager", fullgraph=True)
    x = examples(4, shape)
    found = []
    for run in (net, compiled):
        net.zero_grad()
        loss = run(x).square().sum()
        loss.backward()
        got = {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
        found.append({"loss": loss.detach(), **got})
    assert len(found[0]) > 1
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-12)


# Captum. Each method is written out on the network itself, as what it must give.


def gradient(net, x, target):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(net(x)[:, target].sum(), x)[0]


def test_captums_gradients(net_and_shape):
    from captum.attr import InputXGradient, Saliency

    net, shape = net_and_shape
    x = examples(3, shape)
    expected = gradient(net, x, 1)
    inputs = x.clone().requires_grad_()
    torch.testing.assert_close(Saliency(net).attribute(inputs, target=1), expected.abs())
    torch.testing.assert_close(InputXGradient(net).attribute(inputs, target=1), x * expected)


def test_captums_integrated_gradients(net_and_shape):
    from captum.attr import IntegratedGradients

    net, shape = net_and_shape
    x, n = examples(3, shape), 20
    got, rest = IntegratedGradients(net).attribute(
        x, target=2, n_steps=n, method="riemann_middle", return_convergence_delta=True
    )
    expected = x * sum(gradient(net, x * (k + 0.5) / n, 2) for k in range(n)) / n
    torch.testing.assert_close(got, expected)
    with torch.no_grad():
        whole = (net(x) - net(torch.zeros_like(x)))[:, 2]
    torch.testing.assert_close(got.flatten(1).sum(1) - whole, rest)


def test_captums_attributions_to_a_layer(net_and_shape):
    from captum.attr import LayerGradientXActivation

    net, shape = net_and_shape
    x = examples(3, shape)
    head = net.weights_network.get_submodule("head")
    got = LayerGradientXActivation(net, head, multiply_by_inputs=True).attribute(x, target=0)
    expected = torch.zeros(3, 3, dtype=torch.float64)
    expected[:, 0] = net(x)[:, 0].detach()
    torch.testing.assert_close(got, expected)


def test_captums_replaced_derivatives_do_not_reach_gates():
    from captum.attr import GuidedBackprop, IntegratedGradients

    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    model, x = model.double(), examples(3, (4,)).requires_grad_()
    net = disentangle(model, "dnn")

    def both(method):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Setting backward hooks", UserWarning)
            return [method(network).attribute(x, target=0) for network in (model, net)]

    torch.testing.assert_close(*both(IntegratedGradients))
    on_model, on_net = both(GuidedBackprop)
    assert relative_error(on_net, on_model) > 1e-3
    torch.testing.assert_close(on_net, gradient(net, x, 0))  # nothing replaced
