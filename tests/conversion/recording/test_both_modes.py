"""One graph, which is the one that runs in eager use.

- What a forward asks of its input and of PyTorch is answered as for real tensors, or refused with
  the user's line: types, attributes, gradients, autocast, scripting, random numbers.
- A refusal that forward catches is a refusal all the same.
- What a forward keeps from one call to the next is refused where it may matter, else warned of.
- Parameters are followed wherever they are read, or refused.
"""

import collections
import dataclasses
import random
import time
import warnings

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional as F
from torch.utils._pytree import tree_flatten
from torch.utils.checkpoint import checkpoint

import dualview as dv
from dualview.errors import ConversionError, DualviewWarning
from tests.cases import Net

D = torch.float64


def inputs():
    return 3 * torch.randn(5, 4, dtype=D, generator=torch.Generator().manual_seed(1))


def then(s, x):
    """dense, ReLU, dense: what each forward here ends with."""
    return s.c(torch.relu(s.a(x)))


def is_instance(s, x):
    return then(s, x * 2 if isinstance(x, Tensor) else x)


def is_instance_of_several(s, x):
    return then(s, x[0] if isinstance(x, list | tuple) else x)


def is_tensor(s, x):
    return then(s, x * 2 if torch.is_tensor(s.a(x)) else x)


def is_instance_deep_inside(s, x):
    return then(s, x * 2 if all(isinstance(h, Tensor) for h in (x, s.a(x), -x)) else x)


def is_parameter(s, x):
    factor = 2 if isinstance(s.b.weight, nn.Parameter) else 1
    return then(s, x * (3 if isinstance(x, nn.Parameter) else factor))


def class_attribute(s, x):
    return then(s, x * 2 if issubclass(x.__class__, Tensor) else x)


def match_class(s, x):
    match x:
        case Tensor():
            return then(s, 2 * x)
    return then(s, x)


def is_a_size(s, x):
    factor = 2 if isinstance(x.shape, tuple) and isinstance(x.shape[1] + 1, int) else 1
    return then(s, x * factor)


def is_a_tuple(s, x):
    parts = x.chunk(2, 1)
    return then(s, torch.cat(parts[::-1], 1) if isinstance(parts, tuple) else x)


def has_attribute(s, x):
    factor = (2 if hasattr(x, "tag") else 1) * (3 if hasattr(x, "shape") else 1)
    factor *= 5 if hasattr(x, "keys") or hasattr(x.shape, "keys") else 1
    return then(s, x * factor * (7 if getattr(x, "mask", None) is not None else 1))


def not_compiled(s, x):
    compiled = torch.jit.is_scripting() or torch.jit.is_tracing() or torch.compiler.is_compiling()
    return then(s, x if compiled or torch.onnx.is_in_onnx_export() else 2 * x)


def sizes_as_arguments(s, x):
    n = x.shape[0]
    h = torch.reshape(x, (n, x.size(1)))
    return then(s, torch.reshape(h, [n, -1]).narrow(1, 0, x.shape[1]).expand(n, 4))


def text_of_shape(s, x):
    assert "shape" in f"shape of {x.shape}, {x!r}"
    return then(s, x)


def module_made_in_forward(s, x):
    return s.c(nn.ReLU()(s.a(x)))


def parameters_by_name(s, x):
    own = dict(s.a.named_parameters())
    return s.c(torch.relu(F.linear(x, own["weight"], s.a._parameters["bias"])))


def checkpointed(s, x):
    return s.c(torch.relu(checkpoint(s.a, x, use_reentrant=False)))


def mask_made_once(s, x):
    if not hasattr(s, "mask"):
        s.register_buffer("mask", torch.arange(4, dtype=D))
    return then(s, x * s.mask)


def list_made_once(s, x):
    if not hasattr(s, "factors"):
        s.factors = [torch.arange(4, dtype=D)]
    return then(s, x * s.factors[0])


RIGHT = [
    *(is_instance, is_instance_of_several, is_tensor, is_instance_deep_inside, is_parameter),
    *(class_attribute, match_class, is_a_size, is_a_tuple, has_attribute, not_compiled),
    *(
        sizes_as_arguments,
        text_of_shape,
        module_made_in_forward,
        parameters_by_name,
        checkpointed,
        mask_made_once,
    ),
    list_made_once,
]


@pytest.mark.parametrize("forward", RIGHT, ids=lambda f: f.__name__)
def test_the_branch_is_the_one_that_runs(forward):
    model = Net(forward).double()
    net = dv.disentangle(model, "dnn")
    assert torch.equal(net(inputs()), model(inputs()))


