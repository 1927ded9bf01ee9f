"""The table of rules, and the check of every value against the network.

- Every entry of `RULES` has a network here that uses it, and whose paths are the oracle's.
- Batch norm with its running mean has the paths of one whose mean is folded into its bias.
- Constants that are added or padded with are places where paths begin.
- A change of number type is left out: paths are those of exact numbers.
- What has no rule is refused, naming the operation and its line; so is a wrong rule.
"""

import copy
import operator

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import dualview as dv
from dualview.conversion.normal_form import key_of, spellings_of
from dualview.conversion.spellings import OPERATIONS
from dualview.errors import UnsupportedOperationError
from dualview.path_attribution import step_rules
from dualview.path_attribution.step_rules import RULES
from dualview.path_attribution.strongest_paths import PathSearch, top_paths
from tests.cases import enliven
from tests.conversion.test_verification import build_module
from tests.path_attribution.listed import assert_same_paths, centred
from tests.path_kernel.test_rules import FUNCTIONS as SIMPLE
from tests.path_kernel.test_rules import dims_of

pytestmark = pytest.mark.filterwarnings("ignore::dualview.DualviewWarning")

MATRIX = torch.tensor([[1.0, -2.0, 0.5], [0.3, 1.5, -1.0], [2.0, 0.7, 1.1]], dtype=torch.float64)

NORMS = (F.layer_norm, F.group_norm)
"""Written out by conversion: their multipliers have no step."""

# Operations on (n, 4, 3, 3); the keys are those of the table.
FUNCTIONS = {
    **{key: SIMPLE[key] for key in SIMPLE if key not in NORMS and key_of(key) in RULES},
    operator.pos: lambda x: +x,
    operator.matmul: lambda x: x @ MATRIX,
    torch.matmul: lambda x: torch.matmul(MATRIX, x),
    torch.einsum: lambda x: torch.einsum("nchw,hk->nckw", x, MATRIX),
    "matmul": lambda x: x.matmul(MATRIX),
    F.upsample: lambda x: F.interpolate(x, scale_factor=2, mode="nearest"),
    F.interpolate: lambda x: F.interpolate(x, size=(2, 5), mode="bilinear"),
    torch.permute: lambda x: torch.permute(x, (0, 2, 3, 1)),
    torch.transpose: lambda x: torch.transpose(x, 1, 2),
    torch.unsqueeze: lambda x: torch.unsqueeze(x, 2),
    torch.narrow: lambda x: torch.narrow(x, 2, 1, 2),
    torch.movedim: lambda x: torch.movedim(x, 1, 3),
    torch.swapaxes: lambda x: torch.swapaxes(x, 1, 2),
    getattr: lambda x: x.mT,
    F.pixel_shuffle: lambda x: F.pixel_shuffle(x, 2),
    F.pixel_unshuffle: lambda x: F.pixel_unshuffle(x[:, :, :2, :2], 2),
    F.unfold: lambda x: F.unfold(x, 2, padding=1),
    torch.stack: lambda x: torch.stack([x, F.relu(x)], 2),
    torch.roll: lambda x: torch.roll(x, 1, 2),
    torch.flip: lambda x: torch.flip(x, (2,)),
    "unflatten": lambda x: x.unflatten(1, (2, 2)),
    "permute": lambda x: x.permute(0, 3, 1, 2),
    "transpose": lambda x: x.transpose(1, 3),
    "unsqueeze": lambda x: x.unsqueeze(-1),
    "narrow": lambda x: x.narrow(1, 0, 3),
    "select": lambda x: x.select(2, 1),
    "expand": lambda x: x.unsqueeze(1).expand(-1, 2, -1, -1, -1),
    "swapaxes": lambda x: x.swapaxes(1, 2),
    "swapdims": lambda x: x.swapdims(1, 2),
    "movedim": lambda x: x.movedim(1, 2),
    "moveaxis": lambda x: x.moveaxis(1, 2),
    "unbind": lambda x: x.unbind(2)[1],
    "chunk": lambda x: torch.cat(x.chunk(2, 1)[::-1], 1),
    "split": lambda x: x.split(3, 1)[1],
    "unfold": lambda x: x.unfold(2, 2, 1),
    "view_as": lambda x: x.transpose(1, 2).contiguous().view_as(x.transpose(2, 1)),
    "reshape_as": lambda x: x.reshape_as(x.transpose(1, 2)),
    "expand_as": lambda x: x[:, :1].expand_as(x),
    "roll": lambda x: x.roll(1, 3),
    "flip": lambda x: x.flip(2),
    "tile": lambda x: x.tile(1, 2, 1, 1),
    "repeat": lambda x: x.repeat(1, 1, 2, 1),
    "to": lambda x: x.to(torch.float64),
    "type_as": lambda x: x.type_as(x),
    "cpu": lambda x: x.cpu(),
}
IN_OTHER_TESTS = {
    torch.mm,  # of matrices
    "mm",
    "t",
    torch.chunk,  # a tuple, read through by the rule of what picks from it
}
OF_FUNCTIONS = {"linear", "convolution", "transposed convolution", "einsum", "ones", "spread"}
OF_FUNCTIONS |= {"marked"}
"""Keys whose functions are tried in `test_weight_rules`, and what conversion makes."""
MODULES = [kind for key in RULES for kind in spellings_of(key) if isinstance(kind, type)]


