"""Weights of a trained network removed in an order of importance; what is left of it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dualview.conversion.gated_network import GatedNetwork
from dualview.datasets import Dataset
from dualview.experiments.networks import as_gated
from dualview.path_attribution.path_norm import path_magnitudes, path_norm
from dualview.path_attribution.rescaling import rescaled
from dualview.training.accuracy import accuracy
from dualview.training.feeding import inputs_of

SHARES = (0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
"""Of the weights that are removed."""
BOUNDED = 256
"""Whose change is held against the bound."""

Importance = Callable[[GatedNetwork, Tensor], Mapping[str, Tensor]]
"""(network, one example) -> parameter of the weights network -> importance, of its shape."""


def _size(net: GatedNetwork, x: Tensor) -> Mapping[str, Tensor]:
    return {name: p.detach().abs().double() for name, p in net.weights_network.named_parameters()}


def _balanced_size(net: GatedNetwork, x: Tensor) -> Mapping[str, Tensor]:
    return _size(rescaled(copy.deepcopy(net).double()), x)


IMPORTANCE: Mapping[str, Importance] = {
    "size": _size,
    "balanced size": _balanced_size,
    "paths": path_magnitudes,
}
"""Order of removal -> importance of each weight."""


def pruned(net: GatedNetwork, importance: Mapping[str, Tensor], share: float) -> GatedNetwork:
    """A copy without the least important weights of the whole weights network.

    Dense and convolutional weights can go; biases and norms stay. In a network of kind "dnn" gates
    are made by the same weights.
    """
    found = copy.deepcopy(net)
    weights = {n: p for n, p in found.weights_network.named_parameters() if p.dim() > 1}
    every = torch.cat([importance[name].flatten() for name in weights])
    gone = torch.zeros(len(every), dtype=torch.bool)
    gone[every.argsort(stable=True)[: round(share * len(every))]] = True
    with torch.no_grad():
        parts = gone.split([p.numel() for p in weights.values()])
        for parameter, part in zip(weights.values(), parts, strict=True):
            parameter[part.reshape(parameter.shape)] = 0
    return found


def removed(net: nn.Module, data: Dataset, shares: Sequence[float] = SHARES) -> dict[str, Any]:
    """Accuracy after removal, by every order, and how far the path norm bounds the change.

    `net` is left as it is; a plain module is taken apart.

    Returns:
        "shares"; "ORDER" accuracies on the test split; of the order by paths, in float64, "change"
        (largest |logit - logit before| summed over classes, over examples) and "bound" (what the
        path norm loses, times the largest |input|, or 1 for the biases).
    """
    net = as_gated(copy.deepcopy(net).cpu().eval(), data)
    x = inputs_of(net, data, data.test.at(slice(BOUNDED))).double()
    exact = copy.deepcopy(net).double()
    found: dict[str, Any] = {"shares": list(shares)}
    for name, importance in IMPORTANCE.items():
        weighed = importance(exact, x[0])
        found[name] = [accuracy(pruned(net, weighed, share), data) for share in shares]
    weighed = IMPORTANCE["paths"](exact, x[0])
    thinned = [pruned(exact, weighed, share) for share in shares]
    with torch.no_grad():
        before = exact(x)
        largest = max(1.0, float(exact.transformed(x).abs().max()))
        found["change"] = [float((one(x) - before).abs().sum(1).max()) for one in thinned]
    norm = path_norm(exact, x[0])
    found["bound"] = [largest * max(0.0, norm - path_norm(one, x[0])) for one in thinned]
    return found
