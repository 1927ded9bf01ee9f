"""Examples as the network meets them.

- Pixels go to [0, 1], in the order of the rows, for a network that carries its input transform;
  for another less the channel's mean, by its deviation.
- Rows that the network takes wrongly are those whose largest output is of another class; where
  there is none, that is said.
- Rows that are spread hold the first and the last, are distinct, and hold every class of sorted
  data.
"""

import copy

import pytest
import torch

from dualview.conversion.input_transform import InputTransform
from dualview.datasets import Split
from dualview.errors import DataError
from dualview.explorer.explanations.inputs import inputs, spread_rows, wrong_rows

from .cases import inputs_of, network, small_data


def test_normalised_in_the_order_of_the_rows():
    data = small_data()
    found = inputs(network("dense"), data, data.test, [5, 0])
    torch.testing.assert_close(
        found.double(), torch.cat([inputs_of(5), inputs_of(0)]), rtol=1e-5, atol=1e-5
    )
    net = copy.deepcopy(network("dense"))
    net.input_transform = InputTransform(data.mean, data.std)
    pixels = inputs(net, data, data.test, [5, 0])
    torch.testing.assert_close(pixels, data.test.images[[5, 0]] / 255)
    torch.testing.assert_close(net.transformed(pixels), found)


def test_wrong_rows():
    data, net = small_data(), network("dense")
    predicted = [int(net(inputs_of(row).float()).argmax()) for row in range(9)]
    wrong = [row for row, label in enumerate(data.test.labels.tolist()) if predicted[row] != label]
    assert wrong_rows(net, data, data.test, 100) == wrong
    assert wrong_rows(net, data, data.test, 2) == [wrong[0], wrong[-1]]
    right = [row for row in range(9) if row not in wrong]
    part = Split(data.test.images[right], data.test.labels[right])
    with pytest.raises(DataError, match=r"got none among \d+. Repair: without wrong"):
        wrong_rows(net, data, part, 2)


@pytest.mark.parametrize(
    ("count", "available"), [(1, 1), (1, 9), (2, 9), (7, 100), (9, 9), (20, 9)]
)
def test_spread_rows(count, available):
    rows = spread_rows(count, available)
    assert len(set(rows)) == len(rows) == min(count, available)
    assert rows == sorted(rows)
    assert rows[0] == 0
    assert rows[-1] == (available - 1 if count > 1 else 0)


def test_sorted_data_gives_every_class():
    labels = torch.arange(10).repeat_interleave(50)
    assert len(labels[spread_rows(20, 500)].unique()) == 10
