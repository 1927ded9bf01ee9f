"""Expectations over random weights, without chance: the average over all signs of the weights.

Weights of +sigma or -sigma, each with probability 1/2, are independent, of mean zero and variance
sigma^2. A network of k weights has 2^k such patterns; the mean over all of them is an expectation
to the last bit. It is taken of the network itself and of its gradient by automatic differentiation,
and uses no rule of the kernel.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call, jacrev, vmap

from dualview.conversion.gated_network import GatedNetwork

MOST_WEIGHTS = 14


@dataclass(frozen=True)
class SignAverages:
    """Expectations over the weights; gates are those of the examples."""

    outputs: Tensor
    """E[f_o(x) f_o'(x')]: (outputs, outputs, n, n)."""
    tangents: Tensor
    """E[<df_o(x)/dw, df_o'(x')/dw>]: (outputs, outputs, n, n)."""
    tangent_squares: Tensor
    """E[<df_o(x)/dw, df_o'(x')/dw>^2]: (outputs, outputs, n, n)."""
    patterns: int


def sign_averages(
    net: GatedNetwork, x: Tensor, variances: Mapping[str, float] | float
) -> SignAverages:
    """Average over all sign patterns of a weights network without biases.

    Args:
        net: the network, of at most `MOST_WEIGHTS` weights.
        x: examples (n, ...).
        variances: of every weight, or by parameter name in `net.weights_network`.
    """
    network = net.weights_network
    own = {name: parameter.detach() for name, parameter in network.named_parameters()}
    sizes = [parameter.numel() for parameter in own.values()]
    if sum(sizes) > MOST_WEIGHTS:
        raise ValueError(f"expected at most {MOST_WEIGHTS} weights, got {sum(sizes)}")
    given = dict.fromkeys(own, variances) if isinstance(variances, float) else variances
    inputs = (x, *(gate.detach() for gate in net.gates(x)))

    def outputs(weights: Tensor) -> Tensor:
        parts = zip(own.items(), weights.split(sizes), strict=True)
        parameters = {name: part.view(like.shape) for (name, like), part in parts}
        result: Tensor = functional_call(network, parameters, inputs)
        return result  # (n, outputs)

    deviations = torch.cat([torch.full_like(p, given[k] ** 0.5).flatten() for k, p in own.items()])
    signs = torch.tensor(list(itertools.product((1.0, -1.0), repeat=sum(sizes)))).double()
    values = vmap(outputs)(signs * deviations)  # (patterns, n, outputs)
    slopes = vmap(jacrev(outputs))(signs * deviations)  # (patterns, n, outputs, weights)
    rows = slopes.flatten(1, 2)  # (patterns, n * outputs, weights)
    blocks = (rows @ rows.mT).view(len(signs), *[len(x), slopes.shape[2]] * 2)
    tangents = blocks.permute(0, 2, 4, 1, 3)  # (patterns, outputs, outputs, n, n)
    return SignAverages(
        torch.einsum("sio,sjp->opij", values, values) / len(signs),
        tangents.mean(0),
        tangents.square().mean(0),
        len(signs),
    )
