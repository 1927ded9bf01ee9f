"""Every kernel refuses what is no gated network, and examples that the network does not take.

Large images are not tried on the network where they go row by row: what they do not fit is refused
by the same words, in its gates and behind them.
"""

import math

import pytest
import torch
from torch import nn

import dualview as dv
from dualview.architectures import c4gap
from dualview.errors import GateOrderError, PathKernelError
from dualview.path_kernel import kernel as kernel_module
from dualview.path_kernel.empirical import empirical_ntk
from dualview.path_kernel.features import npk_features

KERNELS = {
    "npk": dv.npk,
    "expected_ntk": dv.expected_ntk,
    "empirical_ntk": empirical_ntk,
    "npk_features": lambda net, x: npk_features(net, x, 4),
    "npk_gram": lambda net, x: dv.npk_gram(net, x, "never-written.zarr"),
}


@pytest.fixture(params=KERNELS)
def kernel(request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield KERNELS[request.param]
    assert not any(tmp_path.iterdir()), "what is refused leaves nothing on disk"


@pytest.fixture(scope="module")
def images():
    """A network for images of 1 channel and 8 x 8 pixels."""
    return dv.disentangle(
        nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(128, 2)),
        "dgn",
    )


UNFIT = {
    "larger image": (3, 1, 9, 9),
    "more channels": (3, 3, 8, 8),
    "no axis of channels": (3, 8, 8),
    "no axis of examples": (1, 8, 8),
    "one axis": (3, 64),
}


@pytest.mark.parametrize("case", UNFIT)
def test_examples_that_the_network_does_not_take(kernel, images, case):
    with pytest.raises(PathKernelError, match=r"x1?: the network does not take .*Repair: .*x\[N"):
        kernel(images, torch.randn(UNFIT[case]))


LARGE = {
    "one channel": (nn.Identity(), (2, 1, 100, 100), "to have 2 channels"),
    "another type": (nn.Identity(), (2, 2, 100, 100), "net.to"),
    "a larger image": (nn.Identity(), (2, 2, 104, 104), "cannot be multiplied"),
    "a view over examples": (nn.Unflatten(1, (2, 100)), (2, 2, 100, 100), "cannot be multiplied"),
}


@pytest.mark.parametrize("case", LARGE)
def test_large_examples_that_the_network_does_not_take(case):
    last, shape, said = LARGE[case]
    layers = nn.Conv2d(2, 2, 3, 10, padding=1), nn.ReLU(), nn.Flatten(), last, nn.Linear(200, 2)
    net = dv.disentangle(nn.Sequential(*layers), "dgn", gate="hard")
    net = net.double() if case == "another type" else net
    with pytest.raises(PathKernelError, match=rf"x1: the network does not take .*{said}"):
        dv.npk(net, torch.randn(shape), biases=True)


def test_large_examples_are_not_tried(monkeypatch):
    model = nn.Sequential(nn.Conv2d(2, 2, 3, 10), nn.ReLU(), nn.Flatten(), nn.Linear(200, 2))
    net, x = dv.disentangle(model, "dgn", gate="hard"), torch.randn(2, 2, 100, 100)
    expected = dv.npk(net.double(), x.double(), biases=True)
    monkeypatch.setattr(kernel_module, "check_fits", None)
    torch.testing.assert_close(dv.npk(net.float(), x, biases=True), expected.float())


@pytest.mark.parametrize("name", sorted(set(KERNELS) - {"npk_gram"}))  # which converts
def test_examples_of_another_type_than_the_parameters(images, name):
    with pytest.raises(PathKernelError, match=r"Repair: x1?\.to\(torch\.float32\), or net\.to"):
        KERNELS[name](images, torch.randn(3, 1, 8, 8).double())


def test_a_model_that_was_not_taken_apart(kernel):
    model = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 2))
    with pytest.raises(PathKernelError, match=r"net: expected a GatedNetwork, got Seq.*Repair"):
        kernel(model, torch.randn(2, 3))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.tensor([[1.0, 2, math.nan]]), "NaN or inf in row 0"),
        (torch.ones(2, 3, dtype=torch.int64), "floating-point"),
        ([[1.0]], "expected a .*floating-point"),
        (torch.ones(0, 3), "examples on axis 0"),
        (torch.ones(3), "examples on axis 0"),
    ],
)
def test_bad_examples(kernel, x, message):
    net = dv.disentangle(nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1)), "dgn")
    with pytest.raises(PathKernelError, match=message):
        kernel(net, x)


@pytest.mark.parametrize("name", ["npk", "expected_ntk", "empirical_ntk"])
def test_second_examples_are_of_the_shape_of_the_first(name):
    net = dv.disentangle(c4gap(width=2, input_shape=(1, 8, 8)), "dgn")
    with pytest.raises(PathKernelError, match=r"x2: expected .*\(1, 8, 8\).* as in x1, got .*9, 9"):
        KERNELS[name](net, torch.randn(2, 1, 8, 8), x2=torch.randn(2, 1, 9, 9))
    with pytest.raises(PathKernelError, match=r"x2: expected .*float32.*got .*float64"):
        KERNELS[name](net, torch.randn(2, 1, 8, 8), x2=torch.randn(2, 1, 8, 8).double())


@pytest.mark.parametrize("pack", [lambda z: (z, z), lambda z: {"logits": z}])
def test_several_outputs(kernel, pack):
    class Several(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, x):
            return pack(self.layer(torch.relu(x)))

    with pytest.raises(PathKernelError, match=r"one tensor as output, got .*output="):
        kernel(dv.disentangle(Several(), "dgn"), torch.randn(2, 3))


def test_an_output_without_an_axis_of_examples():
    class Summed(nn.Module):
        def forward(self, x):
            return torch.relu(x).sum()

    with pytest.raises(PathKernelError, match="one output for each example, got a single"):
        dv.npk(dv.disentangle(Summed(), "dgn"), torch.randn(2, 3))


def test_an_output_that_drops_the_axis_of_one_example():
    class Squeezed(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 1)

        def forward(self, x):
            return self.last(torch.relu(self.first(x))).squeeze()

    net = dv.disentangle(Squeezed(), "dgn", seed=0)
    assert dv.npk(net, torch.randn(2, 3)).shape == (2, 2)


def test_errors_of_the_network_itself_stay_as_they_are():
    net = dv.disentangle(c4gap(width=2, input_shape=(1, 8, 8)), "dgn")
    net.gate_order = (3, 1, 2, 0)
    net.gating_network = nn.Module()  # a network put together by hand
    net.gating_network.forward = lambda x: [torch.ones(1, n + 1) for n in range(4)]
    with pytest.raises(GateOrderError):
        dv.npk(net, torch.randn(1, 1, 8, 8))


def test_the_mode_of_the_network_comes_back(images):
    images.train()
    dv.npk(images, torch.randn(2, 1, 8, 8))
    assert all(module.training for module in images.modules())
