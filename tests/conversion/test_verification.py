"""What may stand between gates.

- Every operation in the tables of affine operations is affine (modules, by evaluation).
- Nonlinearities that are not self-gated, products of two streams and unknown operations are
  refused, each with the operation, the user's line and a repair.
"""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dualview.conversion.disentangling import disentangle
from dualview.conversion.operations import LINEAR_MODULES
from dualview.conversion.own_type import OwnType
from dualview.conversion.tracing import trace
from dualview.errors import UnsupportedOperationError

ARGUMENTS = {
    nn.Linear: (4, 3),
    nn.Flatten: (),
    nn.Unflatten: (1, (2, 2)),
    nn.Identity: (),
    OwnType: (torch.float32,),
    nn.ChannelShuffle: (2,),
    nn.PixelShuffle: (2,),
    nn.PixelUnshuffle: (2,),
    nn.Upsample: (None, 2, "nearest"),
    nn.UpsamplingNearest2d: (None, 2),
    nn.UpsamplingBilinear2d: (None, 2),
    nn.Fold: ((3, 3), (2, 2)),
    nn.Unfold: ((2, 2),),
}
SHAPES = {
    nn.Linear: (4,),
    nn.Flatten: (4, 4),
    nn.Unflatten: (4,),
    nn.Fold: (4, 4),
    nn.PixelUnshuffle: (4, 4, 4),
}


def build_module(kind):
    if kind in ARGUMENTS:
        return kind(*ARGUMENTS[kind])
    if "Constant" in kind.__name__:
        return kind(1, 0.5)
    if "Conv" in kind.__name__:
        return kind(4, 2, 2)
    if "BatchNorm" in kind.__name__:
        return kind(4)
    return kind(1)


def input_shape(kind):
    dims = next((d for d in (1, 2, 3) if kind.__name__.endswith(f"{d}d")), 2)
    return SHAPES.get(kind, (4, *[4] * dims))


@pytest.mark.parametrize("kind", LINEAR_MODULES, ids=lambda k: k.__name__)
def test_modules_called_affine_are_affine(kind):
    module = build_module(kind).double().eval()
    x, y = torch.randn(2, 3, *input_shape(kind), dtype=torch.float64)
    mixed = module(0.3 * x + 0.7 * y)
    torch.testing.assert_close(mixed, 0.3 * module(x) + 0.7 * module(y))


def refused(function):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 4)
            self.attention = nn.MultiheadAttention(4, 2)

        def forward(self, x):
            x = F.relu(self.fc(x))
            return function(self, x)

    return Model()


CASES = {
    "softmax": lambda m, x: m.fc(F.softmax(x, 1)),
    "x.softmax": lambda m, x: m.fc(x.softmax(1)),
    "sqrt": lambda m, x: torch.sqrt(x),
    "threshold": lambda m, x: F.threshold(x, 0.0, 1.0),
    "layer_norm": lambda m, x: F.layer_norm(x, (4,), weight=x[0]),
    "MultiheadAttention": lambda m, x: m.attention(x, x, x),
    "clamp": lambda m, x: x.clamp(min=m.fc.bias),
    "maximum": lambda m, x: torch.maximum(x, -x),
    "amax": lambda m, x: x.amax(1),
    "mul": lambda m, x: m.fc(x) * m.fc(-x),
    "matmul": lambda m, x: x @ x.T,
    "truediv": lambda m, x: 1 / x,
    "pow": lambda m, x: x**0.5,
    "cumsum": lambda m, x: x.cumsum(1),
    "linear": lambda m, x: F.linear(x, x),
    "einsum": lambda m, x: torch.einsum("ni,nj->nj", [x, x]),
}


@pytest.mark.parametrize("name", CASES)
def test_refusal_names_operation_line_and_repair(name):
    with pytest.raises(UnsupportedOperationError) as caught:
        trace(refused(CASES[name]))
    message = str(caught.value)
    assert "Repair:" in message
    assert "test_verification.py" in message
    assert name.split(".")[-1].lower() in message.lower()


ALLOWED = {
    "constant product": lambda m, x: x * 2 * m.fc.bias,
    "product with its own weights": lambda m, x: x @ torch.softmax(m.fc.weight, 1),
    "quotient": lambda m, x: x / 3 - 1,
    "negation": lambda m, x: -x + 1,
    "reversed difference": lambda m, x: 1 - x,
    "sizes": lambda m, x: x.view(x.shape[0], x.size(1) // 2, 2).sum(-1),
    "stack": lambda m, x: torch.stack([x, -x], 1).flatten(1),
    "chunk": lambda m, x: torch.cat(torch.chunk(x, 2, 1)[::-1], 1),
}


@pytest.mark.parametrize("name", ALLOWED)
def test_affine_expressions_are_followed(name):
    model = refused(ALLOWED[name]).double()
    x = torch.randn(3, 4, dtype=torch.float64)
    torch.testing.assert_close(trace(model).module(x), model(x))


class Contracted(nn.Module):
    """tensordot, which hands its own out=None on."""

    def __init__(self):
        super().__init__()
        self.first, self.weight = nn.Linear(4, 8), nn.Parameter(torch.randn(8, 3))

    def forward(self, x):
        return torch.tensordot(torch.relu(self.first(x)), self.weight, dims=1)


def test_no_out_is_not_held_against_an_operation():
    with pytest.raises(UnsupportedOperationError, match=r"tensordot.*not in the table"):
        disentangle(Contracted(), "dnn")
