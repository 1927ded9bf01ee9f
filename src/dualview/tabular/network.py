"""The networks of tables: small dense DLGNs that standardise their own input.

A network here has float64 numbers and takes columns in their own units, (n, columns); it begins
with an input transform by which they were standardised, so that filters, distances and whatever
else is asked of it are in units of the data. Of a regression its last layer gives targets in their
own units. While it is trained it has standardised inputs and targets, and its gates a derivative.
"""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dualview.conversion.disentangling import disentangle
from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.gates import Gate, HardGate, SoftGate
from dualview.conversion.input_transform import blank_transform
from dualview.errors import TableError

HARD_FROM = 400.0
"""Slope at the end of annealing, from which on gates can be made hard."""


@dataclass(frozen=True)
class Shape:
    """What a network of tables is, its numbers aside.

    Attributes:
        columns: of the table.
        outputs: logits of a classifier, targets of a regressor.
        kind: "dlgn" or "dlgn-sf".
        weights_input: "data" or "ones".
        width: units of each gated layer.
        depth: weight layers, one more than there are gated layers.
    """

    columns: int
    outputs: int
    kind: str
    weights_input: str
    width: int
    depth: int


@dataclass(frozen=True, eq=False)
class Scales:
    """Means and deviations of columns and of targets, float64."""

    column_means: np.ndarray
    column_deviations: np.ndarray
    target_means: np.ndarray
    target_deviations: np.ndarray


def fresh_network(shape: Shape, seed: int) -> GatedNetwork:
    """Hard gates, float64, no input transform; PyTorch's random state stays as it is."""
    widths = [shape.columns] + [shape.width] * (shape.depth - 1)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(widths):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        model = nn.Sequential(*layers, nn.Linear(widths[-1], shape.outputs)).double()
    return disentangle(
        model,
        shape.kind,  # type: ignore[arg-type]
        gate="hard",
        weights="fresh",
        weights_input=shape.weights_input,  # type: ignore[arg-type]
        seed=seed,
    )


def last_layer(net: GatedNetwork) -> nn.Linear:
    """The layer that gives the outputs."""
    *_, last = (m for m in net.weights_network.modules() if isinstance(m, nn.Linear))
    return last


def for_training(
    net: GatedNetwork, scales: Scales, gates: str, beta: float, dtype: torch.dtype
) -> GatedNetwork:
    """A copy of a finished network for standardised columns and targets, with gates that learn.

    Args:
        net: of `finished` or `fresh_network`, which has no transform and standardised targets.
        scales: those that the finished network carries.
        gates: "hard" (`StraightThroughGate`), "annealed" or "soft" (`SoftGate`).
        beta: their slope.
        dtype: to train in.
    """
    learning = copy.deepcopy(net)
    if learning.input_transform is not None:
        learning.input_transform = None
        last, deviations = last_layer(learning), torch.from_numpy(scales.target_deviations)
        with torch.no_grad():
            last.bias.sub_(torch.from_numpy(scales.target_means)).div_(deviations)
            last.weight.div_(deviations[:, None])
    gate = StraightThroughGate if gates == "hard" else SoftGate
    learning.gate_functions = nn.ModuleList(gate(beta) for _ in range(net.n_gates))
    return learning.to(dtype).train()


def finished(learning: GatedNetwork, scales: Scales, gates: str, beta: float) -> GatedNetwork:
    """A copy of a trained network, for columns and targets in their own units, in float64.

    Args:
        learning: of `for_training`; its numbers are kept to the last bit.
        scales: what is put before and behind it.
        gates: "soft" keeps sigmoid(beta q), all else is 1{q > 0}.
        beta: of soft gates.
    """
    net = copy.deepcopy(learning).double()
    last, deviations = last_layer(net), torch.from_numpy(scales.target_deviations)
    with torch.no_grad():
        last.weight.mul_(deviations[:, None])
        last.bias.mul_(deviations).add_(torch.from_numpy(scales.target_means))
    net.gate_functions = nn.ModuleList(
        SoftGate(beta) if gates == "soft" else HardGate() for _ in range(net.n_gates)
    )
    transform = blank_transform(net, scales.column_means.shape)
    transform.mean.copy_(torch.from_numpy(scales.column_means))
    transform.std.copy_(torch.from_numpy(scales.column_deviations))
    net.input_transform = transform
    return net.eval().requires_grad_(True)


class StraightThroughGate(Gate):
    """1{q > 0} with the derivative of sigmoid(beta q), so that hard gates learn.

    What is trained is the network that is read: nothing is lost when gates are made hard.

    >>> q = torch.tensor([0.0, 1.0], requires_grad=True)
    >>> gate = StraightThroughGate(beta=4.0)(q)
    >>> gate.sum().backward()
    >>> gate.detach(), q.grad
    (tensor([0., 1.]), tensor([1.0000, 0.0707]))
    """

    def __init__(self, beta: float) -> None:
        super().__init__()
        self.beta = beta

    def forward(self, q: Tensor) -> Tensor:
        """Gates of `q`, elementwise."""
        soft = torch.sigmoid(self.beta * q)
        return (q > 0).to(q.dtype) + (soft - soft.detach())


def standardise(
    values: np.ndarray, weights: np.ndarray, what: str
) -> tuple[np.ndarray, np.ndarray]:
    """Weighted means and deviations of columns (n, columns); the deviation of a constant is 1.

    Raises:
        TableError: they overflow.

    >>> standardise(np.array([[1.0, 2.0], [3.0, 2.0]]), np.ones(2), "X")
    (array([2., 2.]), array([1., 1.]))
    """
    total = weights.sum()
    with np.errstate(all="ignore"):
        means = weights @ values / total
        variances = weights @ (values - means) ** 2 / total
    if not (np.isfinite(means).all() and np.isfinite(variances).all()):
        column = int(np.flatnonzero(~np.isfinite(variances))[0])
        raise TableError(
            f"{what}: expected numbers whose variance is a float64, got larger ones in column "
            f"{column}. Repair: give them in another unit"
        )
    # Sums of equal numbers leave a variance of rounding, as scikit-learn's StandardScaler has it.
    noise = len(values) * np.finfo(float).eps
    constant = variances <= noise * variances + (noise * means) ** 2
    return means, np.where(constant, 1.0, np.sqrt(np.where(constant, 1.0, variances)))


def row_losses(outputs: Tensor, targets: Tensor) -> Tensor:
    """Loss of each row (n,): cross-entropy of classes (n,), half the mean square of numbers."""
    if targets.dtype == torch.int64:
        return F.cross_entropy(outputs, targets, reduction="none")
    return (outputs - targets).square().mean(1) / 2