class Applied(nn.Module):
    """conv, gate, the operation under test, gate, dense: as few entries as it takes."""

    def __init__(self, operation, dims=2):
        super().__init__()
        self.operation = operation
        self.conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dims - 1](1, 4, 2)
        self.head = nn.LazyLinear(1)

    def forward(self, x):
        x = self.operation(F.leaky_relu(self.conv(x)))
        return self.head(x.flatten(1))


def gated(model, x, **options):
    with torch.no_grad():
        model = model.double()
        model(x)
    net = dv.disentangle(enliven(model).eval(), "dgn", seed=0, **options).eval()
    for network in (net.gating_network, net.weights_network):
        centred(enliven(network))
    return net


def example(dims=2, size=4):
    size = 3 if dims == 3 else size
    return torch.randn(1, 1, *[size] * dims, dtype=torch.float64)


def test_every_rule_has_a_case():
    tried = {key_of(kind) for kind in (*MODULES, *FUNCTIONS, *IN_OTHER_TESTS)}
    assert set(RULES) <= tried | OF_FUNCTIONS


@pytest.mark.parametrize("key", FUNCTIONS, ids=lambda k: getattr(k, "__name__", k))
def test_functions_and_methods(key):
    if key in ("float", "half", "bfloat16"):
        pytest.skip("see test_changes_of_type_are_left_out")
    dims = dims_of(getattr(key, "__name__", key))
    x = example(dims)
    net = gated(Applied(FUNCTIONS[key], dims), x, gate="own")
    assert_same_paths(net, x)


@pytest.mark.parametrize("kind", MODULES, ids=lambda k: k.__name__)
def test_modules(kind):
    if kind is nn.SyncBatchNorm:
        pytest.skip("runs on several GPUs only; its rule is that of BatchNorm2d")
    dims = dims_of(kind.__name__)
    module = nn.Linear(3, 3) if kind is nn.Linear else build_module(kind)
    x = example(dims, size=5 if kind is nn.PixelUnshuffle else 4)
    net = gated(Applied(module, dims), x, gate="own")
    assert_same_paths(net, x)


def test_batch_norm_begins_one_path_a_unit_at_its_whole_shift():
    x = example()
    model = Applied(nn.BatchNorm2d(4))
    net = gated(model, x, gate="own")
    folded = copy.deepcopy(net)
    for network in (net.weights_network, folded.weights_network):
        norm = network.get_submodule("operation")
        norm.running_mean.copy_(torch.tensor([1.0, -2.0, 0.5, 3.0]))
    with torch.no_grad():
        norm.bias -= norm.running_mean * norm.weight / torch.sqrt(norm.running_var + norm.eps)
    norm.running_mean.zero_()
    top, same = (top_paths(n, x, 0, 60).paths for n in (net, folded))
    assert [str(path) for path in top] == [str(path) for path in same]
    assert any(path.start.layer == "operation" for path in top)


