"""Properties proved here: what is broken on purpose is found, on either side.

1. A formula that drops the input factor, takes the wrong exponent or the wrong number of layers.
2. A library that does the same; that normalises all but the first layer; that reads data for ones.
3. Features of the wrong variance, and a kernel that treats gate layers unequally.
4. Outputs whose gradients overlap.
"""

from dataclasses import replace

import pytest
import torch

from dualview.experiments.theory import closed_forms, dense
from tests.experiments.theory.checking import all_fail, tried


def test_formula_without_input_factor(monkeypatch):
    own = closed_forms.fully_connected_npk
    monkeypatch.setattr(
        closed_forms,
        "fully_connected_npk",
        lambda x, gates: own(x, gates) / closed_forms.input_products(x),
    )
    assert all_fail(
        "fc-npk",
        "fc-ones",
        "fc-permuted",
        "ntk-signs",
        "ntk-library",
        "covariance-signs",
        "covariance-drawn",
    )


@pytest.mark.parametrize(
    "wrong",
    [
        lambda npk, depth, variance: depth * variance**depth * npk,
        lambda npk, depth, variance: (depth - 1) * variance ** (depth - 1) * npk,
        lambda npk, depth, variance: depth * variance ** (2 * (depth - 1)) * npk,
    ],
    ids=["exponent", "layers", "variance for deviation"],
)
def test_wrong_ntk_formulas(monkeypatch, wrong):
    monkeypatch.setattr(closed_forms, "fully_connected_ntk", wrong)
    assert all_fail("ntk-signs", "ntk-library")


def test_wrong_covariance_formula(monkeypatch):
    monkeypatch.setattr(closed_forms, "output_covariance", lambda npk, d, v: v ** (d - 1) * npk)
    assert all_fail("covariance-signs", "covariance-drawn")


def test_library_without_input_factor(monkeypatch):
    own = dense.npk

    def broken(net, x, **options):
        factor = closed_forms.input_products(x) if net.weights_input == "data" else x.shape[1]
        return own(net, x, **options) / factor

    monkeypatch.setattr(dense, "npk", broken)
    assert all_fail("fc-npk", "fc-ones", "fc-normalised", "fc-permuted")


def test_library_that_normalises_from_the_second_layer_on(monkeypatch):
    own = dense.npk
    monkeypatch.setattr(
        dense,
        "npk",
        lambda net, x, **o: own(net, x, **o) * (x.shape[1] if o.get("normalise", True) else 1),
    )
    assert all_fail("fc-normalised")


def test_library_that_reads_data_for_ones(monkeypatch):
    own = dense.taken_apart
    monkeypatch.setattr(
        dense,
        "taken_apart",
        lambda model, kind, **o: own(model, kind, **{**o, "weights_input": "data"}),
    )
    assert all_fail("fc-ones")


def test_library_that_forgets_a_layer_of_the_ntk(monkeypatch):
    own = dense.expected_ntk

    def broken(net, x, *, c):
        first = next(iter(c))
        return own(net, x, c=c) - own(net, x, c=c) * 0.01 * c[first]

    monkeypatch.setattr(dense, "expected_ntk", broken)
    assert all_fail("ntk-library", "ntk-layers")


def test_library_that_takes_one_variance_for_all_layers(monkeypatch):
    own = dense.expected_ntk
    monkeypatch.setattr(
        dense, "expected_ntk", lambda net, x, *, c: own(net, x, c=sum(c.values()) / len(c))
    )
    assert all_fail("ntk-layers")


def test_features_of_another_variance(monkeypatch):
    own = dense.npk_features
    monkeypatch.setattr(dense, "npk_features", lambda *a, **o: own(*a, **o) * 1.3)
    assert all_fail("covariance-drawn")


def test_kernel_that_treats_gate_layers_unequally(monkeypatch):
    own = dense.npk
    monkeypatch.setattr(
        dense, "npk", lambda net, x, **o: own(net, x, **o) * (1 + net.gate_order[0] / 100)
    )
    record = tried("fc-permuted")
    assert not record.holds
    assert record.details == "order (2, 0, 1)"


def test_convolution_that_ignores_the_order(monkeypatch):
    own = dense.taken_apart

    def without_order(model, kind, **options):
        options.pop("gate_order", None)
        torch.manual_seed(0)
        return own(model, kind, **options)

    monkeypatch.setattr(dense, "taken_apart", without_order)
    assert all_fail("conv-permuted")


def test_outputs_that_share_gradients(monkeypatch):
    own = dense.sign_averages

    def broken(net, x, variances):
        found = own(net, x, variances)
        return replace(found, tangents=found.tangents + 1e-6)

    monkeypatch.setattr(dense, "sign_averages", broken)
    record = tried("output-blocks")
    assert not record.holds
    assert record.details == "E[NTK]"
