"""LayerNorm and attention taken apart.

- Every spelling accepted here: the dual form equals the model in float64 to 1e-10, gradients too,
  in training mode with attention dropout as well; nothing that only attention weights need is in
  the weights network.
- Activations and pools off the signal path are no gates.
- Spellings that are not attention weights of values are refused, each with its line and a repair;
  so is every kind of DLGN.
- What would normalise over the examples is refused, however the axis is written: at conversion
  where the shape is known, else at the call.
"""

import math
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import dualview as dv
from dualview.conversion.tracing import trace
from dualview.errors import (
    DualviewWarning,
    ExampleInputError,
    PrimalFilterError,
    UnsupportedOperationError,
)
from tests.cases import relative_error

D = torch.float64
TOKENS, WIDTH = 4, 6


class Mixer(nn.Module):
    """dense, ReLU, LayerNorm, a mixing of tokens given as a function, dense."""

    def __init__(self, mix):
        super().__init__()
        self.a, self.c = nn.Linear(3, WIDTH), nn.Linear(WIDTH, 2)
        self.q, self.k, self.v = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.norm, self.other = nn.LayerNorm(WIDTH), nn.LayerNorm((TOKENS, WIDTH), bias=False)
        self.softmax, self.plain = nn.Softmax(dim=-1), nn.Softmax(dim=0)
        self.dropout, self.elu = nn.Dropout(0.5), nn.ELU()
        self.register_buffer("mask", torch.randn(TOKENS, TOKENS))
        self.mix = mix

    def forward(self, x):
        h = self.norm(torch.relu(self.a(x)))
        return self.c(h + self.mix(self, h))


def inputs():
    return torch.randn(3, TOKENS, 3, dtype=D)


def scores(s, h):
    return s.q(h) @ s.k(h).transpose(-2, -1) / math.sqrt(WIDTH)


def heads(t):
    return t.unflatten(2, (2, -1)).transpose(1, 2)


def by_heads(s, h):
    q, k, v = heads(s.q(h)), heads(s.k(h)), heads(s.v(h))
    return ((q @ k.mT).softmax(-1) @ v).transpose(1, 2).flatten(2)


def fused(s, h):
    q, k, v = torch.cat([s.q(h), s.k(h), s.v(h)], -1).chunk(3, -1)
    return torch.softmax(q @ k.mT, -1) @ v


def dot_product(s, h, **options):
    return F.scaled_dot_product_attention(heads(s.q(h)), heads(s.k(h)), heads(s.v(h)), **options)


def relative_positions(s, h):
    return torch.where(s.mask > 0, scores(s, h) + s.mask, -1e9).softmax(-1) @ s.v(h)


ATTENTION = {
    "F.softmax": lambda s, h: F.softmax(scores(s, h), dim=-1) @ s.v(h),
    "torch.softmax": lambda s, h: torch.matmul(torch.softmax(scores(s, h), 2), s.v(h)),
    "x.softmax": lambda s, h: scores(s, h).softmax(dim=-1).matmul(s.v(h)),
    "nn.Softmax": lambda s, h: torch.bmm(s.softmax(scores(s, h)), s.v(h)),
    "bmm method": lambda s, h: s.softmax(scores(s, h)).bmm(s.v(h)),
    "einsum": lambda s, h: torch.einsum("nij,njc->nic", s.softmax(scores(s, h)), s.v(h)),
    "weights last": lambda s, h: (s.v(h).mT @ s.softmax(scores(s, h)).transpose(1, 2)).mT,
    "dropout": lambda s, h: s.dropout(s.softmax(scores(s, h))) @ s.v(h),
    "functional dropout": lambda s, h: F.dropout(s.softmax(scores(s, h)), 0.5, s.training) @ s.v(h),
    "heads": by_heads,
    "one layer for all three": fused,
    "same value twice": lambda s, h: s.softmax(scores(s, h)) @ h,
    "masked": relative_positions,
    "dot product": lambda s, h: dot_product(s, h).transpose(1, 2).flatten(2),
    "dot product, causal": lambda s, h: F.scaled_dot_product_attention(
        s.q(h), s.k(h), value=s.v(h), is_causal=True, scale=0.3
    ),
    "dot product, mask": lambda s, h: F.scaled_dot_product_attention(
        s.q(h), s.k(h), s.v(h), s.mask, 0.0
    ),
    "norm of queries": lambda s, h: torch.softmax(s.norm(s.q(h)) @ F.elu(s.k(h)).mT, -1) @ s.v(h),
    "layer norm of two axes": lambda s, h: s.other(s.v(h)),
    "F.layer_norm": lambda s, h: F.layer_norm(s.v(h), (WIDTH,), s.norm.weight, None, 1e-3),
    "F.layer_norm by keyword": lambda s, h: F.layer_norm(
        input=s.v(h), normalized_shape=[WIDTH], bias=s.norm.bias * 2
    ),
    "layer norm over the input's own shape": lambda s, h: F.layer_norm(s.v(h), h.shape[1:]),
    "layer norm over sizes": lambda s, h: F.layer_norm(s.v(h), [h.size(1), h.shape[-1]]),
    "layer norm over gamma's shape": lambda s, h: F.layer_norm(
        s.v(h), s.other.weight.shape, s.other.weight
    ),
}


