"""`dv.npk` and `dv.expected_ntk` against the oracle, which shares no code with them.

- Paths one by one: every reference architecture that is small enough when shrunk, a chain of
  convolutions and max pools, a network behind a fixed convolution, and at least 100 different
  random graphs; normalised and of unit variances, with data and ones, biases and batch norm's
  scale.
- The recursion over pairs of entries: every reference architecture that halves its image at most
  twice, at sizes that have too many paths, and a residual network on 4 x 4 images.
"""

import math
from functools import partial

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import dualview as dv
from dualview.architectures import ARCHITECTURES, ResNet
from dualview.errors import TooManyPathsError
from dualview.path_enumeration import (
    enumerated_expected_ntk,
    enumerated_npk,
    recursive_expected_ntk,
    recursive_npk,
)
from dualview.path_kernel.kernel import weight_layers
from tests.cases import enliven, relative_error
from tests.path_enumeration.models import fixed_patches, gated, max_pool_chain
from tests.random_networks import Features, random_networks

OPTIONS = {
    "dnn": {"kind": "dnn"},
    "dgn": {"kind": "dgn"},
    "dlgn": {"kind": "dlgn"},
    "ones": {"kind": "dlgn", "weights_input": "ones"},
    "switches": {"kind": "dgn", "max_pool": "switch"},
}
ENUMERATED = {
    "fc": lambda: (ARCHITECTURES["fc"](1, (1, 2, 2), 2), (1, 2, 2)),
    "vconv": lambda: (ARCHITECTURES["vconv"](1, (1, 1, 2), 1), (1, 1, 2)),
    "gconv": lambda: (ARCHITECTURES["gconv"](1, (1, 1, 2), 1), (1, 1, 2)),
    "c4gap": lambda: (ARCHITECTURES["c4gap"](1, (1, 2, 2), widths=(1, 2, 1, 2)), (1, 2, 2)),
    "residual": lambda: (ResNet(1, 1, (1, 1, 2), 1, False), (1, 1, 2)),
    "max pools": lambda: (max_pool_chain(), (1, 4, 4)),
    "fixed patches": lambda: (fixed_patches(), (1, 2, 3)),
}
RECURSIVE = {
    "fc": lambda: (ARCHITECTURES["fc"](2, (1, 4, 4), 4), (1, 4, 4)),
    "vconv": lambda: (ARCHITECTURES["vconv"](2, (2, 3, 3), 1), (2, 3, 3)),
    "gconv": lambda: (ARCHITECTURES["gconv"](2, (2, 3, 3), 1), (2, 3, 3)),
    "c4gap": lambda: (ARCHITECTURES["c4gap"](2, (2, 4, 3), 2), (2, 4, 3)),
    "residual": lambda: (ResNet(1, 2, (1, 4, 4), 1, False), (1, 4, 4)),
    "residual with batch norm": lambda: (ResNet(1, 2, (1, 4, 4), 1, True), (1, 4, 4)),
    "resnet20": lambda: (ARCHITECTURES["resnet20"](1, (1, 1, 2), 1, False), (1, 1, 2)),
}


def fan_in_variances(net):
    """1 / fan-in for every weight of the weights network, and 1 for every bias."""
    return {
        name: 1 / math.prod(parameter.shape[1:])
        for name, parameter in net.weights_network.named_parameters()
    }


def assert_equal(net, x, npk_oracle, ntk_oracle, normalise, biases=False, scale=False):
    """Both kernels, of weights with variance 1 / fan-in or 1; returns the oracle's NPK."""
    unit = {name: math.sqrt(fan_in) for name, fan_in in weight_layers(net).items()}
    variances = fan_in_variances(net) if normalise else 1.0
    same = {"biases": biases, "batch_norm": "scale" if scale else "identity"}
    npk = npk_oracle(net, x, variances=variances, **same)
    assert relative_error(dv.npk(net, x, normalise=normalise, **same), npk) < 1e-10
    ntk = ntk_oracle(net, x, variances=variances, **same)
    got = dv.expected_ntk(net, x, c=1.0 if normalise else unit, **same)
    assert relative_error(got, ntk) < 1e-10
    return npk


def live(make, **options):
    """A network and examples whose kernel is not 0: with hard gates a thin network may be dead."""
    for seed in range(40):
        torch.default_generator.manual_seed(seed)
        model, shape = make()
        net = gated(enliven(model.double()).eval(), **options)
        x = torch.randn(2, *shape, dtype=torch.float64)
        if dv.npk(net, x).diagonal().min() > 0:
            return net, x
    raise AssertionError("only dead networks")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, "dgn") for name in ENUMERATED),
        *(("max pools", options) for options in OPTIONS if options != "dgn"),
        *(("residual", options) for options in ("dnn", "dlgn", "ones")),
    ],
)
def test_architectures_path_by_path(name, options):
    net, x = live(ENUMERATED[name], **OPTIONS[options])
    for normalise in (True, False):
        assert_equal(net, x, enumerated_npk, enumerated_expected_ntk, normalise)


@pytest.mark.parametrize("name", RECURSIVE)
def test_architectures_entry_by_entry(name):
    net, x = live(RECURSIVE[name], kind="dgn")
    for normalise in (True, False):
        assert_equal(net, x, recursive_npk, recursive_expected_ntk, normalise, scale=True)


GRAPHS = Features(channels=2, size=4, steps=3, shared=False)
PATHS = 1_000


def test_random_graphs_path_by_path():
    compared = set()

    @settings(max_examples=165)
    @given(
        random_networks(GRAPHS),
        st.sampled_from(sorted(OPTIONS)),
        st.booleans(),
        st.booleans(),
        st.booleans(),
    )
    def compare(model, options, normalise, biases, scale):
        net = gated(model, **OPTIONS[options])
        x = torch.randn(2, *model.input_shape, dtype=torch.float64)
        oracles = [partial(o, limit=PATHS) for o in (enumerated_npk, enumerated_expected_ntk)]
        try:
            npk = assert_equal(net, x, *oracles, normalise, biases, scale)
        except TooManyPathsError:
            assume(False)
        if npk.abs().max() > 0:
            compared.add(float(npk.abs().max()))

    compare()
    assert len(compared) >= 100, f"only {len(compared)} different kernels were compared"
