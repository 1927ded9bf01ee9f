"""Properties proved here: each formula against numbers worked out by hand, or by a second count.

1. Fully connected kernel, expected NTK and covariance on values small enough to multiply by hand.
2. Rotations are all circular shifts, each once, the image itself first.
3. Paths active for both examples: all gates open, their number is that of walks and channels; one
   gate open, only walks through it count; dense layers multiply.
4. The sum over rotations of one pixel is that pixel's product with the mean of the other image.
5. beta of small depths, and the ensemble's members and weights, written out.
"""

import math

import pytest
import torch

from dualview.experiments.theory import closed_forms


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_fully_connected_by_hand():
    x = tensor([1.0, 2], [3, -1])
    gates = [tensor([1.0, 0, 1], [1, 1, 1]), tensor([1.0, 1], [0, 1])]
    # <x, x'> = [[5, 1], [1, 10]], overlaps [[2, 2], [2, 3]] and [[2, 1], [1, 1]].
    kernel = closed_forms.fully_connected_npk(x, gates)
    assert kernel.tolist() == [[20, 2], [2, 30]]
    assert closed_forms.fully_connected_ntk(kernel, 3, 0.5)[0, 0] == 3 * 0.25 * 20
    assert closed_forms.output_covariance(kernel, 3, 0.5)[0, 0] == 0.125 * 20


def test_rotations():
    x = torch.arange(12.0).reshape(1, 1, 4, 3)
    found = closed_forms.rotations(x)
    assert len(found) == 12
    assert torch.equal(found[0], x)
    assert sorted(float(r[0, 0, 0, 0]) for r in found) == list(range(12))
    assert torch.equal(found[1], x.roll(1, 3))


def test_all_walks_are_counted():
    one = torch.ones(2, 4, 3, dtype=torch.float64)
    counts = closed_forms.active_paths([one, one], [one, one], 3)
    assert torch.equal(counts, torch.full((4, 3), 9.0 * 2 * 9 * 2).double())
    dense = tensor(1.0, 0, 1)
    counts = closed_forms.active_paths([one, dense], [one, dense], 3)
    assert torch.equal(counts, torch.full((4, 3), 9.0 * 2 * 2).double())


def test_walks_through_one_open_gate():
    gate = torch.zeros(1, 5, dtype=torch.float64)
    gate[0, 2] = 1
    other = torch.ones(1, 5, dtype=torch.float64)
    assert closed_forms.active_paths([gate], [other], 3).tolist() == [0, 1, 1, 1, 0]
    twice = closed_forms.active_paths([gate, other], [other, other], 3)
    assert twice.tolist() == [0, 3, 3, 3, 0]


def test_rotation_sum_of_one_pixel():
    x, other = torch.zeros(1, 4).double(), tensor([1.0, 2, 3, 4])
    x[0, 0] = 2
    one = torch.ones(1, 4).double()
    rotated = [(other.roll(r, 1), one) for r in range(4)]
    # 3 walks of one step from the pixel, in every rotation; P = 4.
    assert closed_forms.rotation_sum((x, one), rotated, 3) == 2 * 3 * (1 + 2 + 3 + 4) / 16


@pytest.mark.parametrize(
    ("d_cv", "d_fc", "expected"),
    [
        (1, 1, 0.7 + 0.3),
        (2, 1, 2 * 0.3 * 0.7 + 0.09),
        (1, 2, 0.49 + 2 * 0.3 * 0.7),
        (3, 2, 3 * 0.09 * 0.49 + 2 * 0.027 * 0.7),
    ],
)
def test_beta(d_cv, d_fc, expected):
    assert closed_forms.beta(d_cv, d_fc, 0.3, 0.7) == pytest.approx(expected)


def test_ensemble_of_two_skips():
    first, one, other, last = (tensor(float(p)) for p in (2, 3, 5, 7))
    members = closed_forms.ensemble([first, one, other, last])
    assert [(size, float(kernel)) for size, kernel in members] == [
        (0, 14),
        (1, 42),
        (1, 70),
        (2, 210),
    ]
    total = float(closed_forms.residual_ntk(members, 1, 0.5))
    assert total == pytest.approx(2 * 0.5 * 14 + 3 * 0.25 * (42 + 70) + 4 * 0.125 * 210)
    deep = float(closed_forms.residual_ntk(members[:1], 3, 0.5))
    assert deep == pytest.approx(6 * 0.5**5 * 14)


def test_number_of_members():
    blocks = [tensor(1.0)] * 7
    assert len(closed_forms.ensemble(blocks)) == 2**5
    assert math.prod(size + 1 for size, _ in closed_forms.ensemble(blocks[:3])) == 2
