"""The recursion over pairs of entries.

- Both kernels equal those of the enumeration of paths, with every option, for all outputs.
- Tied weights and outputs out of range are refused.
"""

import pytest
import torch
from torch import nn

from dualview.errors import PathKernelError
from dualview.path_enumeration import (
    enumerated_expected_ntk,
    enumerated_npk,
    recursive_expected_ntk,
    recursive_npk,
)
from tests.cases import enliven, relative_error
from tests.path_enumeration.models import (
    DenseBlocks,
    Pooled,
    PostActivation,
    convolutional,
    dense,
    gated,
)

PAIRS = [(recursive_npk, enumerated_npk), (recursive_expected_ntk, enumerated_expected_ntk)]
MODELS = {
    "dense": lambda: (dense(4, 3, 2, 2, bias=True), (4,)),
    "residual": lambda: (DenseBlocks(2), (3,)),
    "convolutions": lambda: (convolutional(stride=2, padding_mode="circular"), (1, 3, 3)),
    "skips": lambda: (PostActivation(), (1, 3, 3)),
    "max pool": lambda: (Pooled(nn.MaxPool2d(2, 1)), (1, 3, 4)),
    "no last layer": lambda: (enliven(nn.Sequential(nn.Linear(3, 2), nn.ReLU())).double(), (3,)),
}


@pytest.mark.parametrize(("recursive", "enumerated"), PAIRS)
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    "options",
    [
        {"biases": True, "batch_norm": "scale"},
        {"gates": "hard", "variances": 0.4},
    ],
    ids=str,
)
def test_recursion_is_the_enumeration(name, options, recursive, enumerated):
    model, shape = MODELS[name]()
    net = gated(model, "dgn", max_pool="switch")
    x, y = 3 * torch.randn(6, *shape).double(), 3 * torch.randn(5, *shape).double()
    last = 1 if name != "residual" else 0
    expected = enumerated(net, x, y, output=last, **options)
    assert expected.abs().max() > 0
    assert relative_error(recursive(net, x, y, output=last, **options), expected) < 1e-12


@pytest.mark.parametrize("kernel", [recursive_npk, recursive_expected_ntk])
def test_refusals(kernel):
    x = torch.randn(2, 2, dtype=torch.float64)
    layer = nn.Linear(2, 2)
    tied = gated(nn.Sequential(layer, nn.ReLU(), layer, nn.ReLU(), nn.Linear(2, 1)).double())
    with pytest.raises(PathKernelError, match=r"tied weights.*Repair: untie"):
        kernel(tied, x)
    with pytest.raises(PathKernelError, match=r"output: expected 0 \.\.\. 1, got 2"):
        kernel(gated(dense(2, 2, 2)), x, output=2)