def parameters(net):
    return dict(net.gating_network.named_parameters()) | dict(
        net.weights_network.named_parameters()
    )


@pytest.mark.parametrize("name", ATTENTION)
def test_identity_of_every_spelling(name):
    model, x = Mixer(ATTENTION[name]).double().eval(), inputs()
    net = dv.disentangle(model, "dnn", example_input=x)
    expected = model(x)
    assert relative_error(net(x), expected) < 1e-10
    expected.square().sum().backward()
    net(x).square().sum().backward()
    for key, parameter in parameters(net).items():
        torch.testing.assert_close(parameter.grad, model.get_parameter(key).grad)


def holds(network, *names):
    return {name for name in names if hasattr(network, name)}


@pytest.mark.parametrize("name", ["F.softmax", "dropout", "heads", "dot product", "masked"])
def test_the_weights_network_has_nothing_for_queries_and_keys(name):
    net = dv.disentangle(Mixer(ATTENTION[name]), "dgn", seed=0)
    for_scores = ("q", "k", "softmax", "dropout", "mask")
    assert holds(net.gating_network, "q", "k") == {"q", "k"}
    assert not holds(net.weights_network, *for_scores)
    assert holds(net.weights_network, "a", "v", "c", "norm") == {"a", "v", "c", "norm"}
    assert not holds(net.gating_network, "c", "v")  # there is no gate behind them


@pytest.mark.parametrize("name", ["dropout", "functional dropout"])
def test_both_networks_share_the_mask_of_attention_dropout(name):
    model, x = Mixer(ATTENTION[name]).double().train(), inputs()
    net = dv.disentangle(model, "dnn")
    torch.manual_seed(5)
    expected = model(x)
    torch.manual_seed(5)
    assert relative_error(net(x), expected) < 1e-10


def test_activations_off_the_signal_path_are_no_gates():
    def mix(s, h):
        return torch.softmax(torch.relu(s.q(h)) @ F.max_pool1d(s.k(h), 3, 1, 1).mT, -1) @ s.v(h)

    model, x = Mixer(mix).double(), inputs()
    traced = trace(model)
    assert (len(traced.activations), len(traced.max_pools), len(traced.multipliers)) == (1, 0, 2)
    assert relative_error(dv.disentangle(model, "dnn")(x), model(x)) < 1e-10


def test_constant_1_is_a_batch_of_ones():
    model, x = Mixer(by_heads).double(), inputs()
    ones = dv.disentangle(model, "dgn", weights_input="ones", seed=0)
    data = dv.disentangle(model, "dgn", seed=0)
    given = data.gates_and_switches(x)
    expected = data.weights_network(torch.ones_like(x), *given[0], *given[1])
    torch.testing.assert_close(ones(x), expected)


