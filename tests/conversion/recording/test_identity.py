"""Questions that no stand-in can answer.

- Exact types and identities of values are refused with their line, in forward, in functions inside
  it and in what it calls.
- With an example input the model and its trace are compared: right, or refused.
- Identities of None, of modules and of what is no value of forward are no such question, nor is a
  type that is only written into a message.
"""

import pytest
import torch
from torch import Tensor, nn

import dualview as dv
from dualview.errors import TracingError
from tests.cases import Net

D = torch.float64


def inputs():
    return torch.randn(5, 4, dtype=D, generator=torch.Generator().manual_seed(1))


def then(s, x):
    return s.c(torch.relu(s.a(x)))


def doubled_if_tensor(x):
    return 2 * x if type(x) is Tensor else x


ASKING = {
    "type is": lambda s, x: then(s, 2 * x if type(x) is Tensor else x),
    "type is not": lambda s, x: then(s, x if type(x) is not Tensor else 2 * x),
    "type ==": lambda s, x: then(s, 2 * x if type(x) == Tensor else x),  # noqa: E721
    "type of several": lambda s, x: then(s, 2 * x if type(x.chunk(2, 1)) is tuple else x),
    "type in": lambda s, x: then(s, 2 * x if type(x) in (Tensor, nn.Parameter) else x),
    "name of type": lambda s, x: then(s, 2 * x if type(x).__name__ == "Tensor" else x),
    "issubclass": lambda s, x: then(s, 2 * x if issubclass(type(x), Tensor) else x),
    "dtype is": lambda s, x: then(s, 2 * x if x.dtype is D else x),
    "is itself": lambda s, x: then(s, 2 * x if x.contiguous() is x else x),
    "inside": lambda s, x: then(s, (lambda h: 2 * h if type(h) is Tensor else h)(x)),
    "in a comprehension": lambda s, x: then(
        s, torch.stack([2 * h if type(h) is Tensor else h for h in (x,)]).sum(0)
    ),
    "in what it calls": lambda s, x: then(s, doubled_if_tensor(x)),
}


@pytest.mark.parametrize("name", ASKING)
def test_questions_are_refused_with_their_line(name):
    with pytest.raises(TracingError, match=r"exact type or identity.*test_identity.py:\d+: "):
        dv.disentangle(Net(ASKING[name]).double(), "dnn")


@pytest.mark.parametrize("name", ASKING)
def test_with_an_example_the_branch_that_runs_is_known(name):
    model = Net(ASKING[name]).double()
    with pytest.raises(TracingError, match="give different outputs for example_input"):
        dv.disentangle(model, "dnn", example_input=inputs())


def right_as_it_is(s, x):
    return then(s, 2 * x if type(x) is list else x)


def test_with_an_example_a_question_without_consequence_is_right():
    model = Net(right_as_it_is).double()
    net = dv.disentangle(model, "dnn", example_input=inputs())
    assert torch.equal(net(inputs()), model(inputs()))


def none(s, x, mask=None):
    given = mask is not None
    return then(s, x if not given else x * mask)


def of_modules(s, x):
    return then(s, x if type(s) is Net and s.a is not s.b and type(s.a) is nn.Linear else 2 * x)


def in_a_message(s, x):
    if not isinstance(x, Tensor):
        raise TypeError(f"expected a tensor, got {type(x)} ({type(x).__name__})")
    return then(s, x)


def of_containers(s, x):
    values = [x, x] if type(x) is list else (x,)
    assert type(values) == tuple  # noqa: E721
    return then(s, values[0])


@pytest.mark.parametrize(
    "forward", [none, of_modules, in_a_message, of_containers], ids=lambda f: f.__name__
)
def test_what_asks_nothing_of_a_value_is_right(forward):
    model = Net(forward).double()
    assert torch.equal(dv.disentangle(model, "dnn")(inputs()), model(inputs()))


def test_a_method_that_forward_calls():
    class Model(Net):
        def doubled(self, x):
            return 2 * x if type(x) is Tensor else x

        def forward(self, x):
            return then(self, self.doubled(x))

    with pytest.raises(TracingError, match="exact type or identity"):
        dv.disentangle(Model(None), "dnn")
