"""The empirical NTK of a weights network: inner products of its gradients, gates fixed."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.tracing import evaluation_mode
from dualview.errors import PathKernelError
from dualview.path_kernel.examples import Gates, check_examples
from dualview.path_kernel.kernel import Side, side
from dualview.path_kernel.random_weights import added_parameters, layer_norm_factors


def empirical_ntk(
    net: GatedNetwork,
    x1: Tensor,
    x2: Tensor | None = None,
    *,
    output: int = 0,
    gates: Gates = "model",
    biases: bool = False,
    weights: Mapping[str, Tensor] | None = None,
    memory: float = 512e6,
) -> Tensor:
    """NTK of one logit of the weights network: <grad f_o(x), grad f_o(x')> over its weights.

    One logit at a time, since gradients of a sum of softmax outputs vanish. Its mean over fresh
    weights is `expected_ntk`, at every width.

    Args:
        net: the network; gates and weights network are taken in evaluation mode.
        x1: first examples (n1, ...).
        x2: second examples (n2, ...); default: `x1`.
        output: the logit.
        gates: "model" or "hard"; they do not depend on the weights differentiated.
        biases: differentiate by biases and the parameters of normalisation layers too.
        weights: parameters in place of the network's own, by name (see
            `dualview.path_kernel.random_weights.draw_weights`).
        memory: bound, in bytes, on the gradients held at once.

    Returns:
        Kernel (n1, n2).

    Raises:
        PathKernelError: as `npk`; or the logit does not exist.
    """
    check_examples(net, gates, x1=x1, x2=x2)
    network = net.weights_network
    own = dict(network.named_parameters())
    parameters = {name: (weights or own).get(name, own[name]).detach() for name in own}
    constants = added_parameters(network) | layer_norm_factors(network)
    wanted = {n: p for n, p in parameters.items() if biases or (p.dim() > 1 and n not in constants)}
    size = sum(p.numel() * p.element_size() for p in wanted.values())
    rows = max(1, int(memory / (3 * size)))
    with evaluation_mode(net):
        _check_output(net, x1, output)
        return torch.cat(
            [
                torch.cat(
                    [
                        _gradients(network, parameters, wanted, side(net, a, gates), output)
                        @ _gradients(network, parameters, wanted, side(net, b, gates), output).mT
                        for b in (x1 if x2 is None else x2).split(rows)
                    ],
                    1,
                )
                for a in x1.split(rows)
            ]
        )


def _gradients(
    network: nn.Module,
    parameters: dict[str, Tensor],
    wanted: dict[str, Tensor],
    examples: Side,
    output: int,
) -> Tensor:
    """Gradients of the logit, one row per example: (n, number of weights)."""

    def logit(by: dict[str, Tensor], *inputs: Tensor) -> Tensor:
        row = [value.unsqueeze(0) for value in inputs]
        return functional_call(network, {**parameters, **by}, tuple(row))[0, output]

    inputs = [v.detach() for v in (examples.x, *examples.gates, *examples.switches)]
    gradients = vmap(grad(logit), (None, *[0] * len(inputs)))(wanted, *inputs)
    return torch.cat([g.flatten(1) for g in gradients.values()], 1)


def _check_output(net: GatedNetwork, x: Tensor, output: int) -> None:
    with torch.no_grad():
        shape = net(x[:1]).shape
    if len(shape) != 2 or not 0 <= output < shape[1]:
        raise PathKernelError(
            f"output: expected a logit of a network whose output is (n, logits), got {output} and "
            f"an output of shape {tuple(shape)}"
        )
