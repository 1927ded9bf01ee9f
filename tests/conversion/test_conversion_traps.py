"""Traps for conversion, each once fallen into: a converted network equals the model, or is refused.

- Values, gradients and batch-norm statistics are the model's, or `disentangle` raises.
- Aliases, sizes, modes, random numbers, odd initialisers and odd options do not slip through.
- The model, its class and the random state are left as they were.
"""

from __future__ import annotations

import contextlib
import copy
import io
import warnings

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import dualview as dv
from dualview.architectures import ARCHITECTURES, WITHOUT_DLGN
from dualview.conversion.gates import apply_gate
from dualview.errors import DualviewError, DualviewWarning
from tests.cases import Net, small_architecture, small_input

D = torch.float64


def inputs(n: int = 5) -> Tensor:
    return 3 * torch.randn(n, 4, dtype=D, generator=torch.Generator().manual_seed(1))


def equal_or_refused(model: nn.Module, x: Tensor, *, train: bool = False) -> None:
    """The dual form equals the model, or the package refuses. Never silently another function."""
    model = model.double().train(train)
    try:
        net = dv.disentangle(model, kind="dnn")
    except DualviewError:
        return
    torch.manual_seed(7)
    wanted = copy.deepcopy(model)(x.clone())
    torch.manual_seed(7)
    torch.testing.assert_close(net(x.clone()), wanted, rtol=1e-10, atol=1e-12)


def converts(model: nn.Module, x: Tensor) -> None:
    """Like `equal_or_refused`, but refusing is a defect too."""
    model = model.double().eval()
    torch.testing.assert_close(
        dv.disentangle(model, kind="dnn")(x), model(x), rtol=1e-10, atol=1e-12
    )


# Silently wrong numbers


@pytest.mark.parametrize("slope", [0.01, 0.2, 0.3])
def test_leaky_relu_identity_in_float64(slope):
    converts(nn.Sequential(nn.Linear(4, 8), nn.LeakyReLU(slope), nn.Linear(8, 3)), inputs())


@pytest.mark.parametrize("slope", [0.2])
def test_leaky_relu_functional_identity_in_float64(slope):
    converts(Net(lambda s, x: s.c(F.leaky_relu(s.a(x), slope))), inputs())


def test_batch_norm_after_the_last_gate_updates_its_statistics():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.BatchNorm1d(4), nn.Linear(4, 2)).double()
    net = dv.disentangle(model.train(), kind="dnn").train()
    net(inputs()), model(inputs())
    found = next(m for m in net.modules() if isinstance(m, nn.BatchNorm1d))
    torch.testing.assert_close(found.running_mean, model[2].running_mean)
    assert int(found.num_batches_tracked) == 1


def test_dropout_between_gates_in_training_mode_uses_one_mask():
    f = lambda s, x: s.c(torch.relu(s.b(s.drop(torch.relu(s.a(x))))))  # noqa: E731
    model = Net(f, drop=nn.Dropout(0.5)).double().train()
    with pytest.warns(DualviewWarning, match="masks of their own"):
        dv.disentangle(model, kind="dnn")


def test_functional_dropout_that_is_always_on_between_gates():
    f = lambda s, x: s.c(torch.relu(s.b(F.dropout(torch.relu(s.a(x)), 0.5))))  # noqa: E731
    equal_or_refused(Net(f), inputs())


def test_functional_dropout_whose_rate_follows_the_mode():
    def f(s, x):
        h = F.dropout(torch.relu(s.a(x)), 0.5 if s.training else 0.0, training=True)
        return s.c(h)

    equal_or_refused(Net(f), inputs(), train=True)


def test_functional_dropout_follows_its_own_modules_mode():
    class Drop(nn.Module):
        def forward(self, x):
            return F.dropout(x, 0.5, training=self.training)

    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), Drop(), nn.Linear(4, 2)).double().train()
    model[2].eval()
    net = dv.disentangle(model, kind="dnn")
    torch.testing.assert_close(net(inputs()), model(inputs()))