REFUSED = {
    "softmax as an activation": ("softmax", lambda s, h: s.v(torch.softmax(h, -1))),
    "softmax that is added": (
        "softmax",
        lambda s, h: s.softmax(scores(s, h)) @ s.v(h) + s.softmax(h),
    ),
    "softmax that is scaled": ("matmul", lambda s, h: (s.softmax(scores(s, h)) * 2) @ s.v(h)),
    "softmax over examples": ("matmul", lambda s, h: s.plain(scores(s, h)) @ s.v(h)),
    "softmax over no given axis": ("matmul", lambda s, h: F.softmax(scores(s, h)) @ s.v(h)),
    "of itself": ("matmul", lambda s, h: (lambda a: a @ a)(s.softmax(scores(s, h))) @ s.v(h)),
    "of a constant": ("Softmax", lambda s, h: s.softmax(s.q(h)) @ s.v.weight),
    "two weights": ("Softmax", lambda s, h: s.softmax(scores(s, h)) @ s.softmax(s.v(h))),
    "sigmoid attention": ("matmul", lambda s, h: torch.sigmoid(scores(s, h)) @ s.v(h)),
    "linear attention": ("matmul", lambda s, h: s.q(h) @ (s.k(h).softmax(1).mT @ s.v(h))),
    "three values": (
        "einsum",
        lambda s, h: torch.einsum("nij,njc,njc->nic", s.softmax(scores(s, h)), h, h),
    ),
    "dot product with dropout": (
        "scaled_dot_product_attention",
        lambda s, h: F.scaled_dot_product_attention(s.q(h), s.k(h), s.v(h), dropout_p=0.1),
    ),
    "random scores": (
        "dropout",
        lambda s, h: torch.softmax(F.dropout(scores(s, h), 0.1), -1) @ s.v(h),
    ),
    "TransformerEncoderLayer": ("TransformerEncoderLayer", lambda s, h: s.layer(h)),
    "gamma from the input": (
        "layer_norm",
        lambda s, h: F.layer_norm(s.v(h), (WIDTH,), h.mean((0, 1))),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_anything_else_is_refused(name):
    operation, mix = REFUSED[name]
    model = Mixer(mix)
    model.layer = nn.TransformerEncoderLayer(WIDTH, 2, 4, batch_first=True)
    with pytest.raises(UnsupportedOperationError) as caught:
        dv.disentangle(model, "dnn")
    head, _, rest = str(caught.value).partition(" at ")
    assert operation in head
    assert "test_signal_path.py" in rest
    assert "Repair:" in rest


def test_a_layer_of_pytorch_by_itself_is_refused_alike():
    layer = nn.TransformerEncoderLayer(WIDTH, 2, 4, batch_first=True)
    with pytest.raises(UnsupportedOperationError, match=r"Repair: write its layers out with nn.La"):
        dv.disentangle(layer, "dnn")


def test_a_dlgn_that_would_have_no_affine_layer_is_refused():
    model = nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    with pytest.raises(UnsupportedOperationError, match="affine in the input") as caught:
        dv.disentangle(model, "dlgn")
    assert str(caught.value).startswith("LayerNorm (module '0')")
    assert "Repair: use kind='dgn'" in str(caught.value)
    with pytest.raises(UnsupportedOperationError, match="plain chain"):
        dv.disentangle(model, "dlgn-sf")


def test_a_dlgn_says_which_layers_are_affine():
    layers = [nn.Linear(4, 5), nn.ReLU(), nn.LayerNorm(5), nn.Linear(5, 3), nn.Tanh()]
    model = nn.Sequential(*layers, nn.Linear(3, 2)).double().eval()
    with pytest.warns(DualviewWarning, match=r"LayerNorm \(module '2'\).* layers 1 are not affine"):
        net = dv.disentangle(model, "dlgn", seed=0)
    assert net.affine_layers == (True, False)
    x, y = torch.randn(2, 1, 4, dtype=torch.float64)
    values = map(net.preactivations, (x, y, (x + y) / 2))
    kept, lost = ((a + b) / 2 - c for a, b, c in zip(*values, strict=True))
    assert kept.abs().max() < 1e-12 < lost.abs().max()
    assert dv.primal_filters(net, 0, (4,)).filters().shape[-1] == 4
    with pytest.raises(PrimalFilterError, match=r"net\.affine_layers"):
        dv.primal_filters(net, 1, (4,))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert dv.disentangle(Mixer(by_heads), "dlgn").affine_layers == (True,)


OVER_EXAMPLES = {
    "softmax": lambda s, h: torch.softmax(scores(s, h), -3) @ s.v(h),
    "x.softmax": lambda s, h: scores(s, h).softmax(dim=-3) @ s.v(h),
    "nn.Softmax": lambda s, h: s.far(scores(s, h)) @ s.v(h),
    "transposed": lambda s, h: torch.softmax(scores(s, h), -3).mT @ s.v(h),
    "dot product without an example": lambda s, h: (
        h + F.scaled_dot_product_attention(s.q(h)[:, 0], s.k(h)[:, 0], s.v(h)[:, 0]).unsqueeze(1)
    ),
    "layer norm of everything": lambda s, h: F.layer_norm(s.v(h), (3, TOKENS, WIDTH)),
}


def over_examples(name):
    model = Mixer(OVER_EXAMPLES[name])
    model.far = nn.Softmax(dim=-3)
    return model.double()


@pytest.mark.parametrize("name", OVER_EXAMPLES)
def test_what_normalises_over_the_examples_is_refused(name):
    with pytest.raises(UnsupportedOperationError, match="over the examples") as caught:
        dv.disentangle(over_examples(name), "dnn", example_input=inputs())
    assert "test_signal_path.py" in str(caught.value)
    assert "Repair:" in str(caught.value)


@pytest.mark.parametrize("name", OVER_EXAMPLES)
def test_without_an_example_input_it_is_refused_at_the_call(name):
    net = dv.disentangle(over_examples(name), "dnn")
    with pytest.raises(ExampleInputError, match="over the examples"):
        net(inputs())


def test_layer_norm_over_a_shape_with_the_examples():
    model = Mixer(lambda s, h: F.layer_norm(s.v(h), h.shape)).double()
    for given in (None, inputs()):
        with pytest.raises(ExampleInputError, match="over the examples"):
            dv.disentangle(model, "dnn", example_input=given)(inputs())
