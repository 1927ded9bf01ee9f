"""`nn.MultiheadAttention` written out.

- It computes what the module does in evaluation mode, for every way to build it, self- and
  cross-attention; the dual form's gradients are the model's; dropout follows the mode.
- A DGN's weights network draws projections of its own and uses those of the values.
- A value without an axis of examples is refused, at conversion or at the call.
- Masks, extra keys and returned attention weights are refused with a repair.
"""

import pytest
import torch
from torch import nn

import dualview as dv
from dualview.errors import ExampleInputError, UnsupportedOperationError
from tests.cases import relative_error

D = torch.float64


class Model(nn.Module):
    def __init__(self, call=lambda s, h: s.attention(h, h, h)[0], **options):
        super().__init__()
        self.a, self.c = nn.Linear(3, 4), nn.Linear(4, 2)
        self.attention = nn.MultiheadAttention(4, 2, **{"batch_first": True, **options})
        self.register_buffer("mask", torch.zeros(5, 5))
        self.call = call

    def forward(self, x):
        h = torch.relu(self.a(x))
        return self.c(h + self.call(self, h))


def unpacked(s, h):
    mixed, _ = s.attention(h, h * 2, value=h - 1, need_weights=False)
    return mixed


def tokens_first(s, h):
    h = h.transpose(0, 1)
    return s.attention(h, h, h)[0].transpose(0, 1)


def other_keys(s, h):
    return s.attention(h, h[:, :3, :2], h[:, :3, :3])[0]


SPELLINGS = {
    "self-attention": {},
    "no bias": {"bias": False},
    "unpacked": {"call": unpacked},
    "tokens first": {"call": tokens_first, "batch_first": False},
    "keys of other widths": {"call": other_keys, "kdim": 2, "vdim": 3},
    "dropout": {"dropout": 0.5},
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_dual_form(name):
    model, x = Model(**SPELLINGS[name]).double().eval(), torch.randn(3, 5, 3, dtype=D)
    nn.init.normal_(model.attention.out_proj.bias if name != "no bias" else model.c.bias)
    net = dv.disentangle(model, "dnn", example_input=x)
    expected = model(x)
    assert relative_error(net(x), expected) < 1e-10
    expected.square().sum().backward()
    net(x).square().sum().backward()
    own = [*net.weights_network.named_parameters(), *net.gating_network.named_parameters()]
    for key, parameter in own:
        torch.testing.assert_close(parameter.grad, model.get_parameter(key).grad)


def test_dropout_follows_the_mode():
    model, x = Model(dropout=0.5).double().train(), torch.randn(3, 5, 3, dtype=D)
    net = dv.disentangle(model, "dnn")
    assert not torch.equal(net(x), net(x))
    assert relative_error(net.eval()(x), model.eval()(x)) < 1e-10


def test_a_dgn_by_hand():
    model, x = Model().double(), torch.randn(3, 5, 3, dtype=D)
    net = dv.disentangle(model, "dgn", seed=0)
    (gate,), (weights,) = net.gates_and_switches(x)
    _, expected = model.attention(*[torch.relu(model.a(x))] * 3, average_attn_weights=False)
    torch.testing.assert_close(weights, expected)
    own = dict(net.weights_network.named_parameters())
    assert not torch.equal(own["attention.in_proj_weight"], model.attention.in_proj_weight)
    h = (x @ own["a.weight"].T + own["a.bias"]) * gate
    value = h @ own["attention.in_proj_weight"][8:].T + own["attention.in_proj_bias"][8:]
    mixed = (weights @ value.view(3, 5, 2, 2).transpose(1, 2)).transpose(1, 2).flatten(2)
    h = h + mixed @ own["attention.out_proj.weight"].T + own["attention.out_proj.bias"]
    torch.testing.assert_close(net(x), h @ own["c.weight"].T + own["c.bias"])


@pytest.mark.parametrize("name", ["self-attention", "tokens first", "other keys"])
@pytest.mark.parametrize("kind", ["dnn", "dgn"])
def test_tokens_are_not_taken_for_examples(name, kind):
    calls = {
        "self-attention": {},
        "tokens first": {"batch_first": False},
        "other keys": {"call": lambda s, h: s.attention(h, h[:3], h[:3])[0]},
    }
    model, x = Model(**calls[name]), torch.randn(5, 3)
    net = dv.disentangle(model, kind, seed=0)
    with pytest.raises(ExampleInputError, match=r"^nn\.MultiheadAttention: .*\(5, 4\).* Repair: "):
        net(x)
    with pytest.raises(ExampleInputError, match=r"nn\.MultiheadAttention: .*\(5, 4\).* Repair: "):
        dv.disentangle(model, kind, seed=0, example_input=x)


REFUSED = {
    "mask": {"call": lambda s, h: s.attention(h, h, h, attn_mask=s.mask)[0]},
    "padding": {"call": lambda s, h: s.attention(h, h, h, key_padding_mask=s.mask)[0]},
    "extra key": {"add_bias_kv": True},
    "zero key": {"add_zero_attn": True},
    "weights returned": {"call": lambda s, h: s.attention(h, h, h)[1] @ h},
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_rule_is_refused(name):
    with pytest.raises(UnsupportedOperationError) as caught:
        dv.disentangle(Model(**REFUSED[name]), "dnn")
    message = str(caught.value)
    assert message.startswith("MultiheadAttention (module 'attention') at ")
    assert "test_multihead_attention.py" in message
    assert "Repair: call it without masks" in message
