"""How far the NTK of one draw of the weights is from its expectation, and the width that it takes.

For fully connected networks in closed form (`dualview.path_kernel.finite_width`). With convolutions
the second moments of a kernel are those of pairs of positions, E K[p, q] K[r, s]: what is carried
from layer to layer grows with the fourth power of the positions (10^12 numbers at 32x32), since
shared weights correlate any four of them, and pooling at the end needs them all. Skips add terms
that share weights with each other, whose products no longer factorise into a part before and a part
behind a layer. Both are refused; `dualview.path_kernel.ntk_draws` finds their spread by drawing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from dualview.arguments import number, takes
from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.gates import apply_gate
from dualview.conversion.modes import evaluation_mode
from dualview.conversion.normal_form import UNCHANGED, normal_call
from dualview.conversion.source_lines import describe, module_of
from dualview.errors import PathKernelError
from dualview.path_kernel.examples import Gates, check_examples
from dualview.path_kernel.finite_width import NTKMoments, Overlap, ntk_moments
from dualview.path_kernel.kernel import layer_scales, side, weight_layers


@takes(PathKernelError, kurtosis=number(least=1))
def ntk_variance(
    net: GatedNetwork,
    x1: Tensor,
    x2: Tensor | None = None,
    *,
    c: float | Mapping[str, float] = 1.0,
    gates: Gates = "model",
    kurtosis: float = 3.0,
) -> Tensor:
    """Variance, over fresh weights, of the NTK of one output of a fully connected network.

    Gates are fixed; weights are independent, zero-mean, of variance c^2 / fan-in, and there are no
    biases. The mean is `expected_ntk(net, x1, x2, c=c)`. Exact at every width, in closed form.

    Args:
        net: a chain of dense layers; its gates are taken in evaluation mode.
        x1: first examples (n1, ...).
        x2: second examples (n2, ...); default: `x1`.
        c: as of `expected_ntk`.
        gates: "model" or "hard".
        kurtosis: fourth moment of a weight over its squared variance: 3 for Gaussian weights, 9/5
            for uniform ones, 1 for signs.

    Returns:
        Variances (n1, n2), of x1's type and on its device.

    Raises:
        PathKernelError: the network is no chain of dense layers, or as `expected_ntk`.

    Other networks: `ntk_spread` estimates it by drawing.

    Source: theory, section 8; derived for this project, and extended to any kurtosis.

    >>> import dualview as dv
    >>> model = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 1)).double()
    >>> net = dv.disentangle(model, "dnn")
    >>> x = torch.randn(1, 4, dtype=torch.float64)
    >>> spread = ntk_variance(net, x).sqrt() / dv.expected_ntk(net, x)
    >>> bool(0.1 < spread < 0.5)
    True
    """
    return _moments(net, x1, x2, c, gates, kurtosis, 1.0).variance.to(x1.dtype)


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


@takes(PathKernelError, tolerance=number(above=0), kurtosis=number(least=1))
def needed_width(
    net: GatedNetwork,
    x: Tensor,
    tolerance: float = 0.1,
    *,
    c: float | Mapping[str, float] = 1.0,
    gates: Gates = "model",
    kurtosis: float = 3.0,
) -> NeededWidth:
    """The least width at which the NTK of one draw is within `tolerance` of its expectation.

    Within: the standard deviation of NTK(x, x), divided by its mean, is at most `tolerance` for
    every example of `x`. A layer is widened by units like those that it has: of k times the units
    each gate is there k times.

    Args:
        net: a chain of dense layers.
        x: examples (n, ...).
        tolerance: above 0.
        c: as of `expected_ntk`.
        gates: "model" or "hard".
        kurtosis: of the weights, as of `ntk_variance`.

    Raises:
        PathKernelError: as `ntk_variance`; or no path is open for an example; or no width is
            enough, since the first layer has few inputs.

    >>> import dualview as dv
    >>> model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1)).double()
    >>> found = needed_width(dv.disentangle(model, "dnn"), torch.randn(3, 64).double(), 0.1)
    >>> found.widths[0] > 32
    True
    """

    def spread(factor: float) -> Tensor:
        found = _moments(net, x, None, c, gates, kurtosis, factor)
        return found.variance.diagonal().clamp(min=0).sqrt() / found.mean.diagonal()

    now = spread(1.0)
    if not now.isfinite().all():
        closed = int((~now.isfinite()).nonzero()[0])
        raise PathKernelError(
            f"x: expected examples with open paths, but the NTK of example {closed} has mean 0"
        )
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
    widths = tuple(math.ceil(high * layer.inputs) for layer in _dense_chain(net)[1:])
    return NeededWidth(high, widths, now)


@dataclass(frozen=True)
class _DenseLayer:
    """A dense layer of the chain: its node's name, and how many numbers it reads."""

    name: str
    inputs: int