VIEWS = {
    "unary plus": lambda s, h: +h,
    "cpu()": lambda s, h: h.cpu(),
    "input= keyword": lambda s, h: torch.flatten(input=h, start_dim=1),
    "nn.Dropout1d": lambda s, h: s.drop1(h),
    "nn.Dropout3d": lambda s, h: s.drop3(h.view(5, 4, 1, 1, 1)).view(5, 4),
    "F.dropout1d": lambda s, h: F.dropout1d(h.view(5, 4, 1), training=s.training).view(5, 4),
    "einsum that permutes": lambda s, h: torch.einsum("ij->ji", h).t(),
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_in_place_on_a_view_while_the_base_is_read_later(view):
    def f(s, x):
        h = s.a(x)
        y = F.relu_(view(s, h))
        return s.c(h + y)

    equal_or_refused(Net(f, drop1=nn.Dropout1d(), drop3=nn.Dropout3d()), inputs())


@pytest.mark.parametrize("attribute", ["data", "T", "mT"])
def test_in_place_through_an_attribute(attribute):
    def f(s, x):
        h = s.a(x)
        getattr(h, attribute).mul_(2.0)
        return s.c(torch.relu(h))

    equal_or_refused(Net(f), inputs())


def test_augmented_assignment_on_a_size_changes_no_other_name():
    def f(s, x):
        n = x.shape[1]
        m = n
        m -= 2
        return s.c(torch.relu(s.a(x))) * n + m

    equal_or_refused(Net(f), inputs())


def test_isinstance_tensor():
    def f(s, x):
        if isinstance(x, Tensor):
            x = x * 2
        return s.c(torch.relu(s.a(x)))

    converts(Net(f), inputs())


def test_random_numbers_of_the_batch_size():
    f = lambda s, x: s.c(torch.relu(s.b(torch.relu(s.a(x * torch.rand((x.size(0), 1), dtype=D))))))  # noqa: E731
    equal_or_refused(Net(f), inputs())


def test_gradients_are_those_of_the_model_under_no_grad_blocks():
    def f(s, x):
        with torch.no_grad():
            h = torch.relu(s.a(x))
        return s.c(torch.relu(s.b(h)))

    model = Net(f).double()
    try:
        net = dv.disentangle(model, kind="dnn")
    except DualviewError:
        return
    net(inputs()).sum().backward()
    assert net.gating_network.a.weight.grad is None  # the model's own is None


def test_a_partial_reset_parameters_leaves_no_weights_equal():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.c = nn.Linear(4, 8), nn.Linear(8, 3)
            self.scale = nn.Parameter(torch.ones(3))

        def reset_parameters(self):  # PyTorch's custom: a module's own parameters only
            nn.init.ones_(self.scale)

        def forward(self, x):
            return self.c(torch.relu(self.a(x))) * self.scale

    try:
        net = dv.disentangle(Scaled(), kind="dlgn", seed=0)
    except DualviewError:
        return
    assert not torch.equal(net.gating_network.a.weight, net.weights_network.a.weight)


def test_functional_call_leaves_the_dual_form_as_it_was():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).double()
    net = dv.disentangle(model, kind="dnn")
    before = net(inputs()).detach()
    zeros = {name: torch.zeros_like(p) for name, p in net.named_parameters()}
    torch.func.functional_call(net, zeros, (inputs(),))
    torch.testing.assert_close(net(inputs()), before)


def test_shallow_features_keep_examples_apart_for_dense_layers_on_sequences():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    x = torch.randn(6, 6, 4)
    try:
        net = dv.disentangle(model, kind="dlgn-sf", seed=0, example_input=x)
    except DualviewError:
        return
    assert net.preactivations(x)[0].shape == (6, 6, 8)


@pytest.mark.parametrize("f", [lambda h, n: h * n, lambda h, n: h / n, lambda h, n: h + n])
def test_ones_input_with_a_value_that_depends_on_the_batch_size(f):
    model = Net(lambda s, x: s.c(torch.relu(s.a(f(x, x.size(0)))))).double()
    ones = dv.disentangle(model, kind="dgn", weights_input="ones", seed=0)
    data = dv.disentangle(model, kind="dgn", seed=0)
    x = inputs()
    gates = data.gates(x)
    torch.testing.assert_close(
        ones.weights_network(x, *gates), data.weights_network(torch.ones_like(x), *gates)
    )


def test_hardswish_gradient_in_float64():
    q = torch.linspace(-2.9, 2.9, 9, dtype=D, requires_grad=True)
    from dualview.conversion.gates import HardswishGate

    (g,) = torch.autograd.grad(HardswishGate()(q).sum(), q)
    torch.testing.assert_close(g, torch.full_like(q, 1 / 6), rtol=1e-12, atol=0)


# Crashes, and refusals of the wrong thing


