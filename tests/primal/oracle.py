"""What primal filters must equal: the Jacobian of the pre-activations, by autograd.

And, since that misses what `.detach()` hides, differences of values, exact for an affine map.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import nn

import dualview as dv
from dualview.primal.filters import PrimalFilters, primal_filters
from tests.cases import enliven

TOLERANCE = 1e-11


def gated(model: nn.Module, kind: str = "dlgn", **options) -> dv.GatedNetwork:
    """A DLGN in float64 and evaluation mode, with lively biases and statistics in its gates."""
    return dv.disentangle(enliven(model.double()), kind, seed=0, **options).eval()


def stack(*layers: nn.Module) -> nn.Module:
    """Layers with one gate at the end."""
    return nn.Sequential(*layers, nn.ReLU())


def jacobian(net, layer: int, shape) -> tuple[torch.Tensor, torch.Tensor]:
    """Filters (*gate shape, *input shape) and offsets (*gate shape), from the pre-activations.

    The Jacobian is taken at a random point, which must not matter.
    """
    x = torch.randn(1, *shape, dtype=torch.float64)
    filters = torch.func.jacrev(lambda x: net.preactivations(x)[layer][0])(x).squeeze(
        -1 - len(shape)
    )
    return filters.detach(), net.preactivations(torch.zeros_like(x))[layer][0].detach()


def differences(net, layer: int, shape) -> torch.Tensor:
    """Filters (*gate shape, *input shape), from the values at unit vectors and at 0."""
    units = torch.eye(math.prod(shape), dtype=torch.float64).reshape(-1, *shape)
    with torch.no_grad():
        values = net.preactivations(units)[layer] - net.preactivations(0 * units[:1])[layer]
    return values.movedim(0, -1).unflatten(-1, tuple(shape))


def assert_close(got: torch.Tensor, expected: torch.Tensor) -> None:
    """Equal to rounding, relative to the largest expected entry."""
    assert got.shape == expected.shape
    bound = TOLERANCE * expected.abs().max().clamp(min=1e-300)
    assert float((got - expected).abs().max()) <= float(bound)


def assert_exact(net, layer: int, shape, expected: torch.Tensor | None = None) -> PrimalFilters:
    """Filters, offsets, channel kernels, norms and reconstructed values against the Jacobian."""
    found = primal_filters(net, layer, shape)
    filters, offsets = jacobian(net, layer, shape)
    filters = filters if expected is None else expected
    assert filters.abs().max() > 1e-9, "a dead layer shows nothing"
    assert_close(found.offsets, offsets)
    assert_close(found.filters().reshape(filters.shape), filters)
    assert_close(found.norms, filters.flatten(len(offsets.shape)).norm(dim=-1))
    assert_placed(found, filters)
    x = torch.randn(3, *shape, dtype=torch.float64)
    values = torch.tensordot(x, filters, dims=(tuple(range(1, x.dim())), _last(filters, shape)))
    with torch.no_grad():
        assert_close(values + offsets, net.preactivations(x)[layer])
    assert_close(found.preactivations(x), values + offsets)
    return found


def _last(filters: torch.Tensor, shape) -> tuple[int, ...]:
    return tuple(range(filters.dim() - len(shape), filters.dim()))


def assert_placed(found: PrimalFilters, filters: torch.Tensor) -> None:
    """Channel kernels, laid onto the input at every interior position, are the filters there."""
    if not found.has_channel_kernels:
        assert not any(found.interior)
        return
    for position in itertools.product(*found.interior):
        at = (slice(None), *position)
        assert_close(placed(found, position), filters[at])


def placed(found: PrimalFilters, position) -> torch.Tensor:
    """All channels' kernels at one position, (channels, *input shape), modulo the input's size."""
    kernels = found.channel_kernels
    image = kernels.new_zeros(len(kernels), *found.input_shape)
    image[(..., *(slice(0, size) for size in kernels.shape[2:]))] = kernels
    axes = tuple(range(2, kernels.dim()))
    return image.roll(found.origin(position), axes)