class GoesBackBackwards(Function):
    @staticmethod
    def forward(ctx, x):
        return x

    @staticmethod
    def backward(ctx, g):
        return -g


def gradients_on(s, x):
    return then(s, x * 2 if torch.is_grad_enabled() else x)


def autocast_on(s, x):
    return then(s, x * 2 if torch.is_autocast_enabled("cpu") else x)


def in_autocast(s, x):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return then(s, x)


def gradients_by_mode(s, x):
    with torch.set_grad_enabled(s.training):
        return then(s, x)


def type_unknown(s, x):
    return then(s, x * 2 if isinstance(x.cumsum(1), Tensor) else x)


def by_requires_grad(s, x):
    return then(s, x * 2 if s.a.weight.requires_grad else x)


def by_dtype(s, x):
    return then(s, x * 2 if x.dtype == D else x)


def by_device(s, x):
    return then(s, x * 2 if x.device == torch.device("cpu") else x)


def by_text_of_dtype(s, x):
    return then(s, x * 2 if str(x.dtype) == "torch.float64" else x)


def by_text_in_text(s, x):
    return then(s, x * 2 if f"{x.device}" == "cpu" else x)


def by_value_of_parameter(s, x):
    return then(s, x * 2 if s.a.weight.sum() > -100 else x)


def catches_a_number(s, x):
    try:
        n = float(x.sum())
    except Exception:
        n = 1.0
    return then(s, x * n)


def catches_a_decision(s, x):
    try:
        x = x * 2 if x.sum() > -1e9 else x
    except Exception:
        x = x + 1
    return then(s, x)


def catches_an_iteration(s, x):
    try:
        x = torch.stack(list(x))
    except Exception:
        x = 2 * x
    return then(s, x)


def own_backward(s, x):
    return then(s, GoesBackBackwards.apply(s.a(x)))


def reentrant(s, x):
    return then(s, checkpoint(s.a, x, use_reentrant=True))


def parameters_past_modules(s, x):
    return then(s, x) * sum(p.sum() for p in s.b.parameters())


def pythons_random(s, x):
    return then(s, x) * (1 + random.random())


def numpys_random(s, x):
    return then(s, x) * float(np.random.rand())  # noqa: NPY002


def torchs_random(s, x):
    return then(s, x) * torch.rand(4, dtype=D)


def generator_of_its_own(s, x):
    return then(s, x) * torch.rand(4, dtype=D, generator=GENERATOR)


GENERATOR = torch.Generator()


def python_generator_of_its_own(s, x):
    return then(s, x) * OWN_RANDOM.random()


OWN_RANDOM = random.Random(0)


def the_time(s, x):
    return then(s, x) * time.perf_counter()


def counts(s, x):
    s.calls = getattr(s, "calls", 0) + 1
    return then(s, x)


def counts_in_training(s, x):
    if s.training:
        s.calls = getattr(s, "calls", 0) + 1
    return then(s, x)


def switches(s, x):
    s.odd = not getattr(s, "odd", False)
    return then(s, x)


def grows_a_global_list(s, x):
    GROWS.append(1)
    return then(s, x) * len(GROWS)


GROWS: list[int] = []


def reads_the_last(s, x):
    h = s.a(x)
    if getattr(s, "last", None) is not None:
        h = h + s.last
    s.last = h
    return s.c(torch.relu(h))


def moving_tensor(s, x):
    s.plain["mean"].mul_(0.9)
    return then(s, x) + s.plain["mean"]


def counts_in_a_buffer(s, x):
    s.count += 1
    return then(s, x)


def counts_in_place(s, x):
    s.count.add_(1)
    return then(s, x)


def keeps_in_a_buffer(s, x):
    s.count = s.a(x)
    return then(s, x)


def deletes_a_buffer(s, x):
    del s.count
    return then(s, x)


def dropout_of_a_parameter(s, x):
    return F.linear(torch.relu(s.a(x)), F.dropout(s.b.weight, 0.5))


def catches_a_count(s, x):
    try:
        for _ in range(x.shape[1]):
            x = 2 * x
    except TypeError:
        x = x + 1
    return then(s, x)


def catches_an_index(s, x):
    try:
        x = [2, 3, 4, 5, 6][x.shape[1]] * x
    except TypeError:
        x = x + 1
    return then(s, x)


