"""Properties proved here.

1. The composed transforms are the Fourier transforms of the gating network's own impulse responses,
   for every layer, input channel and frequency, biases and batch norm included, also where kernels
   are as large as the image, not square, or without padding because they are 1x1.
2. Pointwise: transform times the image's transform is the transform of the pre-activations.
3. Whatever is not a row of circular stride-1 convolutions is refused: zero padding, stride, a DGN.
4. The radial average of a power is its mean over rings, written out frequency by frequency; a
   filter that is a single impulse passes all frequencies alike.
5. The affine maps give every pre-activation of a fully connected DLGN at any point.
"""

import math

import pytest
import torch
from torch import nn

from dualview import disentangle
from dualview.errors import ConversionError
from dualview.experiments.spectrum.filters import (
    affine_gates,
    composed_transforms,
    filter_spectra,
    frequency_radius,
    mean_power,
    radial_average,
)
from dualview.experiments.spectrum.networks import circular_c4gap, function_network


def _net(size=(6, 5), kernels=(3, (1, 3), 1, 5), kind="dlgn", **options):
    torch.manual_seed(0)
    layers, inputs = [], 2
    for outputs, kernel in zip((3, 4, 2, 3), kernels, strict=True):
        sizes = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = tuple(k // 2 for k in sizes)
        given = {"padding": padding, "padding_mode": "circular", **options}
        layers += [nn.Conv2d(inputs, outputs, sizes, **given), nn.BatchNorm2d(outputs), nn.ReLU()]
        inputs = outputs
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 2))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
            nn.init.uniform_(module.weight, -1.0, 1.0)
    net = disentangle(model.double().eval(), kind, seed=0)
    return net, (2, *size)


def _responses(net, shape):
    """Each layer's answer to an impulse in each input channel: (channels, inputs, h, w)."""
    impulses = torch.zeros(shape[0], *shape, dtype=torch.float64)
    impulses[range(shape[0]), range(shape[0]), 0, 0] = 1.0
    with torch.no_grad():
        nothing = net.preactivations(torch.zeros(1, *shape, dtype=torch.float64))
        answers = net.preactivations(impulses)
    return [(q - q0).transpose(0, 1) for q, q0 in zip(answers, nothing, strict=True)]


@pytest.mark.parametrize("size", [(6, 5), (5, 5), (8, 9)])
def test_transforms_of_impulse_responses(size):
    net, shape = _net(size)
    found = composed_transforms(net, shape)
    assert len(found) == net.n_gates == 4
    for transform, response in zip(found, _responses(net, shape), strict=True):
        torch.testing.assert_close(transform, torch.fft.fft2(response).to(transform.dtype))


def test_transforms_of_the_experiments_network():
    net = circular_c4gap("dlgn", 3, num_classes=4, input_shape=(1, 8, 8), width=5, beta=4.0)
    with torch.no_grad():
        for _ in range(3):
            net(torch.randn(16, 1, 8, 8))  # moves the running statistics
    found = composed_transforms(net, (1, 8, 8))
    expected = _responses(net.eval().double(), (1, 8, 8))
    for transform, response in zip(found, expected, strict=True):
        torch.testing.assert_close(
            transform, torch.fft.fft2(response).to(transform.dtype), rtol=1e-5, atol=1e-6
        )


def test_every_image_is_filtered_so():
    net, shape = _net()
    image = torch.randn(1, *shape, dtype=torch.float64)
    with torch.no_grad():
        answers = net.preactivations(image)
        constants = net.preactivations(torch.zeros_like(image))
    spectrum = torch.fft.fft2(image[0])
    for transform, q, constant in zip(
        composed_transforms(net, shape), answers, constants, strict=True
    ):
        filtered = torch.einsum("ijhw,jhw->ihw", transform, spectrum)
        torch.testing.assert_close(torch.fft.ifft2(filtered).real, (q - constant)[0])


@pytest.mark.parametrize(
    "options", [{"padding_mode": "zeros"}, {"stride": 2}, {"padding_mode": "reflect"}]
)
def test_other_convolutions_are_refused(options):
    net, shape = _net((16, 16), kernels=(3, 3, 3, 3), **options)
    with pytest.raises(ConversionError, match="circular"):
        composed_transforms(net, shape)


def test_other_operations_are_refused():
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular"),
        nn.AvgPool2d(2),
        nn.Conv2d(2, 2, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32, 2),
    )
    with pytest.raises(ConversionError, match="AvgPool2d"):
        composed_transforms(disentangle(model, "dlgn"), (1, 8, 8))


@pytest.mark.parametrize("kind", ["dgn", "dnn"])
def test_other_kinds_are_refused(kind):
    net, shape = _net(kind=kind)
    for function, argument in ((composed_transforms, shape), (affine_gates, 2)):
        with pytest.raises(ConversionError, match="kind 'dlgn'"):
            function(net, argument)


@pytest.mark.parametrize("size", [(6, 6), (7, 7), (8, 6)])
def test_radial_average_written_out(size):
    power = torch.rand(size, dtype=torch.float64)
    rings = {}
    for i in range(size[0]):
        for j in range(size[1]):
            distance = math.hypot(min(i, size[0] - i), min(j, size[1] - j))
            assert frequency_radius(*size)[i, j] == pytest.approx(distance)
            radius = math.floor(distance + 0.5)
            rings.setdefault(radius, []).append(power[i, j].item())
    averages = radial_average(power)
    assert len(averages) == min(size) // 2 + 1
    for radius, value in enumerate(averages):
        assert value == pytest.approx(sum(rings[radius]) / len(rings[radius]))


def test_an_impulse_passes_all_frequencies_alike():
    net, shape = _net(kernels=(3, 3, 3, 3))
    with torch.no_grad():
        for module in net.gating_network.modules():
            if isinstance(module, nn.Conv2d):
                module.weight[..., 1:, :] = 0
                module.weight[..., 1:] = 0
    spectra = filter_spectra(net, shape)
    for layer in spectra:
        assert layer == pytest.approx([layer[0]] * 3)
    power = mean_power(composed_transforms(net, shape)[0])
    kernel = next(m for m in net.gating_network.modules() if isinstance(m, nn.Conv2d)).weight
    norm = next(m for m in net.gating_network.modules() if isinstance(m, nn.BatchNorm2d))
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    expected = (scale**2 * kernel[..., 0, 0].square().sum(1)).mean()
    torch.testing.assert_close(power, expected.expand(power.shape))


@pytest.mark.parametrize("dimension", [1, 2])
def test_affine_gates(dimension):
    net = function_network("dlgn", 0, dimension=dimension, width=7, depth=4, beta=4.0).double()
    x = torch.randn(9, dimension, dtype=torch.float64)
    maps = affine_gates(net, dimension)
    assert len(maps) == 3
    assert net.training
    for (slope, constant), q in zip(maps, net.preactivations(x), strict=True):
        assert slope.shape == (7, dimension)
        torch.testing.assert_close(x @ slope.T + constant, q)
