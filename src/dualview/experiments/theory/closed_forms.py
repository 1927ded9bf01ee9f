"""The formulas of the papers, written as they stand there. No rule of the kernel is used.

Gates are (n, units) or (n, channels, positions...), examples first; kernels are (n, n).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor


def input_products(x: Tensor) -> Tensor:
    """<x, x'>, of flattened examples."""
    flat = x.flatten(1)
    return flat @ flat.mT


def overlaps(gates: Sequence[Tensor]) -> list[Tensor]:
    """<G_l(x), G_l(x')> of every layer."""
    return [input_products(gate) for gate in gates]


def fully_connected_npk(x: Tensor, gates: Sequence[Tensor]) -> Tensor:
    """<x, x'> prod_l <G_l(x), G_l(x')>: theory 4.1; arXiv 2006.10529, section 3."""
    return math.prod(overlaps(gates), start=input_products(x))


def fully_connected_ntk(npk: Tensor, depth: int, variance: float) -> Tensor:
    """D sigma^(2(d - 1)) NPK: theory 4.2; arXiv 2006.10529, theorem 5.1."""
    return depth * variance ** (depth - 1) * npk


def output_covariance(npk: Tensor, depth: int, variance: float) -> Tensor:
    """sigma^(2d) NPK: theory 4.2."""
    return variance**depth * npk


def rotations(x: Tensor) -> list[Tensor]:
    """All circular shifts of images (n, channels, positions...), the image itself first."""
    axes = tuple(range(2, x.dim()))
    shifts = itertools.product(*(range(size) for size in x.shape[2:]))
    return [x.roll(shift, axes) for shift in shifts]


def active_paths(gates: Sequence[Tensor], others: Sequence[Tensor], kernel: int) -> Tensor:
    """Paths from every input position that are active for both examples: (positions...).

    A path chooses one of `kernel` offsets along each axis and one channel in every convolution,
    then one unit in every dense layer; paths are followed one choice of offsets at a time.

    Args:
        gates: of one example, (channels, positions...) for convolutions, (units,) after them.
        others: of the other example.
        kernel: size of the convolutions' kernels along each axis; circular, stride 1.
    """
    both = [(a * b).sum(0) for a, b in zip(gates, others, strict=True)]  # over channels or units
    images = [layer.numpy() for layer in both if layer.dim()]
    dense = math.prod(float(layer) for layer in both if not layer.dim())
    shape = images[0].shape
    counts = torch.zeros(shape, dtype=torch.float64)
    for start in itertools.product(*(range(size) for size in shape)):
        walks = _walks(start, shape, kernel, len(images))
        counts[start] = dense * sum(
            math.prod(image[position] for image, position in zip(images, walk, strict=True))
            for walk in walks
        )
    return counts


def _walks(
    start: tuple[int, ...], shape: Sequence[int], kernel: int, steps: int
) -> Iterator[list[tuple[int, ...]]]:
    """Positions after each of `steps` circular convolutions, for every choice of offsets."""
    offsets = list(itertools.product(range(-(kernel // 2), kernel // 2 + 1), repeat=len(shape)))
    for choice in itertools.product(offsets, repeat=steps):
        position, walk = start, []
        for offset in choice:
            position = tuple((p + o) % s for p, o, s in zip(position, offset, shape, strict=True))
            walk.append(position)
        yield walk


def rotation_sum(first: Sequence[Tensor], others: Sequence[Sequence[Tensor]], kernel: int) -> float:
    """(1 / P^2) sum_r sum_i x[i] rot(x', r)[i] overlap(i): theory 4.3, without beta.

    Args:
        first: one example (channels, positions...), then its gates, layer by layer.
        others: the same of every rotation of the other example.
        kernel: size of the convolutions' kernels along each axis.
    """
    total = 0.0
    for x, *gates in others:
        products = (first[0] * x).sum(0)
        total += float((products * active_paths(first[1:], gates, kernel)).sum())
    positions = math.prod(first[0].shape[1:])
    return total / positions**2


def beta(d_cv: int, d_fc: int, v_cv: float, v_fc: float) -> float:
    """Theory 4.3: from d_cv convolutions of variance v_cv and d_fc dense layers of v_fc."""
    convolutions = d_cv * v_cv ** (d_cv - 1) * v_fc**d_fc
    dense = d_fc * v_cv**d_cv * v_fc ** (d_fc - 1)
    return convolutions + dense


def ensemble(blocks: Sequence[Tensor]) -> list[tuple[int, Tensor]]:
    """The 2^b networks inside a residual one: theory 4.4; arXiv 2110.03403, theorem 3.

    Args:
        blocks: the kernel factor of each of the b + 2 blocks, that of the input in the first.

    Returns:
        For each subset J of the b blocks that are bypassed: its size and its network's NPK.
    """
    first, *bypassed, last = blocks
    return [
        (size, math.prod(chosen, start=first * last))
        for size in range(len(bypassed) + 1)
        for chosen in itertools.combinations(bypassed, size)
    ]


def residual_ntk(members: Sequence[tuple[int, Tensor]], depth: int, variance: float) -> Tensor:
    """sum_J (|J| + 2) d_blk sigma^(2((|J| + 2) d_blk - 1)) NPK_J: theory 4.4."""
    total = torch.zeros_like(members[0][1])
    for size, kernel in members:
        layers = (size + 2) * depth
        total = total + layers * variance ** (layers - 1) * kernel
    return total
