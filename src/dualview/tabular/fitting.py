"""How a network of a table is trained: Adam on minibatches that lie in memory, in a plain loop.

The house's trainer (Lightning) trains data sets of images, hours long, with checkpoints; a table is
trained in seconds, its rows have weights, its gates may grow steeper, and starting a trainer would
take longer than the training. Nothing here knows of columns, files or classes' names.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dualview.conversion.gated_network import GatedNetwork
from dualview.errors import DivergenceError
from dualview.progress import Progress
from dualview.tabular.network import HARD_FROM, row_losses


@dataclass(frozen=True, eq=False)
class Rows:
    """Examples: x (n, columns); classes (n,) or targets (n, outputs); weights (n,)."""

    x: Tensor
    y: Tensor
    weights: Tensor

    def __len__(self) -> int:
        return len(self.x)

    def at(self, which: Tensor) -> Rows:
        """Some of them."""
        return Rows(self.x[which], self.y[which], self.weights[which])


@dataclass(frozen=True)
class Descent:
    """How to train.

    Attributes:
        epochs: at most.
        batch_size: rows of a step; batches of an epoch differ by one row at most.
        learning_rate: of Adam; falls along a half cosine to 0 unless `constant`.
        weight_decay: decoupled, of weights and not of biases.
        patience: epochs without anything better, after which it stops.
        tolerance: by how much a loss has to fall to be better.
        annealed_from: slope of soft gates at first, if it grows to `HARD_FROM`, from epoch to epoch
            by the same factor, to be made hard in the end; None: gates stay as they are.
        constant: whether the learning rate stays as it is.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    patience: int
    tolerance: float
    annealed_from: float | None = None
    constant: bool = False


@dataclass(frozen=True, eq=False)
class Trained:
    """What training left beside the network.

    Attributes:
        losses: of every epoch, the weighted mean over its rows, as it went.
        scores: of every epoch, on the rows held back; empty if there were none.
        moments: state of the optimiser, from which training can go on.
    """

    losses: list[float]
    scores: list[float]
    moments: dict[str, Any]


def descend(
    net: GatedNetwork,
    rows: Rows,
    held: Rows | None,
    plan: Descent,
    generator: torch.Generator,
    progress: Progress,
    *,
    title: str,
    moments: dict[str, Any] | None = None,
) -> Trained:
    """Train a network of `for_training` in place; with rows held back, to its best epoch.

    Args:
        net: left as it was after the best epoch, by the score of `held`, or after the last one.
        rows: to learn from.
        held: rows that only choose the epoch and the end, under hard gates where those will be so.
        plan: how.
        generator: of the order of rows.
        progress: told of epochs.
        title: of the bar.
        moments: of an earlier `Trained`, to go on from.

    Raises:
        DivergenceError: a loss is not finite.
    """
    optimiser = _optimiser(net, plan)
    if moments is not None:
        optimiser.load_state_dict(moments)
    losses: list[float] = []
    scores: list[tuple[float, float]] = []
    best, kept, waited = (-math.inf, -math.inf), None, 0
    least = plan.tolerance if held is None else 0.0

    def tell(done: int) -> None:
        score = f", score {scores[-1][0]:.4f} on rows held back" if scores else ""
        progress.note(f"{title}: epoch {done} of {plan.epochs}, loss {losses[-1]:.4g}{score}")

    with progress.counting(plan.epochs, title, unit="epoch", tell=tell) as advance:
        for epoch in range(plan.epochs):
            _prepare(net, optimiser, plan, epoch)
            losses.append(_epoch(net, optimiser, rows, plan, generator))
            if held is None:
                found = (-losses[-1], 0.0)
            else:
                found = _score(net, held, hard=plan.annealed_from is not None)
                scores.append(found)
            waited += 1
            if (found[0] - least, found[1]) > best:
                best, waited = found, 0
                kept = copy.deepcopy(net.state_dict()) if held is not None else None
            advance(1)
            if waited >= plan.patience:
                break
    if kept is not None:
        net.load_state_dict(kept)
    return Trained(losses, [score for score, _ in scores], optimiser.state_dict())


def _optimiser(net: GatedNetwork, plan: Descent) -> torch.optim.Optimizer:
    parameters = list(net.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": plan.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=plan.learning_rate, fused=True)


def _prepare(
    net: GatedNetwork, optimiser: torch.optim.Optimizer, plan: Descent, epoch: int
) -> None:
    """Learning rate and slope of the gates of an epoch."""
    share = epoch / plan.epochs
    if not plan.constant:
        for group in optimiser.param_groups:
            group["lr"] = plan.learning_rate * (1 + math.cos(math.pi * share)) / 2
    if plan.annealed_from is not None:
        steeper = (HARD_FROM / plan.annealed_from) ** (epoch / max(1, plan.epochs - 1))
        for gate in net.gate_functions:
            gate.beta = plan.annealed_from * steeper


def _batches(rows: Rows, size: int, generator: torch.Generator) -> Iterator[Rows]:
    """All rows once; in their own order where one batch holds them."""
    count = -(-len(rows) // size)
    if count == 1:
        yield rows
        return
    mixed = rows.at(torch.randperm(len(rows), generator=generator))
    parts = (torch.tensor_split(part, count) for part in (mixed.x, mixed.y, mixed.weights))
    for x, y, weights in zip(*parts, strict=True):
        yield Rows(x, y, weights)


def _epoch(
    net: GatedNetwork,
    optimiser: torch.optim.Optimizer,
    rows: Rows,
    plan: Descent,
    generator: torch.Generator,
) -> float:
    """One pass; the loss as it went.

    A batch's loss is divided by what its rows weigh on average, so that weights say the same in
    every batch: a row of weight 2 counts as two rows.
    """
    mean_weight = rows.weights.mean()
    total = 0.0
    for batch in _batches(rows, plan.batch_size, generator):
        optimiser.zero_grad(set_to_none=True)
        summed = (row_losses(net(batch.x), batch.y) * batch.weights).sum()
        (summed / (mean_weight * len(batch))).backward()
        optimiser.step()
        total += float(summed.detach())
    loss = total / float(rows.weights.sum())
    if not math.isfinite(loss):
        raise DivergenceError(
            f"expected a finite loss, got {loss}. Repair: a smaller learning_rate, or columns "
            f"without extreme values (scikit-learn's RobustScaler or QuantileTransformer)"
        )
    return loss


def _score(net: GatedNetwork, held: Rows, *, hard: bool) -> tuple[float, float]:
    """Accuracy or R^2, then minus the loss, which decides between equal ones."""
    with torch.no_grad():
        gates, _ = net.gates_and_switches(held.x, hard=hard)
        outputs = net.weights_network(held.x, *gates)
        total = held.weights.sum()
        loss = float((row_losses(outputs, held.y) * held.weights).sum() / total)
        if held.y.dtype == torch.int64:
            right = (outputs.argmax(1) == held.y).to(held.weights)
            return float((right * held.weights).sum() / total), -loss
    return 1 - 2 * loss, -loss  # targets have variance 1
