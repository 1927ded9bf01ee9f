"""What no number can be computed from is refused by all that compute with a network.

- NaN or infinite parameters and batch-norm statistics, NaN buffers; infinite buffers may be masks.
- Batch norms without running statistics.
- Examples that are not finite, or too large for the network.
"""

import math

import numpy as np
import pytest
import torch
from torch import nn

import dualview as dv
from dualview.conversion import finite
from dualview.errors import DualviewError, PathKernelError
from dualview.path_enumeration import enumerated_npk, recursive_npk
from dualview.path_kernel.machines import NPKClassifier, NPKFeatureClassifier
from dualview.path_kernel.ridge import fit_kernel_regression
from dualview.primal.filters import gate_distances, primal_filters
from dualview.primal.overlaps import initial_overlap
from dualview.primal.rates import gate_rates
from dualview.primal.spectra import filter_spectra


def attribution(net, x):
    machine = NPKClassifier(net, ridge=0.1)
    machine.fit(torch.cat([x, x / 2]), [0, 0, 1, 1])
    return dv.kernel_attribution(machine, x[0], train_labels=[0, 0, 1, 1])


FUNCTIONS = {
    "npk": dv.npk,
    "npk, hard": lambda net, x: dv.npk(net, x, gates="hard"),
    "expected_ntk": dv.expected_ntk,
    "npk_features": lambda net, x: dv.npk_features(net, x, 4),
    "empirical_ntk": dv.empirical_ntk,
    "npk_gram": None,
    "NPKClassifier": lambda net, x: NPKClassifier(net, ridge=0.1).fit(x, [0, 1]),
    "NPKFeatureClassifier": lambda net, x: NPKFeatureClassifier(net, n_features=8).fit(x, [0, 1]),
    "kernel_attribution": attribution,
    "gate_rates": gate_rates,
    "initial_overlap": lambda net, x: initial_overlap(net, net, x),
    "gate_distances": lambda net, x: gate_distances(net, x, 0),
    "top_paths": lambda net, x: dv.top_paths(net, x[:1], 0, k=3),
    "layer_contributions": lambda net, x: dv.layer_contributions(net, x[:1], 0, layer=0),
    "input_contributions": lambda net, x: dv.input_contributions(net, x[:1], 0),
    "path_features": dv.path_features,
    "enumerated_npk": enumerated_npk,
    "recursive_npk": recursive_npk,
}
WITHOUT_EXAMPLES = {
    "primal_filters": lambda net, x: primal_filters(net, 0, (2,)),
    "filter_spectra": lambda net, x: filter_spectra(
        primal_filters(net, 0, (2,)).filters().unsqueeze(1)
    ),
    "path_values": lambda net, x: dv.path_values(net, (2,)),
}


def call(name, net, x, folder):
    function = {**FUNCTIONS, **WITHOUT_EXAMPLES}[name]
    if function is None:
        return dv.npk_gram(net, x, folder / "gram.zarr", progress=False)
    return function(net, x)


def network(batch_norm=True, **options):
    torch.manual_seed(0)
    norm = [nn.BatchNorm1d(3, **options)] if batch_norm else []
    model = nn.Sequential(nn.Linear(2, 3), *norm, nn.ReLU(), nn.Linear(3, 2))
    return dv.disentangle(model, "dlgn", seed=0).eval()


X = torch.tensor([[1.0, 2.0], [-1.0, 0.5]])


@pytest.mark.parametrize("name", [*FUNCTIONS, *WITHOUT_EXAMPLES])
def test_the_sound_network_is_served(name, tmp_path):
    call(name, network(), X, tmp_path)


BROKEN = {
    "NaN weight": ("gating_network.0.weight", math.nan, "parameter '.*0.weight': .*got nan at"),
    "infinite bias": ("gating_network.0.bias", math.inf, "parameter '.*0.bias': .*got inf at"),
    "NaN gamma": ("gating_network.1.weight", math.nan, "parameter '.*1.weight'"),
    "NaN mean": ("gating_network.1.running_mean", math.nan, "buffer '.*1.running_mean'"),
    "infinite variance": ("gating_network.1.running_var", math.inf, "buffer '.*1.running_var'"),
}


@pytest.mark.parametrize("fault", BROKEN)
@pytest.mark.parametrize("name", [*FUNCTIONS, *WITHOUT_EXAMPLES])
def test_broken_networks_are_refused(name, fault, tmp_path):
    tensor, value, message = BROKEN[fault]
    net = network()
    state = dict((*net.named_parameters(), *net.named_buffers()))
    with torch.no_grad():
        state[tensor][-1] = value
    with pytest.raises(DualviewError, match=rf"{message}.*\. Repair: load a checkpoint"):
        call(name, net, X, tmp_path)


OF_THE_WEIGHTS = [
    n for n in FUNCTIONS if n not in ("gate_rates", "initial_overlap", "gate_distances")
]


@pytest.mark.parametrize("name", [*OF_THE_WEIGHTS, "path_values"])
def test_broken_weights_networks_are_refused(name, tmp_path):
    net = network()
    with torch.no_grad():
        net.weights_network.get_parameter("3.weight")[0, 0] = math.nan
    with pytest.raises(DualviewError, match=r"parameter 'weights_network.3.weight'"):
        call(name, net, X, tmp_path)


@pytest.mark.parametrize("name", [*FUNCTIONS, *WITHOUT_EXAMPLES])
def test_statistics_of_the_batch_are_refused(name, tmp_path):
    with pytest.raises(DualviewError, match="its statistics are those of the batch"):
        call(name, network(track_running_stats=False), X, tmp_path)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_examples_that_are_not_finite_are_refused(name, value, tmp_path):
    x = X.clone()
    x[0, 1] = value
    with pytest.raises((DualviewError, ValueError), match=r"finite values, got NaN|contains"):
        call(name, network(), x, tmp_path)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_examples_that_overflow_are_refused(name, tmp_path):
    x = X * 1.5e38
    net = network(batch_norm=False)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(4.0)
    if "enumerated" in name or "recursive" in name or name == "path_features":
        net, x = net.double(), x.double() * 5e269  # they compute in float64
    with pytest.raises(DualviewError, match=r"finite pre-activations, got NaN or inf in number"):
        call(name, net, x, tmp_path)


def test_the_example_that_overflows_is_named():
    net = network(batch_norm=False)
    x = torch.cat([X, X, X * 1e38])
    message = r"x1: .* for row 4: its values are too large for float32. Repair: .*net.double\(\)"
    with torch.no_grad():
        net.gating_network.get_parameter("0.weight").fill_(100.0)
    for gates in ("model", "hard"):
        with pytest.raises(PathKernelError, match=message):
            dv.npk(net, x, gates=gates)
    with pytest.raises(PathKernelError, match=r"x2: .* for row 4"):
        dv.npk(net, X, x)
    with pytest.raises(PathKernelError, match=r"x: .* for row 4"):
        dv.npk_features(net, x, 4, batch_size=3)


def test_infinite_buffers_may_be_masks():
    module = nn.Module()
    module.register_buffer("mask", torch.tensor([0.0, -math.inf]))
    finite.check_network(module, PathKernelError)
    module.mask[0] = math.nan
    with pytest.raises(PathKernelError, match="buffer 'mask'"):
        finite.check_network(module, PathKernelError)


def test_an_underflow_is_not_called_inactive():
    with pytest.raises(PathKernelError) as caught:
        fit_kernel_regression(np.zeros((2, 2)), np.ones(2), 0.1)
    assert "or the numbers underflow" in str(caught.value)
