"""Types that a forward names, and tensors that it makes anew.

- However a model spells them, by symbolic tracing and by torch.export, the network is the model's
  and every view gives what it gives of the same network with buffers in their place: of float32
  parameters, in float64 where a view computes so, and of the network that is cast to float64.
- What has another type than the network keeps it; where a name is taken, another is.
- What is made like indices keeps their type; a model whose tensors have several types is left
  alone.
"""

import pytest
import torch
from torch import nn

import dualview as dv
from dualview.conversion import tracing
from dualview.conversion.own_type import OwnType
from dualview.conversion.recording.both_modes import UnfollowedError

X = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))


class Model(nn.Module):
    """Layers i, h and o, and constants; the forward is a function of it."""

    def __init__(self, function):
        super().__init__()
        torch.manual_seed(1)
        self.i, self.h, self.o = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 2)
        self.register_buffer("zeros", torch.zeros(1, 8))
        self.register_buffer("ones", torch.ones(1, 8))
        self.register_buffer("halves", torch.full((1, 8), 0.5))
        self.register_buffer("ramp", torch.arange(8.0))
        object.__setattr__(self, "function", function)

    def forward(self, x):
        return self.o(torch.relu(self.function(self, x)))


def _shifted(constant):
    def function(m, x):
        h = m.i(x)
        return h + m.h(constant(m, h))

    return function


def _scaled(constant):
    def function(m, x):
        h = m.i(x)
        return m.h(h * constant(m, h))

    return function


ZEROS, HALVES = _shifted(lambda m, h: m.zeros), _shifted(lambda m, h: m.halves)
ONES, RAMP = _scaled(lambda m, h: m.ones), _scaled(lambda m, h: m.ramp)
PLAIN = _scaled(lambda m, h: 1)
SPELLED = {
    "zeros": (_shifted(lambda m, h: torch.zeros(h.shape[0], 8)), ZEROS),
    "zeros, device": (_shifted(lambda m, h: torch.zeros(h.shape, device=h.device)), ZEROS),
    "zeros, dtype": (_shifted(lambda m, h: torch.zeros(h.size(0), 8, dtype=h.dtype)), ZEROS),
    "zeros, float32": (_shifted(lambda m, h: torch.zeros(h.size(), dtype=torch.float)), ZEROS),
    "new_zeros": (_shifted(lambda m, h: h.new_zeros(h.shape[0], 8)), ZEROS),
    "new_zeros of a tuple": (_shifted(lambda m, h: h.new_zeros((h.shape[0], 8))), ZEROS),
    "new_zeros of a shape": (_shifted(lambda m, h: h.new_zeros(h.shape)), ZEROS),
    "new_zeros of a size": (_shifted(lambda m, h: h.new_zeros(h.shape[1])), ZEROS),
    "new_zeros of a number": (_shifted(lambda m, h: h.new_zeros(8)), ZEROS),
    "new_zeros, size=": (_shifted(lambda m, h: h.new_zeros(size=(1, 8))), ZEROS),
    "zeros_like": (_shifted(lambda m, h: torch.zeros_like(h)), ZEROS),
    "zeros_like, input=": (_shifted(lambda m, h: torch.zeros_like(input=h)), ZEROS),
    "full": (_shifted(lambda m, h: torch.full((h.shape[0], 8), 0.5)), HALVES),
    "full, fill_value=": (_shifted(lambda m, h: torch.full(h.shape, fill_value=0.5)), HALVES),
    "new_full": (_shifted(lambda m, h: h.new_full((h.shape[0], 8), 0.5)), HALVES),
    "full_like": (_shifted(lambda m, h: torch.full_like(h, 0.5)), HALVES),
    "full_like of a whole number": (_scaled(lambda m, h: torch.full_like(h, 1)), ONES),
    "ones": (_scaled(lambda m, h: torch.ones(h.shape[0], 8)), ONES),
    "ones_like": (_scaled(lambda m, h: torch.ones_like(h)), ONES),
    "new_ones": (_scaled(lambda m, h: h.new_ones(h.shape[0], 1)), ONES),
    "new_ones, int64": (_scaled(lambda m, h: h.new_ones(h.shape[0], 1, dtype=torch.long)), ONES),
    "arange": (_scaled(lambda m, h: torch.arange(0.0, h.shape[1])), RAMP),
    "arange of whole numbers": (_scaled(lambda m, h: torch.arange(h.shape[1])), RAMP),
    "linspace": (_scaled(lambda m, h: torch.linspace(0, 7, h.shape[1])), RAMP),
    "eye": (_scaled(lambda m, h: torch.eye(h.shape[1]).sum(0)), ONES),
    "float": (lambda m, x: m.h(m.i(x.float()).float()), PLAIN),
    "to": (lambda m, x: m.h(m.i(x.to(torch.float32))), PLAIN),
    "to, dtype=": (lambda m, x: m.h(m.i(x).to(dtype=torch.float32)), PLAIN),
    "type": (lambda m, x: m.h(m.i(x).type(torch.float32)), PLAIN),
    "to and back": (lambda m, x: m.h(m.i(x.double().to(x.dtype))), PLAIN),
}


