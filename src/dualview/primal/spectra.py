"""Power spectra of filters: how much of each spatial frequency a gate looks at.

Deep linear convolution with circular padding is diagonal in the Fourier basis, so the spectrum of a
composed kernel is the gain of its channel at each frequency; with zero padding that holds away from
the border. Frequencies are in cycles a pixel, up to 1/2 along an axis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import gt

import torch
from torch import Tensor

from dualview.arguments import require, shape
from dualview.conversion.examples import batch
from dualview.errors import PrimalFilterError
from dualview.primal.filters import PrimalFilters


@dataclass(frozen=True, eq=False)
class FilterSpectra:
    """Power spectra of n filters.

    Attributes:
        power: (n, input channels, positions...), frequency 0 first as in `torch.fft`. The sum over
            all but n is the squared norm of the filter (Parseval).
        frequencies: (rings,) the mean frequency of each ring.
        radial: (n, rings) mean over a ring of the power, summed over input channels.
        counts: (rings,) frequencies in each ring; `radial @ counts` is the squared norm again.
    """

    power: Tensor
    frequencies: Tensor
    radial: Tensor
    counts: Tensor


def filter_spectra(
    filters: PrimalFilters | Tensor, size: Sequence[int] | None = None
) -> FilterSpectra:
    """Power spectra of filters, filled up with zeros to the size of the input.

    Args:
        filters: a layer's primal filters, whose channel kernels are taken; or any filters
            (n, input channels, positions...), such as `found.filters()` of a dense layer.
        size: positions of the transform; default: the input's, or the given filters' own.

    Raises:
        PrimalFilterError: there are no channel kernels, filters without positions, or larger ones
            than `size`.

    >>> spectra = filter_spectra(torch.ones(1, 1, 2), size=(4,))
    >>> spectra.power  # the sum of two neighbours passes low frequencies
    tensor([[[1.0000, 0.5000, 0.0000, 0.5000]]])
    >>> spectra.radial @ spectra.counts  # the squared norm
    tensor([2.])
    """
    if isinstance(filters, PrimalFilters):
        kernels, own = filters.channel_kernels, filters.input_shape[1:]
    else:
        kernels = require("filters", filters, batch, PrimalFilterError)
        own = tuple(kernels.shape[2:])
    sizes: tuple[int, ...] = tuple(own)
    if size is not None:
        sizes = require("size", size, shape(), PrimalFilterError)
    lengths = tuple(kernels.shape[2:])
    if not lengths or len(lengths) != len(sizes) or any(map(gt, lengths, sizes)):
        raise PrimalFilterError(
            f"filters: expected (n, channels, positions...) with at most {sizes} positions, got "
            f"shape {tuple(kernels.shape)}"
        )
    axes = tuple(range(2, kernels.dim()))
    power = torch.fft.fftn(kernels, sizes, axes).abs().square() / math.prod(sizes)
    frequencies, rings = _rings(sizes, kernels)
    counts = torch.bincount(rings).to(power.dtype)
    summed = power.sum(1).flatten(1)  # (n, frequencies)
    radial = summed.new_zeros(len(summed), len(counts)).index_add_(1, rings, summed) / counts
    mean = torch.zeros_like(counts).index_add_(0, rings, frequencies) / counts
    return FilterSpectra(power, mean, radial, counts)


def _rings(sizes: tuple[int, ...], like: Tensor) -> tuple[Tensor, Tensor]:
    """Length of every frequency vector, and the number of its ring; rings are 1 / size wide."""
    squares = like.new_zeros(sizes)
    for axis, size in enumerate(sizes):
        frequencies = torch.fft.fftfreq(size, dtype=like.dtype, device=like.device)
        squares += frequencies.square().reshape(-1, *(1,) * (len(sizes) - 1 - axis))
    lengths = squares.sqrt().flatten()
    _, rings = (lengths * max(sizes)).round().long().unique(return_inverse=True)
    return lengths, rings
