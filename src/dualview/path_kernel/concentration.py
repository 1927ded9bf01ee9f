"""How far the NTK of one draw of the weights is from its expectation, and the width that it takes.

For chains of dense layers and convolutions in closed form (`dualview.path_kernel.finite_width`).
With P positions, what is carried from layer to layer has P^4 numbers for a pair of examples: shared
weights correlate any four positions, and pooling at the end needs them all. That is feasible for
small images, and refused by its bytes for large ones.

Skips have no such form: behind an addition the identity branch brings gated values of the same
channels, which no fresh weights have mixed, so that sums over channels of one product no longer
determine those of the next gate; what would have to be carried has (channels x positions)^4 / 2
numbers. There, `dualview.path_kernel.ntk_draws` finds the spread by drawing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dualview.arguments import byte_count, number, takes
from dualview.conversion.example_size import refuse_beyond
from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.modes import evaluation_mode
from dualview.errors import PathKernelError
from dualview.path_kernel.chains import Chain, ChainLayer, read_chain
from dualview.path_kernel.examples import Gates, check_examples
from dualview.path_kernel.fast.kernel import slices
from dualview.path_kernel.finite_width import NTKMoments, Overlap, Reading, ntk_moments
from dualview.path_kernel.kernel import layer_scales, side, weight_layers


@takes(PathKernelError, kurtosis=number(least=1), memory=byte_count)
def ntk_variance(
    net: GatedNetwork,
    x1: Tensor,
    x2: Tensor | None = None,
    *,
    c: float | Mapping[str, float] = 1.0,
    gates: Gates = "model",
    kurtosis: float = 3.0,
    memory: float = 512e6,
) -> Tensor:
    """Variance, over fresh weights, of the NTK of one output of a chain of layers, exactly.

    Gates are fixed; weights are independent, zero-mean, of variance c^2 / fan-in, and there are no
    biases. The mean is `expected_ntk(net, x1, x2, c=c)`. Exact at every width, in closed form.

    Args:
        net: a chain of dense layers and convolutions, any padding and stride, with a gate between
            two, average pools, sums over positions, pads and interpolation; its gates are taken in
            evaluation mode. Batch norms are the identity.
        x1: first examples (n1, ...).
        x2: second examples (n2, ...); default: `x1`.
        c: as of `expected_ntk`.
        gates: "model" or "hard".
        kurtosis: fourth moment of a weight over its squared variance: 3 for Gaussian weights, 9/5
            for uniform ones, 1 for signs.
        memory: bound, in bytes, on what some pairs hold. Convolutions keep numbers for all sets of
            four positions: 13 MB a pair for images of 4 x 4 pixels, 3.2 GB for 8 x 8 (five layers).

    Returns:
        Variances (n1, n2), of x1's type and on its device.

    Raises:
        PathKernelError: the network is no such chain, one pair takes more than `memory` bytes, or
            as `expected_ntk`.

    Other networks: `ntk_spread` estimates it by drawing.

    Source: theory, section 8; derived for this project, and extended to any kurtosis.

    >>> import dualview as dv
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 1)).double()
    >>> net = dv.disentangle(model, "dnn")
    >>> x = torch.randn(1, 4, dtype=torch.float64)
    >>> spread = ntk_variance(net, x).sqrt() / dv.expected_ntk(net, x)
    >>> bool(0.1 < spread < 0.5)
    True
    """
    check_examples(net, gates, x1=x1, x2=x2)
    law = _Law.of(net, x1, c, kurtosis, memory)
    second = x1 if x2 is None else x2
    at_once = math.isqrt(law.pairs_within(memory))
    found = torch.empty(len(x1), len(second), dtype=torch.float64)
    with evaluation_mode(net), torch.no_grad():
        for rows in slices(len(x1), at_once):
            left = _values(net, x1, rows, gates, law, "x1")
            for columns in slices(len(second), at_once):
                right = _values(net, second, columns, gates, law, "x1" if x2 is None else "x2")
                overlaps = [Overlap.of(a, b) for a, b in zip(left, right, strict=True)]
                found[rows, columns] = law.moments(overlaps, 1.0).variance
    return found.to(x1)


@dataclass(frozen=True)
class NeededWidth:
    """How wide a network must be for its NTK to be close to the expectation.

    Attributes:
        factor: by which every gated layer is to be widened.
        widths: of the gated layers then.
        spread: standard deviation of the NTK over its mean now, (n,), for each example.
    """

    factor: float
    widths: tuple[int, ...]
    spread: Tensor


@takes(PathKernelError, tolerance=number(above=0), kurtosis=number(least=1), memory=byte_count)
def needed_width(
    net: GatedNetwork,
    x: Tensor,
    tolerance: float = 0.1,
    *,
    c: float | Mapping[str, float] = 1.0,
    gates: Gates = "model",
    kurtosis: float = 3.0,
    memory: float = 512e6,
) -> NeededWidth:
    """The least width at which the NTK of one draw is within `tolerance` of its expectation.

    Within: the standard deviation of NTK(x, x), divided by its mean, is at most `tolerance` for
    every example of `x`. A layer is widened by units like those that it has: of k times the units
    each gate is there k times.

    Args:
        net: as of `ntk_variance`.
        x: examples (n, ...).
        tolerance: above 0.
        c: as of `expected_ntk`.
        gates: "model" or "hard".
        kurtosis: of the weights, as of `ntk_variance`.
        memory: as of `ntk_variance`.

    Raises:
        PathKernelError: as `ntk_variance`; or no path is open for an example; or no width is
            enough, since the first layer has few inputs.

    >>> import dualview as dv
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1)).double()
    >>> found = needed_width(dv.disentangle(model, "dnn"), torch.randn(3, 64).double(), 0.1)
    >>> found.widths[0] > 32
    True
    """
    check_examples(net, gates, x=x)
    law = _Law.of(net, x, c, kurtosis, memory)
    with evaluation_mode(net), torch.no_grad():
        parts = [
            [Overlap.of_each(values) for values in _values(net, x, rows, gates, law, "x")]
            for rows in slices(len(x), law.pairs_within(memory))
        ]

    def spread(factor: float) -> Tensor:
        found = [law.moments(part, factor) for part in parts]
        return torch.cat([one.variance.clamp(min=0).sqrt() / one.mean for one in found])[:, 0]

    now = spread(1.0)
    if not now.isfinite().all():
        closed = int((~now.isfinite()).nonzero()[0])
        raise PathKernelError(
            f"x: expected examples with open paths, but the NTK of example {closed} has mean 0"
        )
    factor = _least_factor(spread, tolerance)
    widths = tuple(math.ceil(factor * layer.units) for layer in law.layers[1:])
    return NeededWidth(factor, widths, now)


def _least_factor(spread: Callable[[float], Tensor], tolerance: float) -> float:
    """The least factor at which no spread is above the tolerance.

    Raises:
        PathKernelError: there is none.
    """
    low, high = 2.0**-20, 1.0
    while float(spread(high).max()) > tolerance:
        low, high = high, 2 * high
        if high > 2.0**40:
            raise PathKernelError(
                f"tolerance: no width brings the NTK within {tolerance:g} of its expectation: "
                f"{float(spread(high).max()):.3g} is left at any. Repair: a larger tolerance"
            )
    while high / low > 1 + 1e-6:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if float(spread(middle).max()) <= tolerance else (middle, high)
    return high


_SMALL = 64
"""Positions up to which a layer's maps take no time worth knowing their shapes before."""


