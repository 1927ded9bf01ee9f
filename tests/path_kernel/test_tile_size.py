"""Sizes of tiles, from shapes alone.

- What is estimated on meta tensors is what a tile holds, measured on numbers.
- No tile of an architecture takes what makes one pass for small: that is more than it holds.
- A tile is as large as memory allows, and not larger; the most that is asked for, where that fits.
- One pair that does not fit is refused before anything is computed, with bytes, time and repair.
"""

import pytest
import torch

import dualview as dv
from dualview.conversion.memory_meter import MemoryMeter
from dualview.errors import PathKernelError
from dualview.path_kernel import kernel as kernels
from dualview.path_kernel.kernel import side
from dualview.path_kernel.propagate import propagate
from dualview.path_kernel.setting import Setting
from dualview.path_kernel.tile_size import _fits_amply, cost_of, tile_size
from tests.cases import DLGN_ARCHITECTURES, small_architecture, small_input
from tests.path_enumeration.models import gated

SETTINGS = {
    "npk": Setting(),
    "ntk and biases": Setting(bias_variance=1.0, batch_norm_scale=True, ntk=True),
}


def sides(name, count):
    net = gated(small_architecture(name, True), "dlgn", max_pool="switch").eval()
    with torch.no_grad():
        return net.weights_network, side(net, small_input(name, count), "model")


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", ["c4gap", "resnet20", "vgg16"])
def test_estimates_are_what_is_held(name, setting):
    network, one = sides(name, 1)
    _, many = sides(name, 3)
    estimate = cost_of(network, one, one, SETTINGS[setting], 3).nbytes
    held = 2 * sum(t.numel() * t.element_size() for t in (many.x, *many.gates, *many.switches))
    with torch.no_grad(), MemoryMeter() as meter:
        propagate(network, many, many, SETTINGS[setting])
    assert estimate == pytest.approx(held + meter.peak, rel=0.02)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("name", [*DLGN_ARCHITECTURES, "vit"])
def test_what_passes_for_small_fits(name, count):
    model = small_architecture(name).double().eval()
    net = dv.disentangle(model, "dnn" if name == "vit" else "dlgn", seed=0).eval()
    with torch.no_grad():
        one = side(net, small_input(name, 1).double(), "model")
        needed = cost_of(net.weights_network, one, one, SETTINGS["ntk and biases"], count).nbytes
        assert not _fits_amply(net.weights_network, one, count, 2 * needed)
        assert _fits_amply(net.weights_network, one, count, 3_000 * needed)


@pytest.mark.parametrize("memory", [6e5, 2e6, 8e6])
def test_tiles_fit(memory):
    network, one = sides("c4gap", 1)
    size = tile_size(network, one, one, Setting(), memory, 64)
    assert cost_of(network, one, one, Setting(), size).nbytes <= memory
    assert cost_of(network, one, one, Setting(), 2 * size + 2).nbytes > memory
    assert tile_size(network, one, one, Setting(), 1e12, 64) == 64


def test_a_pair_that_does_not_fit_is_refused_before_it_is_computed(monkeypatch):
    net, x = gated(small_architecture("gconv"), "dlgn"), small_input("gconv", 2)
    monkeypatch.setattr(kernels, "propagate", None)
    refused = r"memory: one pair .* takes \d+ MB and about \d+ s .* Repair: memory=.*npk_features"
    for function in (dv.npk, dv.expected_ntk):
        with pytest.raises(PathKernelError, match=refused):
            function(net, x, memory=1000.0)