REFUSED = {
    catches_a_count: r"counts by a value or size of its input \(range\)",
    catches_an_index: r"counts by a value or size of its input \(BINARY_SUBSCR\)",
    gradients_on: r"another thing when gradients are off",
    autocast_on: r"another thing when gradients are off or autocast is on",
    in_autocast: r"runs under torch.autocast",
    gradients_by_mode: r"runs under torch.no_grad",
    type_unknown: r"asks for the type of a value",
    by_requires_grad: r"decides by a value, size, dtype or device",
    by_dtype: r"decides by a value, size, dtype or device",
    by_device: r"decides by a value, size, dtype or device",
    by_text_of_dtype: r"takes the text of a device or dtype",
    by_text_in_text: r"takes the text of a device or dtype",
    by_value_of_parameter: r"decides by a value",
    catches_a_number: r"takes float\(\) of a value",
    catches_a_decision: r"decides by a value",
    catches_an_iteration: r"goes through the entries",
    own_backward: r"GoesBackBackwards, a torch.autograd.Function with a backward",
    reentrant: r"use_reentrant=False",
    parameters_past_modules: r"reads past their module",
    pythons_random: r"random numbers of Python's or NumPy's",
    numpys_random: r"random numbers of Python's or NumPy's",
    torchs_random: r"draws random numbers",
    generator_of_its_own: r"draws random numbers",
    python_generator_of_its_own: r"another thing each time it is called",
    the_time: r"another thing each time it is called",
    counts: r"changes self.calls",
    counts_in_training: r"changes self.calls",
    switches: r"changes self.odd",
    grows_a_global_list: r"another thing each time it is called",
    reads_the_last: r"an earlier call of forward has left behind",
    moving_tensor: r"changes self.plain",
    counts_in_a_buffer: r"sets self.count, a parameter or buffer",
    counts_in_place: r"changes the model's own tensor 'count' in place",
    keeps_in_a_buffer: r"sets self.count, a parameter or buffer",
    deletes_a_buffer: r"sets self.count, a parameter or buffer",
    dropout_of_a_parameter: r"dropout is on in evaluation mode too",
}


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize("forward", REFUSED, ids=lambda f: f.__name__)
def test_another_branch_is_refused_with_the_line_and_a_repair(forward):
    model = Net(forward, count=torch.zeros(()), plain={"mean": torch.ones((), dtype=D)}).double()
    with pytest.raises(ConversionError, match=REFUSED[forward]) as caught:
        dv.disentangle(model, "dnn")
    assert "Repair: " in str(caught.value)
    of_the_model = "calls" in REFUSED[forward] or "self.odd" in REFUSED[forward]
    if not (of_the_model or "Python's" in REFUSED[forward] or "self.plain" in REFUSED[forward]):
        assert "test_both_modes.py:" in str(caught.value)


def test_random_state_is_that_of_before_after_a_refusal():
    before = (random.getstate(), torch.get_rng_state())
    numpys = np.random.get_state()[1].copy()  # noqa: NPY002
    for forward in (pythons_random, torchs_random, numpys_random):
        with pytest.raises(ConversionError):
            dv.disentangle(_made(forward), "dnn")
    assert random.getstate() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])
    assert np.array_equal(np.random.get_state()[1], numpys)  # noqa: NPY002


def _made(forward):
    state = torch.get_rng_state()
    model = Net(forward)
    torch.set_rng_state(state)
    return model


def test_what_torch_compile_has_compiled_is_refused():
    def double(x):
        return 2 * x

    compiled = torch.compile(double, backend="eager")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ConversionError, match=r"torch\.compile has compiled"):
            dv.disentangle(Net(lambda s, x: then(s, compiled(s.a(x)))), "dnn")


def keeps_the_last(s, x):
    s.last = s.a(x)
    return s.c(torch.relu(s.last))


def keeps_a_list(s, x):
    s.kept.append(s.a(x))
    return then(s, x)


def keeps_a_few(s, x):
    s.few.append(s.a(x))
    return then(s, x)


def keeps_by_name(s, x):
    s.named["a"] = s.a(x)
    return then(s, x)


KEEPING = {
    keeps_the_last: "self.last",
    keeps_a_list: "self.kept",
    keeps_a_few: "self.few",
    keeps_by_name: "self.named",
}


@pytest.mark.parametrize("forward", KEEPING, ids=lambda f: f.__name__)
def test_what_is_only_kept_is_warned_of(forward):
    model = Net(forward, kept=[], few=collections.deque(maxlen=2), named={}).double()
    with pytest.warns(DualviewWarning, match=f"forward sets {KEEPING[forward]}"):
        net = dv.disentangle(model, "dnn")
    assert not model.kept + list(model.few) + list(model.named)
    assert torch.equal(net(inputs()), model(inputs()))


