"""A second oracle, which knows of no paths: averages over all 2^n signs of a network's n weights.

Weights of +-sigma are independent, with mean zero and variance sigma^2, so the average over all
signs is an exact expectation. Gates are held fixed.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from dualview import GatedNetwork
from dualview.conversion.operations import BATCH_NORM_MODULES

MOST_WEIGHTS = 14


def sign_averages(
    net: GatedNetwork,
    x: Tensor,
    variances: Mapping[str, float] | float = 1.0,
    *,
    biases: bool = False,
    output: int = 0,
) -> tuple[Tensor, Tensor]:
    """(E[f(x) f(x')], E[<df(x)/dw, df(x')/dw>]), each (n, n), over all signs of the weights.

    Batch norm keeps its scale; its mean is set to 0. Without `biases` all of them are 0.
    """
    network = net.weights_network
    buffers = {
        name: torch.zeros_like(b) if name.endswith("running_mean") else b
        for name, b in network.named_buffers()
    }
    drawn, constant = _split(network, biases)
    sizes = [p.numel() for p in drawn.values()]
    if sum(sizes) > MOST_WEIGHTS:
        raise AssertionError(f"{sum(sizes)} weights have too many sign patterns")
    sigma = {
        n: (variances[n] if isinstance(variances, Mapping) else variances) ** 0.5 for n in drawn
    }

    def output_of(signs: Tensor, x: Tensor, gates: tuple[Tensor, ...]) -> Tensor:
        parts = signs.split(sizes)
        weights = {
            name: sigma[name] * part.view(drawn[name].shape)
            for name, part in zip(drawn, parts, strict=True)
        }
        state = {**buffers, **constant, **weights}
        arguments = (x.unsqueeze(0), *(g.unsqueeze(0) for g in gates))
        return functional_call(network, state, arguments).flatten()[output]

    # d/dsign = sigma d/dw, so each column of the gradient is divided by its weight's sigma.
    scale = torch.cat(
        [torch.full((n,), sigma[k], dtype=torch.float64) for k, n in zip(drawn, sizes, strict=True)]
    )
    patterns = torch.tensor(list(itertools.product((1.0, -1.0), repeat=sum(sizes)))).double()
    gates, switches = net.gates_and_switches(x)
    given = (*gates, *switches)
    values = vmap(lambda s: vmap(output_of, (None, 0, 0))(s, x, given))(patterns)
    slopes = vmap(lambda s: vmap(grad(output_of), (None, 0, 0))(s, x, given))(patterns) / scale
    covariance = torch.einsum("pi,pj->ij", values, values) / len(patterns)
    tangent = torch.einsum("piw,pjw->ij", slopes, slopes) / len(patterns)
    return covariance.detach(), tangent.detach()


def _split(network: nn.Module, biases: bool) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Parameters whose signs are averaged over, and those that stay (batch norm) or are 0."""
    drawn, constant = {}, {}
    for name, parameter in network.named_parameters():
        owner = network.get_submodule(name.rpartition(".")[0])
        value = parameter.detach()
        if name.endswith("bias"):
            (drawn if biases else constant)[name] = value if biases else torch.zeros_like(value)
        elif isinstance(owner, BATCH_NORM_MODULES):
            constant[name] = value
        else:
            drawn[name] = value
    return drawn, constant
