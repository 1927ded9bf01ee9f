"""How well the NTK of the sum of logits stands in for that of all logits."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter

import torch
from torch import Tensor

from dualview.arguments import byte_count, flag, instance_of, named, optional, takes
from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.modes import evaluation_mode
from dualview.errors import PathKernelError
from dualview.path_kernel.examples import LAW, BatchNorm, Gates, check_examples
from dualview.path_kernel.fast.kernel import slices
from dualview.path_kernel.gradients import (
    check_output,
    check_weights,
    counted_parameters,
    gradients,
)
from dualview.path_kernel.kernel import side
from dualview.path_kernel.random_weights import kernel_network


@dataclass(frozen=True)
class SumOfLogitsError:
    """How far the full NTK, (n k, n k) of k logits, is from one kernel P (n, n) for every logit.

    Norms are Frobenius norms over all pairs of examples and logits, relative to that of the full
    kernel.

    Attributes:
        relative: of the full kernel less P for each logit with itself and 0 between two, where P is
            `empirical_ntk(net, x, output="sum")`.
        between: of the full kernel's blocks between two different logits alone, whose mean over
            fresh weights is 0.
        logits: k.
    """

    relative: float
    between: float
    logits: int


@takes(
    PathKernelError,
    biases=flag,
    batch_norm=LAW["batch_norm"],
    weights=optional(named(instance_of(Tensor), "parameters as tensors, by their names")),
    memory=byte_count,
)
def sum_of_logits_error(
    net: GatedNetwork,
    x: Tensor,
    *,
    gates: Gates = "model",
    biases: bool = False,
    batch_norm: BatchNorm = "identity",
    weights: Mapping[str, Tensor] | None = None,
    memory: float = 512e6,
) -> SumOfLogitsError:
    """Measure what `empirical_ntk(net, x, output="sum")` leaves out of the full NTK, gates held.

    Every block of the full kernel is computed, in float64, and none is kept.

    Args:
        net: the network; gates and weights network are taken in evaluation mode.
        x: examples (n, ...).
        gates: as of `empirical_ntk`, as the options that follow.
        biases: differentiate by biases too.
        batch_norm: "identity" or "scale".
        weights: parameters in place of the network's own.
        memory: bound, in bytes, on the gradients held at once; less takes longer.

    Returns:
        The errors.

    Raises:
        PathKernelError: as `empirical_ntk`; or the full kernel is 0.

    Source: arXiv 2206.12543, where the relative error falls as one over the root of the width.

    >>> import dualview as dv
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(4, 256), nn.ReLU(), nn.Linear(256, 3))
    >>> net = dv.disentangle(model, "dgn", seed=0)
    >>> found = sum_of_logits_error(net, torch.randn(5, 4))
    >>> bool(found.between < found.relative < 0.6)
    True
    """
    check_examples(net, gates, x=x)
    network = kernel_network(net, batch_norm=batch_norm, biases=biases).double()
    if weights is not None:
        check_weights(net.weights_network, weights)
    double = {name: value.double() for name, value in (weights or {}).items()}
    parameters, wanted = counted_parameters(network, double, biases)
    at_once = max(1, int(memory / (3 * 8 * sum(p.numel() for p in wanted.values()))))
    with evaluation_mode(net):
        logits = check_output(net, x)

        def rows_of(rows: slice, of: slice) -> Tensor:
            numbers = range(rows.start, rows.stop)
            examples = side(net, x[rows], gates, "x", numbers).double()
            each = (itemgetter(logit) for logit in range(of.start, of.stop))
            made = [gradients(network, parameters, wanted, examples, one) for one in each]
            return torch.stack(made)

        blocks = _blocks(len(x), logits, at_once)
        return _errors(*_all_blocks(rows_of, blocks, len(x)), logits)


_Block = tuple[slice, slice]
"""Some examples, and some logits of each."""


def _blocks(examples: int, logits: int, at_once: int) -> list[_Block]:
    """All rows of the full kernel, at most `at_once` at a time."""
    whole = slices(examples, max(1, at_once // logits))
    return [(rows, of) for rows in whole for of in slices(logits, min(logits, at_once))]


def _all_blocks(
    rows_of: Callable[[slice, slice], Tensor], blocks: Sequence[_Block], n: int
) -> tuple[Tensor, Tensor, Tensor]:
    """What the errors are made of, summed over all blocks of the symmetric full kernel F.

    `rows_of` gives the gradients (logits, n, weights) of a block's examples and logits.

    Returns:
        The sums of F^2 over all entries and over those of one logit with itself, (2,); for each
        pair of examples the sum over all pairs of logits, and over pairs of one logit: (n, n).
    """
    squares = torch.zeros(2, dtype=torch.float64)
    mixed, own = torch.zeros(2, n, n, dtype=torch.float64)
    for number, (rows, of) in enumerate(blocks):
        left = rows_of(rows, of)
        for columns, by in blocks[: number + 1]:
            same = (columns, by) == (rows, of)
            right = left if same else rows_of(columns, by)
            block = torch.einsum("oiw,pjw->opij", left, right).cpu()
            equal = range(max(of.start, by.start), min(of.stop, by.stop))
            diagonal = block[[o - of.start for o in equal], [o - by.start for o in equal]]
            norms = torch.stack([block.square().sum(), diagonal.square().sum()])
            squares += norms if same else 2 * norms
            for total, part in ((mixed, block.sum((0, 1))), (own, diagonal.sum(0))):
                total[rows, columns] += part
                if not same:
                    total[columns, rows] += part.mT
    return squares, mixed, own


def _errors(squares: Tensor, mixed: Tensor, own: Tensor, logits: int) -> SumOfLogitsError:
    whole = float(squares[0])
    if not 0 < whole < math.inf:
        raise PathKernelError(
            f"net: expected a full NTK whose size float64 holds, got {whole**0.5:g}. Repair: "
            f"examples with open paths, or weights of another size"
        )
    one = mixed / logits  # the kernel of the sum of logits
    missed = whole - 2 * float((one * own).sum()) + logits * float(one.square().sum())
    between = float(squares[0] - squares[1])
    return SumOfLogitsError(
        (max(0.0, missed) / whole) ** 0.5, (max(0.0, between) / whole) ** 0.5, logits
    )
