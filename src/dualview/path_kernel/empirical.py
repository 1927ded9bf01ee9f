"""The empirical NTK of a weights network: inner products of its gradients, gates fixed."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from dualview.arguments import byte_count, flag, instance_of, named, optional, takes
from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.modes import evaluation_mode
from dualview.errors import PathKernelError
from dualview.path_kernel.examples import LAW, BatchNorm, Gates, check_examples, result_type
from dualview.path_kernel.fast.kernel import slices
from dualview.path_kernel.gradients import (
    Logit,
    Output,
    check_output,
    check_weights,
    counted_parameters,
    gradients,
    logit_of,
    output_choice,
)
from dualview.path_kernel.kernel import side
from dualview.path_kernel.propagate import Side
from dualview.path_kernel.random_weights import kernel_network
from dualview.path_kernel.scale import Reader, lost_rows


@takes(
    PathKernelError,
    output=output_choice,
    biases=flag,
    batch_norm=LAW["batch_norm"],
    weights=optional(named(instance_of(Tensor), "parameters as tensors, by their names")),
    memory=byte_count,
)
def empirical_ntk(
    net: GatedNetwork,
    x1: Tensor,
    x2: Tensor | None = None,
    *,
    output: Output = 0,
    gates: Gates = "model",
    biases: bool = False,
    batch_norm: BatchNorm = "identity",
    weights: Mapping[str, Tensor] | None = None,
    memory: float = 512e6,
) -> Tensor:
    """NTK of one logit of the weights network: <grad f_o(x), grad f_o(x')> over its weights.

    Of logits, since gradients of a sum of softmax outputs vanish. Its mean over fresh weights is
    `expected_ntk` with the same options, at every width. For the network as it is, with its biases
    and the scales of its batch norms, ask for both.

    Args:
        net: the network; gates and weights network are taken in evaluation mode.
        x1: first examples (n1, ...).
        x2: second examples (n2, ...); default: `x1`.
        output: the logit; or "sum": all k of them, added and divided by sqrt(k). It stands in for
            the kernel of all outputs, (n, n) in place of (n k, n k): that kernel is about this one
            for every logit, and 0 between two, the more so the wider the network
            (`sum_of_logits_error` measures it).
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

    Source: the sum of logits: arXiv 2206.12543.
    """
    check_examples(net, gates, x1=x1, x2=x2)
    network = kernel_network(net, batch_norm=batch_norm, biases=biases)
    if weights is not None:
        check_weights(net.weights_network, weights)
    parameters, wanted = counted_parameters(network, weights or {}, biases)
    size = sum(p.numel() * p.element_size() for p in wanted.values())
    at_once = max(1, int(memory / (3 * size)))
    with evaluation_mode(net):
        check_output(net, x1, output)

        def rows_of(x: Tensor, name: str, rows: slice) -> tuple[Tensor, Tensor]:
            numbers = range(rows.start, rows.stop)
            examples = side(net, x[rows], gates, name, numbers)
            return _gradients_near_1(network, parameters, wanted, examples, logit_of(output))

        return _inner_products(rows_of, x1, x2, at_once, result_type(net, x1))


def _inner_products(
    rows_of: Callable[[Tensor, str, slice], tuple[Tensor, Tensor]],
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
        left, left_log = rows_of(x1, "x1", rows)
        for columns in slices(len(second), at_once):
            same = x2 is None and columns == rows
            right, right_log = (left, left_log) if same else rows_of(second, "x2", columns)
            both = torch.promote_types(left.dtype, right.dtype)
            block = left.to(both) @ right.to(both).mT
            scale = left_log[:, None] + right_log
            numbers = [range(s.start, s.stop) for s in (rows, columns)]
            out[rows, columns] = reader(block, scale, *numbers)
    return out


def _gradients_near_1(
    network: nn.Module,
    parameters: dict[str, Tensor],
    wanted: dict[str, Tensor],
    examples: Side,
    logit: Logit,
) -> tuple[Tensor, Tensor]:
    """Gradients, one row per example, each divided by a power of two; its logarithm (n,).

    In float64 where they leave the type's range on the way.
    """
    rows = gradients(network, parameters, wanted, examples, logit)
    if rows.dtype != torch.float64 and lost_rows(rows).any():
        examples = examples.double()
        exact = {name: value.double() for name, value in parameters.items()}
        network = copy.deepcopy(network).double()
        rows = gradients(network, exact, {n: exact[n] for n in wanted}, examples, logit)
    _, exponent = torch.frexp(rows.abs().amax(1))
    for part in (exponent // 2, exponent - exponent // 2):
        rows = rows * torch.ldexp(torch.ones_like(rows[:, 0]), -part)[:, None]
    return rows, exponent.double() * math.log(2)
