"""The public kernels of a gated network: NPK and expected NTK, in tiles of pairs.

Gates are those of the network in evaluation mode, whatever its mode. Examples are on axis 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.operations import CONVOLUTION_MODULES, DENSE_MODULES
from dualview.conversion.source_lines import module_of
from dualview.conversion.tracing import evaluation_mode
from dualview.errors import PathKernelError
from dualview.path_kernel.examples import Gates, check_examples
from dualview.path_kernel.fast.kernel import TILE, fast_kernel, slices
from dualview.path_kernel.fast.plan import fast_plan
from dualview.path_kernel.propagate import Side, propagate
from dualview.path_kernel.setting import Setting
from dualview.path_kernel.weight_rules import fan_in

TEMPORARIES = 4
"""How many kernels of the largest size a rule may hold beside those that live in the graph."""


def npk(
    net: GatedNetwork,
    x1: Tensor,
    x2: Tensor | None = None,
    *,
    normalise: bool = True,
    gates: Gates = "model",
    biases: bool = False,
    batch_norm: Literal["identity", "scale"] = "identity",
    memory: float = 512e6,
) -> Tensor:
    """Neural path kernel NPK(x, x') = <phi(x), phi(x')>, exactly.

    It equals the covariance of one output over independent zero-mean weights of unit variance.

    Args:
        net: the network; its gates are taken in evaluation mode.
        x1: first examples (n1, ...).
        x2: second examples (n2, ...); default: `x1`, and then only one triangle is computed.
        normalise: divide by every weight layer's fan-in (weights of variance 1 / fan-in), which
            keeps values near 1. For a fully connected network this is
            <x, x'> / n * prod_l <G_l, G_l'> / width_l. Otherwise weights have variance 1, and
            values grow with the product of the widths.
        gates: "model": as the network applies them (soft ones included); "hard": 1{q > 0}.
        biases: count paths that start at a bias (of unit variance) too.
        batch_norm: "identity", or "scale": multiply by gamma / sqrt(running variance + eps).
        memory: bound, in bytes, on what one tile of pairs may hold.

    Returns:
        Kernel (n1, n2), of x1's type and on its device.

    Raises:
        PathKernelError: `net` was not made by `disentangle` or does not take the examples, x has
            NaN, an operation has no exact rule, weights are tied, or the result overflows (only
            with normalise=False).

    Source: arXiv 2006.10529, section 3; arXiv 2110.03403; the rules for general graphs are this
    project's.

    >>> import dualview as dv
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    >>> net = dv.disentangle(model, kind="dnn")
    >>> x = torch.randn(3, 4)
    >>> (g,) = net.gates(x)
    >>> bool(torch.allclose(dv.npk(net, x), (x @ x.T) / 4 * (g @ g.T) / 8))
    True
    """
    check_examples(net, gates, x1=x1, x2=x2)
    variances = None if normalise else dict.fromkeys(weight_layers(net), 1.0)
    setting = Setting(variances, 1.0 if biases else None, batch_norm == "scale")
    return _kernel(net, x1, x2, setting, gates, memory, "normalise=True")[0]


def expected_ntk(
    net: GatedNetwork,
    x1: Tensor,
    x2: Tensor | None = None,
    *,
    c: float | Mapping[str, float] = 1.0,
    gates: Gates = "model",
    biases: bool = False,
    memory: float = 512e6,
) -> Tensor:
    """Expected NTK of one output of the weights network over fresh weights, gates fixed.

    Weights are independent, zero-mean, of variance c^2 / fan-in. With gates fixed the network is
    multilinear in its weights, so this is exact at every finite width; only the concentration of
    the empirical NTK around it needs width. Between different outputs the expectation is 0.

    Args:
        net: the network; its gates are taken in evaluation mode.
        x1: first examples (n1, ...).
        x2: second examples (n2, ...); default: `x1`.
        c: one scale for all weight layers, or one for each by its name in the weights network
            (`dualview.path_kernel.kernel.weight_layers(net)` lists
            them).
        gates: "model" or "hard".
        biases: have biases of unit variance, trained too.
        memory: bound, in bytes, on what one tile of pairs may hold.

    Returns:
        Kernel (n1, n2).

    Raises:
        PathKernelError: as `npk`; or `c` names other layers than the network has.

    Source: arXiv 2006.10529, theorem 5.1; arXiv 2110.03403, theorems 2 and 3.
    """
    check_examples(net, gates, x1=x1, x2=x2)
    layers = weight_layers(net)
    scales = dict.fromkeys(layers, float(c)) if isinstance(c, int | float) else dict(c)
    if set(scales) != set(layers) or min(scales.values()) <= 0:
        raise PathKernelError(
            f"c: expected a positive number for each of the weight layers {', '.join(layers)}, got "
            f"{c}"
        )
    variances = {name: scales[name] ** 2 / inputs for name, inputs in layers.items()}
    setting = Setting(variances, 1.0 if biases else None, ntk=True)
    return _kernel(net, x1, x2, setting, gates, memory, "a smaller c")[1]


def weight_layers(net: GatedNetwork) -> dict[str, int]:
    """Name of each weight layer's node in the weights network -> its fan-in."""
    kinds = (*DENSE_MODULES, *CONVOLUTION_MODULES)
    return {
        node.name: fan_in(module_of(node))
        for node in net.weights_network.graph.nodes
        if node.op == "call_module" and isinstance(module_of(node), kinds)
    }


