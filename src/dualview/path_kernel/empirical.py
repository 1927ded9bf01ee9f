"""The empirical NTK of a weights network: inner products of its gradients, gates fixed."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from dualview.arguments import byte_count, flag, instance_of, named, optional, takes, whole
from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.modes import evaluation_mode
from dualview.errors import PathKernelError
from dualview.path_kernel.examples import BatchNorm, Gates, check_examples, check_law, result_type
from dualview.path_kernel.fast.kernel import slices
from dualview.path_kernel.kernel import Side, side
from dualview.path_kernel.parameters import roles
from dualview.path_kernel.random_weights import kernel_network
from dualview.path_kernel.scale import Reader, lost_rows


@takes(
    PathKernelError,
    output=whole(0),
    biases=flag,
    weights=optional(named(instance_of(Tensor), "parameters as tensors, by their names")),
    memory=byte_count,
)
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
    parameters, wanted = _parameters(network, weights or {}, biases)
    size = sum(p.numel() * p.element_size() for p in wanted.values())
    at_once = max(1, int(memory / (3 * size)))
    with evaluation_mode(net):
        _check_output(net, x1, output)

        def gradients(x: Tensor, name: str, rows: slice) -> tuple[Tensor, Tensor]:
            numbers = range(rows.start, rows.stop)
            examples = side(net, x[rows], gates, name, numbers)
            return _gradients_near_1(network, parameters, wanted, examples, output)

        return _inner_products(gradients, x1, x2, at_once, result_type(net, x1))


def _inner_products(
    gradients: Callable[[Tensor, str, slice], tuple[Tensor, Tensor]],
    x1: Tensor,
    x2: Tensor | None,
    at_once: int,
    dtype: torch.dtype,
) -> Tensor:
    """The kernel (n1, n2), block by block; gradients come with the logarithms of their scales.

    Without `x2` it is that of `x1` with itself, and gradients of one block serve on both sides.
    """
    reader = Reader(dtype, "smaller examples or weights", "larger examples or weights")
    second = x1 if x2 is None else x2
    out = x1.new_empty(len(x1), len(second), dtype=dtype)
    for rows in slices(len(x1), at_once):
        left, left_log = gradients(x1, "x1", rows)
        for columns in slices(len(second), at_once):
            same = x2 is None and columns == rows
            right, right_log = (left, left_log) if same else gradients(second, "x2", columns)
            both = torch.promote_types(left.dtype, right.dtype)
            block = left.to(both) @ right.to(both).mT
            scale = left_log[:, None] + right_log
            numbers = [range(s.start, s.stop) for s in (rows, columns)]
            out[rows, columns] = reader(block, scale, *numbers)
    return out


def _parameters(
    network: nn.Module, weights: Mapping[str, Tensor], biases: bool
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """All parameters, those of `weights` in place of its own; and the ones differentiated by."""
    role = roles(network)
    counted = {"weight", "bias"} if biases else {"weight"}
    taken = {"constant", *counted}  # of `weights`: biases that are left out stay so
    parameters = {
        name: (weights.get(name, own) if role[name] in taken else own).detach()
        for name, own in network.named_parameters()
    }
    wanted = {name: value for name, value in parameters.items() if role[name] in counted}
    if not any(value.numel() for value in wanted.values()):
        raise PathKernelError(
            "net: expected a weights network with weights to differentiate by, got none"
        )
    return parameters, wanted


def _gradients_near_1(
    network: nn.Module,
    parameters: dict[str, Tensor],
    wanted: dict[str, Tensor],
    examples: Side,
    output: int,
) -> tuple[Tensor, Tensor]:
    """Gradients, one row per example, each divided by a power of two; its logarithm (n,).

    In float64 where they leave the type's range on the way.
    """
    rows = _gradients(network, parameters, wanted, examples, output)
    if rows.dtype != torch.float64 and lost_rows(rows).any():
        switches = [s.double() if s.is_floating_point() else s for s in examples.switches]
        examples = Side(examples.x.double(), [g.double() for g in examples.gates], switches)
        exact = {name: value.double() for name, value in parameters.items()}
        network = copy.deepcopy(network).double()
        rows = _gradients(network, exact, {n: exact[n] for n in wanted}, examples, output)
    _, exponent = torch.frexp(rows.abs().amax(1))
    for part in (exponent // 2, exponent - exponent // 2):
        rows = rows * torch.ldexp(torch.ones_like(rows[:, 0]), -part)[:, None]
    return rows, exponent.double() * math.log(2)


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
    folded = next((tuple(v.shape) for v in inputs if len(v) != len(examples.x)), None)
    if folded is not None:
        raise PathKernelError(
            f"net: expected gates with the {len(examples.x)} examples on axis 0, got shape "
            f"{folded}: the model folds another axis into that of the examples, so that their "
            f"gradients cannot be told apart. Repair: keep the axis of examples "
            f"(h.flatten(2), not h.view(-1, ...)), or dualview.npk_features"
        )
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
        if not value.isfinite().all():
            raise PathKernelError(f"weights: expected finite numbers in {name!r}, got NaN or inf")


def _check_output(net: GatedNetwork, x: Tensor, output: int) -> None:
    with torch.no_grad():
        shape = net(x[:1]).shape
    if len(shape) != 2 or not 0 <= output < shape[1]:
        raise PathKernelError(
            f"output: expected a logit of a network whose output is (n, logits), got {output} and "
            f"an output of shape {tuple(shape)}"
        )
