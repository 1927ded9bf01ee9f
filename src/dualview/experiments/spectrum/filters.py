"""What a deep linear gating network computes: spectra of its composed filters, and affine maps.

Under circular padding a stride-1 convolution multiplies each frequency of its input by a matrix, so
the composed filter of layer l has the product of the layers' matrices as its transform. Batch norm
in evaluation mode multiplies channels; biases only move the mean and are left out. Frequencies are
in cycles an image, arranged as `torch.fft.fft2` does.

Source: the linearity of the DLGN's gating network: arXiv 2110.03403; the Fourier form is this
project's.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, fx, nn

from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.modes import evaluation_mode
from dualview.errors import ConversionError


def composed_transforms(net: GatedNetwork, input_shape: tuple[int, int, int]) -> list[Tensor]:
    """The transform of each gated layer's composed filter, from the layers' kernels.

    Args:
        net: of kind "dlgn", its gating network made of stride-1 circular convolutions (and batch
            norm, taken in evaluation mode) in a row.
        input_shape: (channels, height, width) of the images.

    Returns:
        For each gated layer (its channels, input channels, height, width), complex128.

    Raises:
        ConversionError: the gating network is not linear, or made of anything else.
    """
    if net.kind != "dlgn":
        raise ConversionError(
            f"expected a network of kind 'dlgn', whose gating network is deep linear, got "
            f"{net.kind!r}; nothing else has composed filters"
        )
    c, h, w = input_shape
    at: dict[fx.Node, Tensor] = {}
    graph = net.gating_network.graph
    for node in graph.nodes:
        if node.op == "placeholder":
            at[node] = torch.eye(c, dtype=torch.complex128)[:, :, None, None].expand(c, c, h, w)
        elif node.op == "call_module":
            module = net.gating_network.get_submodule(str(node.target))
            at[node] = _after(module, at[node.args[0]], str(node.target))
        elif node.op == "output":
            return [at[q] for q in node.args[0][: net.n_gates]]
        else:
            raise _unknown(f"{node.op} {node.target}")
    raise AssertionError("a graph without output")


def _after(module: nn.Module, before: Tensor, name: str) -> Tensor:
    """The composed transform after one more layer."""
    if isinstance(module, nn.Conv2d):
        return torch.einsum("oihw,ijhw->ojhw", kernel_transform(module, before.shape[2:]), before)
    if isinstance(module, nn.BatchNorm2d) and module.running_var is not None:
        scale = (module.running_var.double() + module.eps).rsqrt()
        if module.affine:
            scale = scale * module.weight.detach().double()
        return before * scale.cpu()[:, None, None, None]
    if isinstance(module, nn.Identity):
        return before
    raise _unknown(f"{name} ({type(module).__name__})")


def kernel_transform(module: nn.Conv2d, size: Any) -> Tensor:
    """What one convolution multiplies each frequency by: (outputs, inputs, h, w), complex128.

    y[p] = sum over offsets o of K[o] x[p + o - padding], so the phases are exp(+2 pi i f o / size).

    Raises:
        ConversionError: it is not circular with stride 1, dilation 1 and one group.
    """
    circular = module.padding_mode == "circular" or max(module.kernel_size) == 1
    plain = {*module.stride, *module.dilation, module.groups} == {1}
    if not (circular and plain and not isinstance(module.padding, str)):
        raise _unknown(f"{module}")
    rows, columns = (
        _phases(module.kernel_size[axis], int(module.padding[axis]), size[axis]) for axis in (0, 1)
    )
    kernel = module.weight.detach().cpu().to(torch.complex128)
    return torch.einsum("oiab,ah,bw->oihw", kernel, rows, columns)


def _phases(taps: int, padding: int, size: int) -> Tensor:
    """exp(2 pi i f (tap - padding) / size): (taps, size)."""
    offsets = torch.arange(taps, dtype=torch.float64) - padding
    frequencies = torch.arange(size, dtype=torch.float64)
    angle = 2 * math.pi * offsets[:, None] * frequencies / size
    return torch.complex(angle.cos(), angle.sin())


def _unknown(what: str) -> ConversionError:
    return ConversionError(
        f"composed filters: expected stride-1 convolutions with circular padding and batch norm in "
        f"a row, got {what}. Repair: build the network with padding_mode='circular'"
    )


def mean_power(transform: Tensor) -> Tensor:
    """Squared gain at each frequency, summed over inputs, averaged over channels: (h, w)."""
    return transform.abs().square().sum(1).mean(0)


def radial_average(power: Tensor) -> list[float]:
    """Mean of `power` (h, w) over all frequencies r - 1/2 <= |f| < r + 1/2, r = 0, 1, ...

    The radius ends where the circle leaves the frequencies of the shorter side.

    >>> radial_average(torch.ones(4, 4))
    [1.0, 1.0, 1.0]
    """
    radius = (frequency_radius(*power.shape) + 0.5).floor()
    last = min(power.shape) // 2
    return [float(power[radius == r].mean()) for r in range(last + 1)]


def frequency_radius(height: int, width: int) -> Tensor:
    """|f| in cycles an image (of its own height and width) as `torch.fft.fft2` orders f: (h, w)."""
    rows = torch.fft.fftfreq(height, 1 / height, dtype=torch.float64)
    columns = torch.fft.fftfreq(width, 1 / width, dtype=torch.float64)
    return (rows[:, None] ** 2 + columns**2).sqrt()


def filter_spectra(net: GatedNetwork, input_shape: tuple[int, int, int]) -> list[list[float]]:
    """The radially averaged power of each gated layer's composed filter."""
    transforms = composed_transforms(net, input_shape)
    return [radial_average(mean_power(transform)) for transform in transforms]


def affine_gates(net: GatedNetwork, dimension: int) -> list[tuple[Tensor, Tensor]]:
    """Each gated layer's pre-activations as affine maps of few inputs: q_l = F_l u + c_l.

    Exact where the gating network is deep linear: it is evaluated at 0 and at the unit vectors.

    Returns:
        For each layer F (units, dimension) and c (units,), float64.

    Raises:
        ConversionError: the network is not of kind "dlgn".
    """
    if net.kind != "dlgn":
        raise ConversionError(f"expected a network of kind 'dlgn', got {net.kind!r}")
    parameter = next(net.parameters())
    corners = torch.cat([torch.zeros(1, dimension), torch.eye(dimension)]).to(parameter)
    with torch.no_grad(), evaluation_mode(net):
        layers = [q.double().cpu() for q in net.preactivations(corners)]
    return [((q[1:] - q[0]).T, q[0]) for q in layers]