def _kernel(
    net: GatedNetwork,
    x1: Tensor,
    x2: Tensor | None,
    setting: Setting,
    gates: Gates,
    memory: float,
    repair: str,
) -> Tensor:
    """Kernel (s, n1, n2), tile by tile; the lower triangle is mirrored where x2 is None."""
    other = x1 if x2 is None else x2
    out = x1.new_zeros(2 if setting.ntk else 1, len(x1), len(other))
    plan = fast_plan(net, x1, setting, gates)
    with evaluation_mode(net), torch.no_grad():
        if plan is not None:
            fast_kernel(net, x1, x2, plan, memory, out[0])
            if setting.ntk:
                assert plan.ntk is not None
                torch.mul(out[0], plan.scale * plan.ntk, out=out[1])
            out[0] *= plan.scale
        else:
            _fill(net, x1, x2, setting, gates, memory, out)
    return _checked(out, x2 is None, repair)


def _fill(
    net: GatedNetwork,
    x1: Tensor,
    x2: Tensor | None,
    setting: Setting,
    gates: Gates,
    memory: float,
    out: Tensor,
) -> None:
    """By the general rules, tile by tile; without x2 the upper triangle of tiles only."""
    other = x1 if x2 is None else x2
    size = _tile_size(net, x1, other, setting, gates, memory)
    for rows in slices(len(x1), size):
        left = side(net, x1[rows], gates)
        for columns in slices(len(other), size):
            if x2 is None and columns.start < rows.start:
                continue
            right = side(net, other[columns], gates)
            block = propagate(net.weights_network, left, right, setting)
            out[:, rows, columns] = block.kernel * _scale(block.log_scale)


def _checked(out: Tensor, symmetric: bool, repair: str) -> Tensor:
    """Mirror the upper triangle where the kernel is symmetric: in place, since it may be large."""
    if symmetric:  # to the last bit
        for rows in slices(out.shape[1], TILE):
            corner = out[:, rows, rows]
            corner.copy_(corner.triu() + corner.triu(1).mT)
            right = slice(rows.stop, None)
            out[:, right, rows] = out[:, rows, right].mT
    if not all(out[:, rows].isfinite().all() for rows in slices(out.shape[1], TILE)):
        raise PathKernelError(f"the kernel overflows {out.dtype}. Repair: use {repair}, or float64")
    return out


def _scale(log_scale: float) -> float:
    return math.exp(log_scale) if log_scale < 709 else math.inf


def side(net: GatedNetwork, x: Tensor, gates: Gates) -> Side:
    """The examples with the gates and switches that the network gives them."""
    values, switches = net.gates_and_switches(x, hard=gates == "hard")
    return Side(net.transformed(x), values, switches)


def _tile_size(
    net: GatedNetwork, x1: Tensor, x2: Tensor, setting: Setting, gates: Gates, memory: float
) -> int:
    """Examples on each side of a tile, from what one pair holds."""
    one, other = side(net, x1[:1], gates), side(net, x2[:1], gates)
    pair = propagate(net.weights_network, one, other, setting).peak_elements
    pairs = memory / (pair * x1.element_size() * TEMPORARIES)
    return max(1, min(int(math.sqrt(pairs)), TILE))