@pytest.mark.parametrize(
    ("operation", "count"),
    [
        (lambda x: x + torch.arange(4.0).reshape(4, 1, 1).double(), 3 * 9),
        (lambda x: torch.sub(x, 0.5), 4 * 9),
        (lambda x: F.pad(x, (1, 0), value=2.0), 4 * 3),
    ],
    ids=["added", "subtracted", "padded"],
)
def test_constants_begin_paths_where_they_are_not_0(operation, count):
    x = example()
    net = gated(Applied(operation), x, gate="own")
    top = assert_same_paths(net, x)
    own = [path for path in top.paths if path.start.kind == "bias" and len(path.nodes) == 2]
    assert len(own) == count
    assert all(path.value == path.nodes[-1].factor for path in own)


class Learnt(nn.Module):
    """Parameters that multiply and add."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([[2.0], [-3.0]]))
        self.shift = nn.Parameter(torch.tensor([[0.5], [0.0]]))
        self.first, self.last = nn.Conv1d(1, 2, 2), nn.Linear(4, 1)

    def forward(self, x):
        x = F.relu(self.first(x)) * self.scale + self.shift
        return self.last(F.leaky_relu(x).flatten(1))


def test_parameters_that_multiply_and_add_belong_to_the_value():
    model = Learnt().double()
    x = example(1, size=3)
    top = assert_same_paths(dv.disentangle(model, "dnn").eval(), x)
    begun = [path for path in top.paths if path.start.layer == "add"]
    assert {path.start.factor for path in begun} == {0.5}  # the shift of 0 adds nothing
    assert top.n_paths == 2 * 2 * 2 + 2 * 2 + 2 * 2 + 1  # but is counted: 2 x 2 begin at shifts


@pytest.mark.parametrize("method", sorted({*OPERATIONS["same"].methods} - {"cuda", "type_as"}))
def test_changes_of_type_are_left_out(method):
    def changed(x):
        return x.to(torch.float16) if method == "to" else getattr(x, method)()

    x = example()
    plain = gated(Applied(lambda x: x), x)
    model = Applied(lambda x: changed(x).double() if method != "double" else x.double())
    net = gated(model, x)
    net.weights_network.load_state_dict(plain.weights_network.state_dict())
    net.gating_network.load_state_dict(plain.gating_network.state_dict())
    top, same = (top_paths(n, x, 0, 30).paths for n in (plain, net))
    assert [str(path) for path in top] == [str(path) for path in same]


def test_square_matrices():
    class Model(nn.Module):
        def forward(self, x):
            x = F.relu(x.mm(MATRIX).t().t())
            return torch.mm(x, MATRIX)

    x = torch.randn(1, 3, dtype=torch.float64)
    assert_same_paths(dv.disentangle(Model(), "dnn"), x, 1)


REFUSED = {
    "einsum": (lambda x: torch.einsum("nchw,wk->nhk", x, MATRIX), "and a constant matrix"),
    "fold": (lambda x: F.fold(x.flatten(2), (4, 4), 2), "there is no rule"),
    "tensor": (lambda x: x @ MATRIX.expand(2, 4, 3, 3)[:1], "and a constant matrix"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_name_the_operation(case):
    operation, message = REFUSED[case]

    class Model(nn.Module):
        def forward(self, x):
            return operation(F.relu(x)).flatten(1)

    net = dv.disentangle(Model(), "dnn")
    x = torch.randn(1, 4, 3, 3, dtype=torch.float64)
    with pytest.raises(UnsupportedOperationError, match=message) as caught:
        PathSearch(net, x)
    assert "test_step_rules.py" in str(caught.value)
    assert "layer_contributions" in str(caught.value)


def test_a_wrong_rule_does_not_pass(monkeypatch):
    monkeypatch.setitem(RULES, "average pool", step_rules.identity)
    x = torch.randn(1, 1, 4, 4, dtype=torch.float64)
    net = dv.disentangle(nn.Sequential(nn.ReLU(), nn.AvgPool2d(1, 2), nn.Flatten()), "dnn")
    with pytest.raises(UnsupportedOperationError, match="not what its rule says"):
        PathSearch(net, x)
    net = dv.disentangle(nn.Sequential(nn.ReLU(), nn.AvgPool2d(3, 1, 1), nn.Flatten()), "dnn")
    with pytest.raises(UnsupportedOperationError, match=r"AvgPool2d.*not what its rule says"):
        PathSearch(net, x)