@pytest.mark.parametrize(
    ("kind", "weights_input"), [("dnn", "data"), ("dgn", "data"), ("dgn", "ones"), ("dlgn", "ones")]
)
def test_torch_save_round_trip(kind, weights_input):
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(1), nn.Linear(18, 2), nn.ReLU()
    )
    model.insert(4, nn.Dropout(0.5))  # row of ones must be spread before it
    net = dv.disentangle(model.eval(), kind=kind, weights_input=weights_input, seed=0)
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    again = torch.load(file, weights_only=False)
    x = torch.randn(3, 1, 8, 8)
    torch.testing.assert_close(again(x), net(x))
    targets = [n.target for n in again.weights_network.graph.nodes if n.op == "call_function"]
    assert apply_gate in targets


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_architectures_are_saved(name):
    kind = "dgn" if name in WITHOUT_DLGN else "dlgn"
    net = dv.disentangle(small_architecture(name).eval(), kind=kind, seed=0)
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    x = small_input(name)
    assert torch.equal(torch.load(file, weights_only=False)(x), net(x))


def test_one_row_of_ones_is_saved_where_a_skip_needs_it_spread():
    model = Net(lambda s, x: torch.cat([s.c(x), torch.relu(s.a(x))], 1))
    net = dv.disentangle(model, kind="dlgn", weights_input="ones", seed=0)
    file = io.BytesIO()
    model.function = None
    torch.save(net, file)
    file.seek(0)
    x = inputs().float()
    torch.testing.assert_close(torch.load(file, weights_only=False)(x), net(x))


POOLS = {
    "global max": lambda h: F.max_pool2d(h, h.shape[2:]),
    "size": lambda h: F.max_pool2d(h, h.size(2)),
    "adaptive": lambda h: F.adaptive_max_pool2d(h, (h.shape[2] // 2, 1)),
}


@pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS)
def test_max_pool_whose_window_is_read_off_the_input(pool):
    model = Net(lambda s, x: pool(torch.relu(s.conv(x))).flatten(1), conv=nn.Conv2d(1, 2, 3))
    equal_or_refused(model, torch.randn(2, 1, 8, 8, dtype=D))


def test_outputs_that_differ_between_modes_are_refused_by_name():
    def f(s, x):
        h = torch.relu(s.a(x))
        return (s.c(h), s.c(h)) if s.training else s.c(h)

    def g(s, x):
        h = s.c(torch.relu(s.a(x)))
        return (h, x) if s.training else h

    for function in (f, g):
        with pytest.raises(DualviewError):
            dv.disentangle(Net(function), kind="dnn")


@pytest.mark.parametrize("name", ["graph", "code"])
def test_submodule_with_a_name_that_torch_fx_uses(name):
    model = Net(lambda s, x: s.c(torch.relu(getattr(s, name)(x))), **{name: nn.Linear(4, 4)})
    equal_or_refused(model, inputs())


def test_tensor_literal_in_forward():
    scale = [1.0, 2.0, 3.0, 4.0]
    converts(Net(lambda s, x: s.c(torch.relu(s.a(x) * torch.tensor(scale, dtype=D)))), inputs())


def reshape_by_keyword(s, x):
    return s.c(torch.relu(s.a(x.reshape(shape=(-1, 4)))))


def squeeze_all(s, x):
    h = s.a(x.unsqueeze(1)).squeeze()
    return torch.cat([h, torch.relu(h)], 1)


def squeeze_first(s, x):
    return s.c(torch.relu(s.a(x.view(x.size(0), 1, 4).squeeze().flatten(1))))


def positions_in_the_batch_axis(s, x):
    return torch.relu(s.d(x.view(-1, 2)))


def channels_in_the_batch_axis(s, x):
    return torch.relu(s.d(x.view(x.size(0) * 2, 2)))


ROWS = [
    reshape_by_keyword,
    squeeze_all,
    squeeze_first,
    positions_in_the_batch_axis,
    channels_in_the_batch_axis,
]


@pytest.mark.parametrize("function", ROWS)
def test_ones_input_equals_a_full_batch_of_ones(function):
    model = Net(function, d=nn.Linear(2, 3)).double()
    ones = dv.disentangle(model, kind="dgn", weights_input="ones", seed=0)
    data = dv.disentangle(model, kind="dgn", seed=0)
    x = inputs()
    gates = data.gates(x)
    torch.testing.assert_close(
        ones.weights_network(x, *gates), data.weights_network(torch.ones_like(x), *gates)
    )


@pytest.mark.parametrize("order", [5, [1.0, 0.0], None])
def test_gate_order_of_a_wrong_type(order):
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU())
    if order is None:
        net = dv.disentangle(model, gate_order=torch.tensor([1, 0]), seed=0)
        assert all(type(i) is int for i in net.gate_order)
        return
    with pytest.raises(DualviewError):
        dv.disentangle(model, gate_order=order, seed=0)