def _positions(layers: Sequence[ChainLayer]) -> int:
    return max(max(layer.maps.shape[1:]) for layer in layers)


def _bytes_of(layers: Sequence[ChainLayer]) -> float:
    """What one pair of examples takes: two arrays for each layer, and those at work."""
    return 8.0 * _positions(layers) ** 4 * (2 * len(layers) + 14)


def _refuse_large(chain: Chain, memory: float) -> None:
    """Refuse images whose moments do not fit, before any is computed."""
    positions, layers = _positions(chain.layers), len(chain.layers)
    seconds = 1e-7 * positions**4 * layers**2
    what = f"the moments of one pair of examples with {positions} positions"
    refuse_beyond(memory, _bytes_of(chain.layers), seconds, PathKernelError, what=what)


@dataclass(frozen=True)
class _Law:
    """A chain of layers, and the law of its weights.

    Attributes:
        layers: the chain.
        flat_input: whether the first reads the input as channels of one position.
        readings: of each layer.
        scales: c of each layer.
        kurtosis: of the weights.
    """

    layers: tuple[ChainLayer, ...]
    flat_input: bool
    readings: tuple[Reading, ...]
    scales: tuple[float, ...]
    kurtosis: float

    @classmethod
    def of(
        cls,
        net: GatedNetwork,
        x: Tensor,
        c: float | Mapping[str, float],
        kurtosis: float,
        memory: float,
    ) -> _Law:
        """Of this network, for examples like those of x.

        Raises:
            PathKernelError: not even one pair's moments fit.
        """
        scales = layer_scales(c, weight_layers(net))
        example = net.transformed(x[:1])[0]
        large = math.prod(example.shape[1:]) > _SMALL
        chain = read_chain(net, example, shapes_only=large)
        _refuse_large(chain, memory)
        chain = read_chain(net, example) if large else chain
        readings = tuple(Reading.of(layer.maps) for layer in chain.layers)
        found = tuple(scales[layer.name] for layer in chain.layers)
        return cls(chain.layers, chain.flat_input, readings, found, kurtosis)

    def pairs_within(self, memory: float) -> int:
        """How many pairs' moments fit; at least 1."""
        return max(1, int(memory / _bytes_of(self.layers)))

    def moments(self, overlaps: Sequence[Overlap], factor: float) -> NTKMoments:
        """Mean and variance for a network whose gated layers have `factor` times their units.

        Args:
            overlaps: of the input, then of the gates.
            factor: at least 0.
        """
        inputs, *gates = overlaps
        wide = [factor if k else 1.0 for k in range(len(self.layers))]
        variances = [
            scale**2 / (times * layer.inputs)
            for scale, times, layer in zip(self.scales, wide, self.layers, strict=True)
        ]
        gates = [gate.widened(factor) for gate in gates]
        found = ntk_moments(inputs, gates, self.readings, variances, self.kurtosis)
        if not (found.mean.isfinite().all() and found.variance.isfinite().all()):
            raise PathKernelError("c: the NTK's moments are beyond float64. Repair: a smaller c")
        return found


def _values(
    net: GatedNetwork, x: Tensor, rows: slice, gates: Gates, law: _Law, name: str
) -> list[Tensor]:
    """What the weights network reads, data or ones, and its gates: (n, units, positions) each."""
    given = side(net, x[rows], gates, name, range(rows.start, rows.stop)).double()
    inputs = torch.ones_like(given.x) if net.weights_input == "ones" else given.x
    inputs = inputs.flatten(1)[..., None] if law.flat_input else inputs.flatten(2)
    made = (gate.flatten(2) if gate.dim() > 2 else gate[..., None] for gate in given.gates)
    every = [value.cpu() for value in (inputs, *made)]
    layers = zip(every[1:], law.layers[:-1], law.layers[1:], strict=True)
    for value, layer, read in layers:
        if value.shape[1:] != (read.units, layer.maps.shape[1]):
            raise PathKernelError(
                f"net: expected gates of shape (units, positions) behind the layer '{layer.name}', "
                f"got {tuple(value.shape[1:])}. Repair: estimate the variance, "
                f"dualview.ntk_spread(net, x)"
            )
    return every
