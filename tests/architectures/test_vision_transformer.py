"""The vision transformer.

- Its parts are those of the definition: scores, heads, residuals, class token, written out here.
- A DGN equals two networks written by hand, forward and gradients: the gating network supplies
  gates, LayerNorm scales and attention weights, and the weights network has no queries or keys.
- The dual form trains as the model does, token parameters included; torch.export takes any batch.
- Widths and shapes that it cannot take are refused; so is a DLGN.
"""

import math

import pytest
import torch
from torch import nn

from dualview import disentangle
from dualview.architectures import WITHOUT_DLGN, build
from dualview.architectures.vision_transformer import HEADS, SelfAttention, vit
from dualview.errors import ArchitectureError, UnsupportedOperationError
from tests.cases import enliven, relative_error, small_architecture, small_input

D = torch.float64


def test_attention_by_definition():
    layer = enliven(SelfAttention(4, 2).double())
    x = torch.randn(1, 3, 4, dtype=D)
    query, key, value = (f(x)[0].detach() for f in (layer.query, layer.key, layer.value))
    mixed = torch.zeros(3, 4, dtype=D)
    for head in (slice(0, 2), slice(2, 4)):
        for i in range(3):
            raised = [
                math.exp(float(query[i, head] @ key[j, head]) / math.sqrt(2)) for j in range(3)
            ]
            for j in range(3):
                mixed[i, head] += raised[j] / sum(raised) * value[j, head]
    torch.testing.assert_close(layer(x)[0].detach(), layer.project(mixed).detach())


class Plain:
    """The transformer from its parameters by name; `multiply` says what each step multiplies by."""

    def __init__(self, parameters, depth):
        self.p, self.depth = parameters, depth

    def dense(self, name, x):
        return x @ self.p[f"{name}.weight"].T + self.p[f"{name}.bias"]

    def heads(self, x):
        return x.view(*x.shape[:2], HEADS, -1).permute(0, 2, 1, 3)

    def run(self, x, multiply):
        width = self.p["embed.weight"].shape[0]
        cells = x.unfold(2, 2, 2).unfold(3, 2, 2)  # (n, c, rows, columns, 2, 2)
        cells = cells.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)
        patches = cells @ self.p["embed.weight"].flatten(1).T + self.p["embed.bias"]
        first = self.p["class_token"].expand(len(x), 1, width)
        z = torch.cat([first, patches], 1) + self.p["positions"]
        for block in range(self.depth):
            at = f"blocks.{block}"
            h = self.norm(f"{at}.norm1", z, multiply)
            value = self.heads(self.dense(f"{at}.attention.value", h))
            mixed = multiply(f"{at}.attention", h) @ value
            mixed = mixed.permute(0, 2, 1, 3).flatten(2)
            z = z + self.dense(f"{at}.attention.project", mixed)
            q = self.dense(f"{at}.mlp.0", self.norm(f"{at}.norm2", z, multiply))
            z = z + self.dense(f"{at}.mlp.2", q * multiply(f"{at}.mlp", q))
        return self.dense("head", self.norm("norm", z[:, 0], multiply))

    def norm(self, name, x, multiply):
        centred = x - x.mean(-1, keepdim=True)
        return centred * multiply(name, x) * self.p[f"{name}.weight"] + self.p[f"{name}.bias"]


class TwoNetworks(Plain):
    """A DGN: `gating` supplies every multiplier, `self` is what they multiply."""

    def __init__(self, gating, weights, depth, gate):
        super().__init__(weights, depth)
        self.gating, self.gate = Plain(gating, depth), gate

    def __call__(self, x):
        kept, soft = {}, {}

        def own(name, value):
            if "norm" in name:
                variance = (value - value.mean(-1, keepdim=True)).square().mean(-1, keepdim=True)
                kept[name] = 1 / (variance + 1e-5).sqrt()
            elif name.endswith("mlp"):
                soft[name] = self.gate(value)
                return 0.5 * (1 + torch.erf(value / math.sqrt(2)))
            else:
                query, key = (
                    self.gating.heads(self.gating.dense(f"{name}.{f}", value))
                    for f in ("query", "key")
                )
                scores = (query @ key.mT / math.sqrt(key.shape[-1])).exp()
                kept[name] = scores / scores.sum(-1, keepdim=True)
            return kept[name]

        self.gating.run(x, own)
        return self.run(x, lambda name, value: {**kept, **soft}[name])


def twins(network):
    return {n: p.detach().clone().requires_grad_() for n, p in network.named_parameters()}


def test_a_dgn_by_hand():
    model = enliven(vit(3, (2, 4, 4), width=8, depth=2).double())
    net = disentangle(model, "dgn", seed=0)
    assert not [name for name, _ in net.weights_network.named_parameters() if "query" in name]
    gating, weights = twins(net.gating_network), twins(net.weights_network)
    last = {
        f"{m}.{p}": model.get_parameter(f"{m}.{p}")
        for m in ("norm", "head")
        for p in ("weight", "bias")
    }
    hand = TwoNetworks({**last, **gating}, weights, 2, lambda q: torch.sigmoid(4 * q))
    x = torch.randn(3, 2, 4, 4, dtype=D)
    expected, got = hand(x), net(x)
    assert relative_error(got, expected) < 1e-10
    got.square().sum().backward()
    expected.square().sum().backward()
    for network, twin in ((net.gating_network, gating), (net.weights_network, weights)):
        for name, parameter in network.named_parameters():
            if parameter.grad is not None or twin[name].grad is not None:
                torch.testing.assert_close(parameter.grad, twin[name].grad)


def test_dual_form_has_the_models_gradients():
    model, x = small_architecture("vit"), small_input("vit")
    net = disentangle(model, "dnn")
    model(x).square().sum().backward()
    net(x).square().sum().backward()
    shared = dict(net.named_parameters())
    for name, parameter in model.named_parameters():
        copies = [p for key, p in shared.items() if key.endswith(f"_network.{name}")]
        assert len(copies) == 1
        torch.testing.assert_close(copies[0].grad, parameter.grad)


def test_export():
    model = vit(3, (2, 4, 4), width=4, depth=1).double()
    net = disentangle(model, "dgn", weights_input="ones", seed=0)
    batch = torch.export.Dim("batch", min=2, max=64)
    exported = torch.export.export(net, (small_input("vit"),), dynamic_shapes=({0: batch},))
    x = small_input("vit", 5)
    torch.testing.assert_close(exported.module()(x), net(x))


def test_default_size():
    assert vit(10, (1, 8, 8)).positions.shape == (1, 17, 64)
    assert vit(10, (3, 32, 32), width=8).positions.shape == (1, 65, 8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 6}, "multiple of vit's 4 heads, got 6"),
        ({"input_shape": (1, 7, 8)}, "2x2 patches: expected sides that are multiples of 2"),
        ({"batch_norm": True}, "layer norm in place of batch norm"),
    ],
)
def test_what_it_cannot_be_is_refused(options, message):
    with pytest.raises(ArchitectureError, match=message):
        build("vit", **{"num_classes": 2, "input_shape": (1, 8, 8), **options})


@pytest.mark.parametrize("name", sorted(WITHOUT_DLGN))
def test_architectures_without_a_dlgn(name):
    assert isinstance(small_architecture(name), nn.Module)
    for kind, reason in (("dlgn", "affine in the input"), ("dlgn-sf", "plain chain")):
        with pytest.raises(UnsupportedOperationError, match=reason):
            disentangle(small_architecture(name), kind)