@pytest.mark.parametrize("gate", ["", 0])
def test_a_false_gate_is_refused(gate):
    with pytest.raises(DualviewError):
        dv.disentangle(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), gate=gate)


def test_reset_parameters_that_needs_arguments():
    class Odd(Net):
        def reset_parameters(self, gain):
            pass

    with pytest.raises(DualviewError):
        dv.disentangle(Odd(lambda s, x: s.c(torch.relu(s.a(x)))), seed=0)


def test_pruned_and_weight_normed_layers_have_a_named_refusal():
    from torch.nn.utils import prune

    layer = nn.Linear(4, 4)
    prune.l1_unstructured(layer, "weight", 4)
    with pytest.raises(DualviewError, match="prun"):
        dv.disentangle(nn.Sequential(layer, nn.ReLU()), kind="dnn")


def test_parametrized_layer_message_gives_the_repair():
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))
    with pytest.raises(DualviewError, match="remove_parametrizations"):
        dv.disentangle(nn.Sequential(layer, nn.ReLU()), kind="dnn")


def test_division_by_keyword_is_affine():
    converts(Net(lambda s, x: s.c(torch.relu(torch.div(input=s.a(x), other=3)))), inputs())


# Mode, and the user's model


@pytest.mark.parametrize("kind", ["dnn", "dgn", "dlgn", "dlgn-sf"])
def test_the_network_has_the_models_mode(kind):
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 4)).eval()
    net = dv.disentangle(model, kind=kind, seed=0)
    assert not [name for name, module in net.named_modules() if module.training]


def test_a_frozen_batch_norm_stays_frozen_after_train():
    class Frozen(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.bn, self.c = nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)

        def train(self, mode=True):
            super().train(mode)
            self.bn.eval()
            return self

        def forward(self, x):
            return self.c(torch.relu(self.bn(self.a(x))))

    model = Frozen().double().train()
    with warnings.catch_warnings():
        warnings.simplefilter("error", DualviewWarning)
        try:
            net = dv.disentangle(model, kind="dnn")
        except (DualviewError, DualviewWarning):
            return  # refusing, or saying so, is enough
    torch.testing.assert_close(net.train()(inputs()), model.train()(inputs()))


def test_a_model_that_copies_to_itself_is_not_changed():
    class Single(Net):
        def __deepcopy__(self, memo):
            return self

    model = Single(lambda s, x: s.r(s.a(x)), r=nn.ReLU(inplace=True))
    model.a.register_forward_hook(lambda *a: None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.suppress(DualviewError):
            dv.disentangle(model, kind="dnn")
    assert model.r.inplace
    assert len(model.a._forward_hooks) == 1


def test_tracing_leaves_the_random_state_and_refuses_randomness_in_python():
    def f(s, x):
        return s.c(torch.relu(s.a(x))) * (1.0 if torch.rand(()).item() < 2 else 2.0)

    before = torch.get_rng_state()
    try:
        dv.disentangle(Net(f), kind="dnn")  # Net draws its own parameters
    except DualviewError:
        return
    model = Net(f)
    before = torch.get_rng_state()
    dv.disentangle(model, kind="dnn")
    assert torch.equal(before, torch.get_rng_state())


def test_a_subclass_registry_is_not_touched():
    registry: list[type] = []

    class Base(nn.Module):
        def __init_subclass__(cls, **kwargs):
            registry.append(cls)

    class Model(Base):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(4, 4)

        def forward(self, x, scale=1.0):
            return torch.relu(self.a(x)) * scale

    dv.disentangle(Model(), kind="dnn")
    assert registry == [Model]


def test_batch_norm_used_before_and_after_the_last_gate_is_refused():
    model = Net(lambda s, x: s.bn(s.c(torch.relu(s.bn(s.a(x))))), bn=nn.BatchNorm1d(4))
    with pytest.raises(DualviewError, match="batch norm 'bn' runs both before and after"):
        dv.disentangle(model, kind="dnn")


def test_transposed_attribute_is_affine():
    converts(Net(lambda s, x: s.c(torch.relu((s.a(x).T * 2).mT))), inputs())


def test_other_attributes_are_named():
    with pytest.raises(DualviewError, match=r"^attribute \.data"):
        dv.disentangle(Net(lambda s, x: torch.relu(s.a(x).data)), kind="dnn")
