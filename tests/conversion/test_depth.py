"""Deep networks.

- Converting takes a number of calls that grows in proportion to the layers, for every kind. It is
  counted, not timed.
"""

import sys

import pytest
from torch import nn

import dualview as dv


def calls_to_convert(layers, kind):
    chain = (part for _ in range(layers) for part in (nn.Linear(2, 2), nn.ReLU()))
    model = nn.Sequential(*chain, nn.Linear(2, 1))
    count = 0

    def counted(frame, event, argument):
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(counted)
    try:
        dv.disentangle(model, kind, **({} if kind == "dnn" else {"seed": 0}))
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize("kind", ["dnn", "dgn", "dlgn", "dlgn-sf"])
def test_conversion_is_linear_in_depth(kind):
    calls_to_convert(2, kind)  # what is loaded and compiled once
    few, many = calls_to_convert(20, kind), calls_to_convert(120, kind)
    assert many < 6.5 * few