def network(function):
    model = Model(function).eval()
    net = dv.disentangle(model, "dnn", example_input=X).eval()
    torch.testing.assert_close(net(X), model(X))
    return net


def views(net):
    """What each view gives, in float64."""
    paths = dv.top_paths(net, X[:1], 0, 3)
    yield dv.npk(net, X).double()
    yield dv.expected_ntk(net, X, biases=True).double()
    yield dv.ntk_spread(net, X, draws=3).mean.double()
    yield torch.tensor([path.contribution for path in paths.paths], dtype=torch.float64)
    yield torch.from_numpy(dv.input_contributions(net, X[:1], 0).coordinates)
    yield torch.from_numpy(dv.layer_contributions(net, X[:1], 0, 0).units)
    yield net.double()(X.double()).detach()
    yield dv.npk(net, X.double())
    yield dv.npk_features(net, X.double(), 8)


def _untraceable(*args, **options):
    raise UnfollowedError("it is to be exported")


@pytest.mark.parametrize("exported", [False, True], ids=["traced", "exported"])
@pytest.mark.parametrize("name", SPELLED)
def test_every_view(name, exported, monkeypatch):
    spelled, plain = SPELLED[name]
    wanted = views(network(plain))
    if exported:
        monkeypatch.setattr(tracing, "trace_both_modes", _untraceable)
    for number, (one, other) in enumerate(zip(views(network(spelled)), wanted, strict=True)):
        tight = {"rtol": 1e-12, "atol": 1e-12} if number > 1 else {"rtol": 1e-5, "atol": 1e-6}
        torch.testing.assert_close(one, other, **tight)


class Taken(nn.Module):
    """Has a member of the name that conversion would give its own."""

    def __init__(self):
        super().__init__()
        self.own_type, self.o = nn.Linear(6, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.o(torch.relu(self.own_type(x.float())).float())


def test_a_name_that_is_taken():
    model = Taken().eval()
    net = dv.disentangle(model, "dnn", example_input=X)
    assert torch.equal(net(X), model(X))
    names = {name for name, module in net.named_modules() if isinstance(module, OwnType)}
    assert names == {"gating_network.own_type_", "weights_network.own_type_"}
    assert net.state_dict().keys() == dv.disentangle(model, "dnn").state_dict().keys()
    assert not any("own_type_" in name for name in net.state_dict())


def own_types(model, x):
    module = tracing.trace(model, x).module
    return [node for node in module.graph.nodes if node.target == "own_type"]


def test_other_types_are_kept():
    halved = Model(lambda m, x: m.h(m.i(x).half().float())).eval()
    assert len(own_types(halved, X)) == 1
    net = dv.disentangle(halved, "dnn", example_input=X).double()
    rounded = net.gating_network(X.double())[0]
    assert not torch.equal(rounded, halved.double().h(halved.i(X.double())))
    counted = Model(lambda m, x: m.i(x) * torch.full((x.shape[0], 1), 2)).eval()
    assert own_types(counted, X) == []


class Tokens(nn.Module):
    """What is made like tokens are indices too."""

    def __init__(self):
        super().__init__()
        self.e, self.o = nn.Embedding(5, 4), nn.Linear(4, 2)

    def forward(self, x):
        h = self.e(x) + self.e(x.new_zeros(x.shape))
        return self.o(torch.relu(h).mean(1))


def test_indices():
    model, x = Tokens().eval(), torch.tensor([[1, 2, 3]])
    assert torch.equal(dv.disentangle(model, "dnn", example_input=x)(x), model(x))


def test_several_types():
    model = Model(PLAIN).eval()
    model.register_buffer("steps", torch.zeros(1, dtype=torch.float64))
    model.function = lambda m, x: m.i(x) + torch.zeros(x.shape[0], 8) + m.steps.float()
    assert own_types(model, X) == []