def _moments(
    net: GatedNetwork,
    x1: Tensor,
    x2: Tensor | None,
    c: float | Mapping[str, float],
    gates: Gates,
    kurtosis: float,
    factor: float,
) -> NTKMoments:
    """Mean and variance for a network whose gated layers have `factor` times their units."""
    check_examples(net, gates, x1=x1, x2=x2)
    chain = _dense_chain(net)
    scales = layer_scales(c, weight_layers(net))
    with evaluation_mode(net), torch.no_grad():
        left = side(net, x1, gates)
        right = left if x2 is None else side(net, x2, gates, "x2")
        inputs = Overlap.of(*(_inputs(net, s.x) for s in (left, right)))
        overlaps = [
            Overlap.of(a.double().flatten(1), b.double().flatten(1)).widened(factor)
            for a, b in zip(left.gates, right.gates, strict=True)
        ]
    fan_ins = [chain[0].inputs, *(factor * layer.inputs for layer in chain[1:])]
    variances = [scales[layer.name] ** 2 / n for layer, n in zip(chain, fan_ins, strict=True)]
    found = ntk_moments(inputs, overlaps, variances, kurtosis)
    if not (found.mean.isfinite().all() and found.variance.isfinite().all()):
        raise PathKernelError("c: the NTK's moments are beyond float64. Repair: a smaller c")
    return found


def _inputs(net: GatedNetwork, x: Tensor) -> Tensor:
    """What the weights network reads, (n, inputs): the data, or ones."""
    flat = net.transformed(x).double().flatten(1)
    return torch.ones_like(flat) if net.weights_input == "ones" else flat


def _dense_chain(net: GatedNetwork) -> Sequence[_DenseLayer]:
    """The dense layers of a weights network that is a chain of them, with a gate between two.

    Raises:
        PathKernelError: it is another network.
    """
    layers: list[_DenseLayer] = []
    gated = True
    for node in net.weights_network.graph.nodes:
        if node.op == "placeholder" or _changes_nothing(node):
            continue
        if node.op == "output" and isinstance(node.args[0], fx.Node) and layers and not gated:
            return layers
        module = module_of(node) if node.op == "call_module" else None
        if isinstance(module, nn.Linear) and gated:
            layers.append(_DenseLayer(node.name, module.in_features))
            gated = False
        elif node.target is apply_gate and not gated:
            gated = True
        else:
            raise PathKernelError(
                f"{describe(node)}: the NTK's variance is known in closed form for chains of "
                f"dense layers with a gate between two. Repair: estimate it, "
                f"dualview.ntk_spread(net, x)"
            )
    raise PathKernelError(
        "net: expected a chain of dense layers that ends in one. Repair: estimate the variance, "
        "dualview.ntk_spread(net, x)"
    )


def _changes_nothing(node: fx.Node) -> bool:
    """Flattening the input, dropout in evaluation mode, the row of ones."""
    key = normal_call(node).key if node.op != "output" else ""
    return key in (*UNCHANGED, "ones", "spread", "flatten", "reshape", "size")
