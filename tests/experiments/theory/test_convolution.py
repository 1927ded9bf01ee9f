"""Properties proved here: what is broken on purpose is found, on either side.

1. Rotations: a formula that averages over one P too few, forgets rotations, or counts paths that
   are active for one example only.
2. A wrong beta: exponents exchanged between convolutions and dense layers.
3. Zero padding where circular padding is meant, and the other way round.
4. A library that scales the convolutions' share of the expected NTK.
"""

import pytest

from dualview.experiments.theory import closed_forms, convolution
from tests.experiments.theory.checking import all_fail

SUMS = ("rotation-sum", "rotation-ntk", "rotation-signs")


def test_wrong_power_of_positions(monkeypatch):
    own = closed_forms.rotation_sum
    monkeypatch.setattr(
        closed_forms, "rotation_sum", lambda x, others, k: own(x, others, k) * len(others)
    )
    assert all_fail(*SUMS)


def test_forgotten_rotation(monkeypatch):
    own = closed_forms.rotation_sum
    monkeypatch.setattr(closed_forms, "rotation_sum", lambda x, others, k: own(x, others[:-1], k))
    assert all_fail(*SUMS)


def test_paths_active_for_one_example(monkeypatch):
    own = closed_forms.active_paths
    monkeypatch.setattr(closed_forms, "active_paths", lambda g, h, k: own(g, g, k))
    assert all_fail(*SUMS)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda d_cv, d_fc, v_cv, v_fc: d_cv * v_cv**d_cv * v_fc**d_fc + d_fc * v_cv**d_cv,
        lambda d_cv, d_fc, v_cv, v_fc: d_cv * v_cv ** (d_cv - 1) * v_fc**d_fc,
        lambda d_cv, d_fc, v_cv, v_fc: (d_cv + d_fc) * v_cv ** (d_cv - 1) * v_fc**d_fc,
    ],
)
def test_wrong_beta(monkeypatch, wrong):
    monkeypatch.setattr(closed_forms, "beta", wrong)
    assert all_fail("rotation-ntk", "rotation-signs")


def test_padding_that_is_not_what_is_said(monkeypatch):
    own = convolution.convolutions

    def exchanged(channels, dense, padding="circular", dims=2):
        other = "zeros" if padding == "circular" else "circular"
        return own(channels, dense, padding=other, dims=dims)

    monkeypatch.setattr(convolution, "convolutions", exchanged)
    assert all_fail("rotations", "zero-padding", *SUMS)


def test_library_that_scales_one_kind_of_layer(monkeypatch):
    own = convolution.expected_ntk

    def broken(net, x, *, c):
        first = next(iter(c))
        return own(net, x, c={**c, first: c[first] * 1.01})

    monkeypatch.setattr(convolution, "expected_ntk", broken)
    assert all_fail("rotation-ntk")


def test_library_without_input_factor(monkeypatch):
    own = convolution.npk
    monkeypatch.setattr(convolution, "npk", lambda net, x, *o, **k: own(net, x.abs(), *o, **k))
    assert all_fail("rotations", "rotation-sum")
