"""The empirical NTK of a weights network: inner products of its gradients, gates fixed."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from dualview.errors import PathKernelError
from dualview.gated_network import GatedNetwork
from dualview.path_kernel.examples import BatchNorm, Gates, check_examples, check_law
from dualview.path_kernel.kernel import Side, side
from dualview.path_kernel.parameters import roles
from dualview.path_kernel.random_weights import kernel_network
from dualview.tracing import evaluation_mode


def empirical_ntk(
    net: GatedNetwork,
    x1: Tensor,
    x2: Tensor | None = None,
    *,
    output: int = 0,
    gates: Gates = "model",
    biases: bool = False,
    batch_norm: BatchNorm = "identity",
    weights: Mapping[str, Tensor] | None = None,
    memory: float = 512e6,
) -> Tensor:
    """NTK of one logit of the weights network: <grad f_o(x), grad f_o(x')> over its weights.

    One logit at a time, since gradients of a sum of softmax outputs vanish. Its mean over fresh
    weights is `expected_ntk` with the same options, at every width. For the network as it is, with
    its biases and the scales of its batch norms, ask for both.

    Args:
        net: the network; gates and weights network are taken in evaluation mode.
        x1: first examples (n1, ...).
        x2: second examples (n2, ...); default: `x1`.
        output: the logit.
        gates: "model" or "hard"; they do not depend on the weights differentiated.
        biases: have the network's biases, and differentiate by them too; else it has none, and adds
            no constants.
        batch_norm: "identity", or "scale": multiply by gamma / sqrt(running variance + eps), a
            constant, which is not differentiated by.
        weights: parameters in place of the network's own, by name (see
            `dualview.path_kernel.random_weights.draw_weights`).
        memory: bound, in bytes, on the gradients held at once.

    Returns:
        Kernel (n1, n2).

    Raises:
        PathKernelError: as `npk`; the logit does not exist; or `weights` are not the network's.
    """
    check_law(biases, 1.0, batch_norm)
    check_examples(net, gates, x1=x1, x2=x2)
    network = kernel_network(net, batch_norm=batch_norm, biases=biases)
    if weights is not None:
        _check_weights(net.weights_network, weights)
    role = roles(network)
    counted = {"weight", "bias"} if biases else {"weight"}
    taken = {"constant", *counted}  # of `weights`: biases that are left out stay so
    parameters = {
        name: ((weights or {}).get(name, own) if role[name] in taken else own).detach()
        for name, own in network.named_parameters()
    }
    wanted = {name: value for name, value in parameters.items() if role[name] in counted}
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


def _check_weights(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    shapes = {name: p.shape for name, p in network.named_parameters(remove_duplicate=False)}
    for name, value in weights.items():
        if name not in shapes:
            raise PathKernelError(
                f"weights: expected parameters of the weights network by name, got {name!r}. "
                f"Repair: dict(net.weights_network.named_parameters()) lists them"
            )
        if value.shape != shapes[name]:
            raise PathKernelError(
                f"weights: expected {name!r} of shape {tuple(shapes[name])}, got "
                f"{tuple(value.shape)}"
            )


def _check_output(net: GatedNetwork, x: Tensor, output: int) -> None:
    with torch.no_grad():
        shape = net(x[:1]).shape
    if len(shape) != 2 or not 0 <= output < shape[1]:
        raise PathKernelError(
            f"output: expected a logit of a network whose output is (n, logits), got {output} and "
            f"an output of shape {tuple(shape)}"
        )
