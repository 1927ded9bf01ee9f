"""What is handed over in place of a model.

- A compiled or wrapped model, and one whose parts are, is taken for the model inside: same names,
  same function, and the user's objects are as they were.
- A program of `torch.export` is the network that it was exported from, for another number of
  examples too, by layers with the model's parameters: dropped dropout, batch norm, attention, sizes
  that it asks for. Its own example serves where none is given; it can be redrawn.
- A program for one number of examples that it writes down, a scripted network, and what is no model
  are refused, with the repair.
"""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

import dualview as dv
from dualview.errors import TracingError

D = torch.float64


def small():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2)
    ).to(D)
    model[1].running_mean.uniform_(-0.5, 0.5)
    return model.eval()


X = torch.randn(4, 1, 6, 6, dtype=D, generator=torch.Generator().manual_seed(1))


class Whole(nn.Module):
    """Calls the parts of another, one of them wrapped."""

    def __init__(self, model, wrap):
        super().__init__()
        self.front, self.rest = wrap(model[:3]), model[3:]

    def forward(self, x):
        return self.rest(self.front(x))


WRAPPED = {
    "compiled": torch.compile,
    "DataParallel": nn.DataParallel,
    "AveragedModel": AveragedModel,
    "compiled and parallel": lambda m: nn.DataParallel(torch.compile(m)),
    "a compiled part": lambda m: Whole(m, torch.compile),
    "a parallel part": lambda m: Whole(m, lambda part: nn.DataParallel(torch.compile(part))),
}


@pytest.mark.parametrize("kind", ["dnn", "dlgn"])
@pytest.mark.parametrize("name", WRAPPED)
def test_the_model_inside_is_taken(name, kind):
    model = small()
    wrapped = WRAPPED[name](model)
    plain = Whole(model, nn.Identity) if "part" in name else model
    if "part" in name:
        plain.front = model[:3]
    before = [(n, type(m)) for n, m in wrapped.named_modules()]
    net = dv.disentangle(wrapped, kind, seed=0)
    expected = dv.disentangle(plain, kind, seed=0)
    torch.testing.assert_close(net(X), expected(X), rtol=0, atol=0)
    assert net.state_dict().keys() == expected.state_dict().keys()
    assert [(n, type(m)) for n, m in wrapped.named_modules()] == before
    assert net.recipe == expected.recipe


class Tokens(nn.Module):
    """Asks for sizes; embeds, attends, drops out; two outputs."""

    def __init__(self):
        super().__init__()
        self.embed, self.fc = nn.Embedding(9, 4), nn.Linear(4, 4)
        self.attention, self.norm = nn.MultiheadAttention(4, 2, batch_first=True), nn.LayerNorm(4)
        self.register_buffer("shift", torch.randn(4), persistent=False)

    def forward(self, tokens, mask):
        h = self.embed(tokens) + self.shift
        h = self.norm(h + self.attention(h, h, h, need_weights=False)[0])
        h = torch.relu(self.fc(nn.functional.dropout(h, 0.5, self.training)))
        h = h + mask.unsqueeze(-1)
        return {"mean": h.reshape(tokens.shape[0], -1).mean(1), "tokens": h}


def exported(model, *inputs, free=True):
    dims = tuple({0: torch.export.Dim.DYNAMIC} for _ in inputs) if free else None
    return torch.export.export(model, inputs, dynamic_shapes=dims)


def test_a_program_is_the_network():
    model = small()
    program = exported(model, X)
    net = dv.disentangle(program, "dnn")
    more = torch.randn(7, 1, 6, 6, dtype=D)
    torch.testing.assert_close(net(more), model(more), rtol=1e-12, atol=1e-12)
    assert {type(m) for m in net.weights_network.modules()} >= {
        nn.Conv2d,
        nn.BatchNorm2d,
        nn.Linear,
    }
    assert net.recipe.example_shape == (1, 6, 6)
    torch.testing.assert_close(program.module()(X), model(X), rtol=1e-12, atol=1e-12)
    drawn = dv.disentangle(program, "dlgn", seed=0)
    assert not torch.equal(drawn.weights_network(X, *drawn.gates(X)), net(X))


def test_a_program_of_several_inputs_and_outputs():
    torch.manual_seed(0)
    model = Tokens().to(D).eval()
    tokens, mask = torch.randint(0, 9, (2, 5)), torch.rand(2, 5, dtype=D)
    program = exported(model, tokens, mask)
    net = dv.disentangle(program, "dnn", mode="evaluation")
    tokens, mask = torch.randint(0, 9, (3, 5)), torch.rand(3, 5, dtype=D)
    got, expected = net(tokens, mask), model(tokens, mask)
    for name in ("mean", "tokens"):
        torch.testing.assert_close(got[name], expected[name], rtol=1e-12, atol=1e-12)


class Sized(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        return torch.relu(self.fc(x)).view(x.shape[0], 2, 2)


def test_a_program_for_one_number_of_examples():
    net = dv.disentangle(exported(small(), X, free=False), "dnn")
    more = torch.randn(7, 1, 6, 6, dtype=D)
    torch.testing.assert_close(net(more), small()(more), rtol=1e-12, atol=1e-12)
    with pytest.raises(TracingError, match=r"for 3 examples alone.*Dim\.DYNAMIC"):
        dv.disentangle(exported(Sized(), torch.randn(3, 4), free=False), "dnn")


@pytest.mark.filterwarnings("ignore:.*torch.jit.*")
@pytest.mark.parametrize("wrap", [torch.jit.script, lambda m: torch.jit.trace(m, X)])
def test_a_scripted_network_is_refused(wrap):
    model = small()
    for wrapped in (wrap(model), nn.Sequential(wrap(copy.deepcopy(model)), nn.ReLU())):
        with pytest.raises(TracingError, match=r"Repair: pass the network before torch\.jit"):
            dv.disentangle(wrapped, "dnn")


def test_what_is_no_model_is_refused():
    with pytest.raises(TracingError, match=r"got str\. Repair: dualview\.from_onnx"):
        dv.disentangle("model.onnx", "dnn")