def test_autocast_that_is_switched_off_is_warned_of():
    def forward(s, x):
        with torch.autocast("cpu", enabled=False):
            h = s.a(x)
        return s.c(torch.relu(h))

    model = Net(forward).double()
    with pytest.warns(DualviewWarning, match=r"Linear \(module 'a'\).*switches autocast off"):
        net = dv.disentangle(model, "dnn")
    assert torch.equal(net(inputs()), model(inputs()))


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_what_surrounds_a_conversion_does_not_matter(context):
    model = Net(then).double()
    model.b.weight.requires_grad_(False)
    with context(), torch.autocast("cpu", dtype=torch.bfloat16):
        net = dv.disentangle(model, "dnn")
    with torch.inference_mode():
        assert torch.equal(net(inputs()), model(inputs()))
    assert not model.b.weight.requires_grad


CONSTANTS = {
    "relu(w)": lambda s: torch.relu(s.b.weight),
    "F.gelu(w)": lambda s: F.gelu(s.b.weight),
    "prelu(w)": lambda s: s.b.weight.prelu(s.slope),
    "nn.ReLU()(w)": lambda s: s.act(s.b.weight),
    "sigmoid(w)": lambda s: torch.sigmoid(s.b.weight),
    "softplus(w)": lambda s: F.softplus(s.b.weight),
    "softmax(w)": lambda s: torch.softmax(s.b.weight, 1),
    "w ** 2": lambda s: s.b.weight**2,
    "w / norm": lambda s: s.b.weight / s.b.weight.norm(dim=1, keepdim=True),
    "where": lambda s: torch.where(s.b.weight > 0, s.b.weight, -s.b.weight),
    "pool of a buffer": lambda s: F.max_pool1d(s.table, 2),
}


@pytest.mark.parametrize("kind", ["dnn", "dgn", "dlgn"])
@pytest.mark.parametrize("name", CONSTANTS)
def test_what_no_input_changes_is_a_constant_and_no_gate(name, kind):
    def forward(s, x):
        return s.c(F.linear(torch.relu(s.a(x)), CONSTANTS[name](s)))

    table = torch.arange(32.0, dtype=D).view(4, 8).sin()
    model = Net(forward, slope=torch.tensor([0.2], dtype=D), act=nn.ReLU(), table=table).double()
    net = dv.disentangle(model, kind, gate="own" if kind == "dnn" else "hard", seed=0)
    assert net.n_gates == 1
    assert [q.shape for q in net.preactivations(inputs())] == [(5, 4)]
    weights = net.weights_network
    by_hand = F.linear(
        weights.a(inputs()) * net.gates(inputs())[0],
        CONSTANTS[name](_with_parameters_of(model, weights)),
    )
    torch.testing.assert_close(net(inputs()), weights.c(by_hand), rtol=1e-12, atol=1e-12)
    if kind == "dnn":
        assert torch.equal(net(inputs()), model(inputs()))


def _with_parameters_of(model, weights):
    """The model with the parameters of the weights network, where that has them."""
    own = dict(weights.named_parameters())
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in own and own[name] is not parameter:
                parameter.copy_(own[name])
    return model


Pair = collections.namedtuple("Pair", ["first", "second"])


@dataclasses.dataclass
class Record:
    value: Tensor


class Sorted(dict):
    pass


@pytest.mark.parametrize(
    "wrap", [lambda y: Pair(y, y), Record, lambda y: Sorted(a=y), lambda y: [Pair(y, y)], slice]
)
def test_outputs_of_other_classes_are_refused_by_name(wrap):
    with pytest.raises(ConversionError, match=r"forward returns a \w+.*plain tuple, list or dict"):
        dv.disentangle(Net(lambda s, x: wrap(then(s, x))), "dnn")


@pytest.mark.parametrize(
    "wrap",
    [
        *(lambda y: (y,), lambda y: [y, 2 * y], lambda y: {"a": y, "b": (y, None)}),
        lambda y: collections.OrderedDict(a=y),
    ],
)
def test_plain_containers_are_returned_as_they_are(wrap):
    model = Net(lambda s, x: wrap(then(s, x))).double()
    got, wanted = dv.disentangle(model, "dnn")(inputs()), model(inputs())
    leaves, tree = tree_flatten(got if isinstance(got, list | tuple) else dict(got))
    expected, other = tree_flatten(wanted if isinstance(wanted, list | tuple) else dict(wanted))
    assert tree == other
    assert all(a is b is None or torch.equal(a, b) for a, b in zip(leaves, expected, strict=True))
