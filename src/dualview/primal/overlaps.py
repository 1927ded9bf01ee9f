"""How far a network's gates have moved from another's: those of its start, say."""

from __future__ import annotations

import torch
from torch import Tensor

from dualview.arguments import takes, whole
from dualview.conversion.examples import batch, check_takes, gated
from dualview.conversion.finite import check_network, check_preactivations
from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.input_transform import same_transform
from dualview.conversion.modes import evaluation_mode
from dualview.errors import PrimalFilterError


@takes(PrimalFilterError, net=gated, initial=gated, x=batch, batch_size=whole(1))
def initial_overlap(
    net: GatedNetwork, initial: GatedNetwork, x: Tensor, *, batch_size: int = 256
) -> tuple[float, ...]:
    """Overlap of the gates 1{q > 0} of a network with those that it started from, layer by layer.

    The overlap of one example is <G, G0> / (|G| |G0|): 1 where all gates are as they were, 0 where
    no gate is on in both. Of two independent draws of gates that are on half of the time it is near
    1/2. In a fully connected network it is a layer's factor in the neural path kernel divided by
    the norms of both path features, taken between two networks.

    Of any kind of network; gates are those in evaluation mode. As a measurement of training:
    `train(..., measure=lambda net, epoch: list(initial_overlap(net, initial, x)))`, with `initial`
    a copy that has the data's input transform too; the figure is `figures.gates.gate_training`.

    Args:
        net: the network as it is now.
        initial: the network as it was, with the same layers.
        x: examples (n, ...).
        batch_size: examples at a time.

    Returns:
        For each layer of the gating network the mean over the examples. Where no gate is on in
        either network, the overlap is 1.

    Raises:
        PrimalFilterError: no examples, values, parameters or pre-activations that are not finite,
            or networks of other layers or with another input transform.

    Source: arXiv 2006.10529, section 5, on gates that are learnt; this normalisation of their
    overlap is the project's own.

    >>> import copy, dualview as dv
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
    >>> net = dv.disentangle(model, kind="dlgn", seed=0)
    >>> initial_overlap(net, copy.deepcopy(net), torch.randn(5, 2))
    (1.0,)
    """
    for network in (net, initial):
        check_network(network.gating_network, PrimalFilterError)
        check_takes(network, "x", x, PrimalFilterError)
    if not same_transform(net.input_transform, initial.input_transform):
        raise PrimalFilterError(
            "initial: expected the input transform that net has, got another (training gives a "
            "network without one that of its data). Repair: initial.input_transform = "
            "net.input_transform"
        )
    start = 0
    sums: list[float] = [0.0] * net.n_gates
    with evaluation_mode(net), evaluation_mode(initial), torch.no_grad():
        for part in x.split(batch_size):
            now, before = net.preactivations(part), initial.preactivations(part)
            for values in (now, before):
                check_preactivations("x", values, PrimalFilterError, range(start, len(x)))
            start += len(part)
            shapes = [[tuple(q.shape[1:]) for q in layers] for layers in (now, before)]
            if shapes[0] != shapes[1]:
                raise PrimalFilterError(
                    f"initial: expected the same layers of gates as net, {shapes[0]}, got "
                    f"{shapes[1]}. Repair: initial = copy.deepcopy(net) before training"
                )
            for layer, (q, q0) in enumerate(zip(now, before, strict=True)):
                sums[layer] += float(_overlaps(q > 0, q0 > 0).sum())
    return tuple(total / len(x) for total in sums)


def _overlaps(gates: Tensor, others: Tensor) -> Tensor:
    """<G, G'> / (|G| |G'|) of every example, float64 (n,)."""
    both = (gates & others).flatten(1).sum(1).double()
    one, other = (g.flatten(1).sum(1).double() for g in (gates, others))
    norms = (one * other).sqrt()
    return torch.where(norms > 0, both / norms, (one == other).double())
