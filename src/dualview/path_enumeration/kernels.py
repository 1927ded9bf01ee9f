"""Kernels of tiny networks from their paths: the neural path kernel and the expected NTK."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from dualview.arguments import Check, UnfitError, flag, number, one_of, optional, takes, whole
from dualview.conversion.examples import batch, gated
from dualview.conversion.gated_network import GatedNetwork
from dualview.errors import PathKernelError
from dualview.path_enumeration.bundles import (
    Monomial,
    by_monomial,
    features_of,
    share_features,
)
from dualview.path_enumeration.edges import ScalarGraph, Weight
from dualview.path_enumeration.example_values import GateMode, evaluated_inputs
from dualview.path_enumeration.paths import (
    LIMIT,
    PATH_LIMIT,
    Path,
    graph_of,
    refuse_more_than,
    walk,
)

Variances = float | Mapping[str, float]
KernelBatchNorm = Literal["scale", "identity"]


def checked_variances(value: Any) -> Variances:
    """One variance, or one for each parameter by its name; a check as `dualview.arguments` has."""
    variance = number(least=0)
    if not isinstance(value, Mapping):
        return variance(value)
    if not all(isinstance(name, str) for name in value):
        raise UnfitError("a finite number from 0 on, or one for each parameter by its name")
    return {name: variance(one) for name, one in value.items()}


KERNEL_ARGUMENTS: Mapping[str, Check] = {
    "net": gated,
    "x1": batch,
    "x2": optional(batch),
    "variances": checked_variances,
    "biases": flag,
    "batch_norm": one_of(*get_args(KernelBatchNorm)),
    "gates": one_of(*get_args(GateMode)),
}
"""What every kernel of this room takes."""


@takes(PathKernelError, **KERNEL_ARGUMENTS, output=optional(whole(0)), limit=LIMIT)
def enumerated_npk(
    net: GatedNetwork,
    x1: Tensor,
    x2: Tensor | None = None,
    *,
    output: int | None = None,
    biases: bool = False,
    batch_norm: KernelBatchNorm = "identity",
    gates: GateMode = "model",
    variances: Variances = 1.0,
    limit: int = PATH_LIMIT,
) -> Tensor:
    """The neural path kernel of one output, from its paths: sum over bundles of feature x feature.

    Two different bundles are different monomials of the weights. If no weight occurs twice in a
    bundle, monomials of independent zero-mean weights are uncorrelated, so this is exactly
    E[f(x1) f(x2)] over weights of the given variances with the gates fixed: the unnormalised NPK
    for variance 1.

    Args:
        net: a gated network; its own weights play no part.
        x1: examples, (n1, ...).
        x2: examples, (n2, ...); by default `x1`.
        output: which output; needed where outputs do not have the same features.
        biases: whether biases are weights too (paths that begin at a constant 1).
        batch_norm: "identity", or "scale" for gamma / sqrt(running variance + eps) as a constant
            factor. Its bias is one of the biases; its mean plays no part.
        gates: the model's own, or "hard": 1{q > 0} of its pre-activations.
        variances: of every weight, or by parameter name in `net.weights_network`.
        limit: most paths to enumerate, all outputs together.

    Returns:
        Kernel, (n1, n2), float64.

    Raises:
        PathKernelError: a weight occurs twice in a path, or `output` is needed.
        TooManyPathsError: there are more than `limit` paths; the message gives the count.

    Source: arXiv 2006.10529, definition 2.5.

    >>> from torch import nn
    >>> from dualview import disentangle
    >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).double()
    >>> net, x = disentangle(model, kind="dlgn"), torch.randn(5, 4, dtype=torch.float64)
    >>> (gate,) = net.gates(x)
    >>> bool(torch.allclose(enumerated_npk(net, x), (x @ x.T) * (gate @ gate.T)))
    True
    """
    graph = graph_of_pair(net, x1, x2, batch_norm, biases)
    bundles = _bundles_of_one_output(graph, output, limit)
    factors = [math.prod(_variances_of(weights, variances)) for weights in bundles]
    return _weighted_gram(net, (x1, x2), gates, bundles.values(), factors)


@takes(PathKernelError, **KERNEL_ARGUMENTS, output=optional(whole(0)), limit=LIMIT)
def enumerated_expected_ntk(
    net: GatedNetwork,
    x1: Tensor,
    x2: Tensor | None = None,
    *,
    variances: Variances = 1.0,
    output: int | None = None,
    biases: bool = False,
    batch_norm: KernelBatchNorm = "identity",
    gates: GateMode = "model",
    limit: int = PATH_LIMIT,
) -> Tensor:
    """The expected neural tangent kernel of one output, gates fixed, from its paths.

    The output is multilinear in the weights, so at every width, for independent zero-mean weights,
    E[<df(x1)/dw, df(x2)/dw>] is the sum over bundles of feature x feature x (sum over the bundle's
    weights of the product of the *other* weights' variances).

    Args and errors are those of `enumerated_npk`. With `biases` off they are neither in the
    network nor differentiated; batch norm's scale is never differentiated.

    Returns:
        Kernel, (n1, n2), float64.

    Source: arXiv 2110.03403, section 4; exact in expectation, not only in the limit of width.
    """
    graph = graph_of_pair(net, x1, x2, batch_norm, biases)
    bundles = _bundles_of_one_output(graph, output, limit)
    factors = [_sum_of_derivatives(_variances_of(weights, variances)) for weights in bundles]
    return _weighted_gram(net, (x1, x2), gates, bundles.values(), factors)


def graph_of_pair(
    net: GatedNetwork, x1: Tensor, x2: Tensor | None, batch_norm: KernelBatchNorm, biases: bool
) -> ScalarGraph:
    """The weights network spelled out for examples on either side of a kernel.

    Raises:
        PathKernelError: those of x2 are of another shape than those of x1.
    """
    if x2 is not None and x2.shape[1:] != x1.shape[1:]:
        raise PathKernelError(
            f"x2: expected examples of shape {tuple(x1.shape[1:])}, as in x1, got "
            f"{tuple(x2.shape[1:])}"
        )
    return graph_of(net, x1.shape[1:], batch_norm, biases)


def _bundles_of_one_output(
    graph: ScalarGraph, output: int | None, limit: int
) -> dict[Monomial, list[Path]]:
    """Bundles that are uncorrelated for random weights.

    Raises:
        PathKernelError: `output` is missing or out of range, or a weight occurs twice in a path.
    """
    refuse_more_than(limit, graph)
    count = len(graph.outputs)
    if output is not None and not 0 <= output < count:
        raise PathKernelError(f"output: expected 0 ... {count - 1}, got {output}")
    found = list(walk(graph))
    if output is None and not share_features(found, count):
        raise PathKernelError(
            f"the {count} outputs do not share their path features, so each has a kernel of its "
            f"own. Repair: pass output=0 ... {count - 1}"
        )
    bundles = by_monomial(path for path in found if path.output == (output or 0))
    for weights in bundles:
        repeated = next((w for w, n in Counter(weights).items() if n > 1), None)
        if repeated is not None:
            raise PathKernelError(
                f"weight {repeated.parameter}{list(repeated.coordinates)} occurs twice in one path "
                f"(tied weights), so the network is not linear in it and path features do not "
                f"determine the kernel. Repair: untie the layers; path_features and path_values "
                f"still hold, and dv.npk_features estimates the kernel"
            )
    return bundles


def _weighted_gram(
    net: GatedNetwork,
    examples: tuple[Tensor, Tensor | None],
    gates: GateMode,
    bundles: Collection[list[Path]],
    factors: list[float],
) -> Tensor:
    """Sum over bundles of feature x feature x factor: (n1, n2)."""
    x1, x2 = examples
    first = features_of(list(bundles), evaluated_inputs(net, x1, gates))
    second = first if x2 is None else features_of(list(bundles), evaluated_inputs(net, x2, gates))
    return (first * torch.tensor(factors, dtype=torch.float64)) @ second.T


def variance_of(weight: Weight, variances: Variances) -> float:
    """The variance of one weight, from one number for all or from a table by parameter."""
    if not isinstance(variances, Mapping):
        return float(variances)
    if weight.parameter not in variances:
        raise PathKernelError(
            f"variances: expected one for every parameter on a path, none for "
            f"'{weight.parameter}'. Repair: name them as net.weights_network.named_parameters() "
            f"does"
        )
    return float(variances[weight.parameter])


def _variances_of(weights: Monomial, variances: Variances) -> list[float]:
    return [variance_of(weight, variances) for weight in weights]


def _sum_of_derivatives(variances: list[float]) -> float:
    """Sum over the weights of the product of the other weights' variances."""
    return sum(math.prod(variances[:k] + variances[k + 1 :]) for k in range(len(variances)))
