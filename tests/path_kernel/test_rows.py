"""Convolutions by blocks of rows.

- The kernels are those of the rule for the whole, for every stride, padding, dilation and grouping,
  for rows that are padding alone, with skips, biases, the expected NTK and soft gates.
- Small images, circular padding and terms whose maps wait are left to that rule.
"""

import pytest
import torch
from torch import nn

import dualview as dv
from dualview.path_kernel import rows
from tests.cases import small_architecture, small_input
from tests.path_enumeration.models import gated


def chain(**options):
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 4, **{"kernel_size": 3, **options}),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 2),
    )


OPTIONS = {
    "plain": {},
    "stride": {"stride": (2, 3), "padding": 1},
    "padding": {"padding": (6, 0)},
    "dilation": {"dilation": 2, "padding": (1, 2)},
    "groups": {"groups": 2, "padding": 1},
    "one position": {"kernel_size": 1, "stride": 2},
}


@pytest.mark.parametrize("entries", [1, 3000])
@pytest.mark.parametrize("name", OPTIONS)
def test_blocks_do_not_matter(name, entries, monkeypatch):
    net = dv.disentangle(chain(**OPTIONS[name]).double(), "dgn", seed=0)
    x = torch.randn(3, 2, 9, 7, dtype=torch.float64)
    expected = dv.npk(net, x, x[:2]), dv.expected_ntk(net, x, biases=True)
    taken = []
    whole = rows.by_rows
    monkeypatch.setattr(rows, "ENTRIES", entries)
    monkeypatch.setattr(
        "dualview.path_kernel.weight_rules.by_rows", lambda *a: taken.append(1) or whole(*a)
    )
    torch.testing.assert_close(dv.npk(net, x, x[:2]), expected[0])
    torch.testing.assert_close(dv.expected_ntk(net, x, biases=True), expected[1])
    assert taken


@pytest.mark.parametrize("name", ["resnet20", "vgg16"])
def test_architectures(name, monkeypatch):
    net, x = gated(small_architecture(name, True), "dlgn"), small_input(name, 2)
    expected = dv.npk(net, x)
    monkeypatch.setattr(rows, "ENTRIES", 1)
    torch.testing.assert_close(dv.npk(net, x), expected)


def test_circular_padding_is_left_to_the_rule_for_the_whole(monkeypatch):
    net = gated(chain(padding=1, padding_mode="circular").double(), "dgn")
    x = torch.randn(2, 2, 5, 5, dtype=torch.float64)
    expected = dv.npk(net, x)
    monkeypatch.setattr(rows, "ENTRIES", 1)
    torch.testing.assert_close(dv.npk(net, x), expected)
