"""Each scale, times what it multiplies, is PyTorch's own normalisation, in float64.

And each is a multiplier by name: the table lists those that depend on the example.
"""

import pytest
import torch
from torch.nn import functional as F

from dualview.conversion.normalisation import (
    SCALES,
    channel_affine,
    group_centred,
    group_scale,
    response_scale,
    rms_scale,
    unit_scale,
)

X = torch.randn(3, 4, 5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
WEIGHT, BIAS = torch.arange(1.0, 5, dtype=torch.float64), torch.arange(4, dtype=torch.float64)


def group(groups):
    return channel_affine(group_centred(X, groups) * group_scale(X, groups, 1e-5), WEIGHT, BIAS)


CASES = {
    "group": (lambda: group(2), lambda: F.group_norm(X, 2, WEIGHT, BIAS)),
    "instance": (lambda: group(None), lambda: F.instance_norm(X, weight=WEIGHT, bias=BIAS)),
    "rms": (lambda: X * rms_scale(X, (5, 2), 0.1), lambda: F.rms_norm(X, (5, 2), eps=0.1)),
    "rms, default eps": (lambda: X * rms_scale(X, (2,), None), lambda: F.rms_norm(X, (2,))),
    "response": (
        lambda: X * response_scale(X, 3, 0.5, 0.6, 2.0),
        lambda: F.local_response_norm(X, 3, 0.5, 0.6, 2.0),
    ),
    "unit": (lambda: X * unit_scale(X, 3.0, 2), lambda: F.normalize(X, 3.0, 2)),
    "unit of zeros": (
        lambda: 0 * X * unit_scale(0 * X),
        lambda: F.normalize(0 * X),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_equal_to_the_definition(case):
    ours, torchs = CASES[case]
    torch.testing.assert_close(ours(), torchs(), rtol=1e-12, atol=1e-12)


def test_centring_is_linear():
    assert torch.allclose(group_centred(3 * X, 2), 3 * group_centred(X, 2))
    assert group_centred not in SCALES
    assert {group_scale, rms_scale, response_scale, unit_scale} == SCALES
