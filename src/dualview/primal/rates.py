"""How often each gate is on, for each class, counted over batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dualview.arguments import require, said, takes, whole
from dualview.conversion.examples import batch, check_takes, gated
from dualview.conversion.finite import check_network, check_preactivations
from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.modes import evaluation_mode
from dualview.errors import PrimalFilterError


@dataclass(frozen=True, eq=False)
class GateRates:
    """How often each gate is on.

    Attributes:
        classes: the labels that occur, in order; (0,) where none were given.
        counts: (classes,) examples of each.
        by_class: for each layer of the gating network, the share of the class's examples whose gate
            is on, (classes, units) or (classes, channels, positions...).
    """

    classes: tuple[int, ...]
    counts: Tensor
    by_class: tuple[Tensor, ...]

    @property
    def overall(self) -> tuple[Tensor, ...]:
        """For each layer, the share of all examples whose gate is on."""
        weights = self.counts / self.counts.sum()
        return tuple(torch.tensordot(weights.to(rates), rates, dims=1) for rates in self.by_class)


@takes(PrimalFilterError, net=gated, batch_size=whole(1))
def gate_rates(
    net: GatedNetwork,
    data: Tensor | Iterable[tuple[Tensor, Tensor]],
    labels: Tensor | None = None,
    *,
    batch_size: int = 256,
) -> GateRates:
    """How often each gate of the gating network is on (q > 0), for each class.

    Any kind of network will do. Gates are those in evaluation mode. What is held beside one batch
    is a count for each class and gate.

    Args:
        net: the network.
        data: examples (n, ...); or batches (examples, labels), such as a data loader or
            `dualview.datasets.batches.Batches`, read once.
        labels: (n,) whole numbers, with examples as a tensor; default: one class for all.
        batch_size: examples at a time, with examples as a tensor.

    Raises:
        PrimalFilterError: no examples, labels that do not fit them, or values, parameters or
            pre-activations that are not finite.

    >>> import dualview as dv
    >>> net = dv.disentangle(torch.nn.Sequential(
    ...     torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2)), kind="dlgn")
    >>> rates = gate_rates(net, torch.randn(10, 2), torch.arange(10) % 2)
    >>> rates.classes, rates.counts.tolist(), rates.by_class[0].shape
    ((0, 1), [5, 5], torch.Size([2, 3]))
    """
    check_network(net.gating_network, PrimalFilterError)
    counts: dict[int, int] = {}
    totals: dict[int, list[Tensor]] = {}
    with evaluation_mode(net), torch.no_grad():
        for examples, classes in _batches(data, labels, batch_size):
            _check(net, examples, classes)
            values = net.preactivations(examples)
            check_preactivations("data", values, PrimalFilterError)
            if any(len(q) != len(examples) for q in values):
                raise PrimalFilterError(
                    "net: expected gates of each example, got a layer whose axis 0 is another (an "
                    "axis folded into the batch by view or reshape). Repair: keep the examples on "
                    "axis 0 of every activation"
                )
            on = [q > 0 for q in values]
            for label in classes.unique().tolist():
                chosen = classes == label
                sums = [gate[chosen.to(gate.device)].sum(0, dtype=torch.int32) for gate in on]
                before = totals.get(label, [torch.zeros_like(part) for part in sums])
                totals[label] = [a + b for a, b in zip(before, sums, strict=True)]
                counts[label] = counts.get(label, 0) + int(chosen.sum())
    if not counts:
        raise PrimalFilterError("data: expected at least one example, got none")
    order = sorted(counts)
    by_class = tuple(
        torch.stack([layer / counts[label] for label, layer in zip(order, layers, strict=True)])
        for layers in zip(*(totals[label] for label in order), strict=True)
    )
    return GateRates(tuple(order), torch.tensor([counts[label] for label in order]), by_class)


def _batches(
    data: Tensor | Iterable[tuple[Tensor, Tensor]], labels: Tensor | None, size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    if not isinstance(data, Tensor):
        if labels is not None:
            raise PrimalFilterError(
                "labels: expected none beside batches, which carry their own, got some"
            )
        yield from _pairs(data)
        return
    require("data", data, batch, PrimalFilterError)
    classes = torch.zeros(len(data), dtype=torch.long) if labels is None else labels
    _check_labels(data, classes)
    yield from zip(data.split(size), classes.split(size), strict=True)


def _pairs(data: Iterable[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches, each a pair."""
    wanted = "expected a tensor of examples, or batches (examples, labels)"
    try:
        batches = iter(data)
    except TypeError:
        raise PrimalFilterError(f"data: {wanted}, got {said(data)}") from None
    for pair in batches:
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise PrimalFilterError(f"data: {wanted}, got a batch {said(pair)}")
        yield pair[0], pair[1]


def _check(net: GatedNetwork, examples: Tensor, classes: Tensor) -> None:
    require("data", examples, batch, PrimalFilterError)
    _check_labels(examples, classes)
    check_takes(net, "data", examples, PrimalFilterError)


def _check_labels(examples: Tensor, classes: Any) -> None:
    whole_numbers = (
        isinstance(classes, Tensor)
        and not (classes.is_floating_point() or classes.is_complex() or classes.is_meta)
        and classes.layout == torch.strided
        and classes.dtype != torch.bool
    )
    if not whole_numbers or classes.shape != examples.shape[:1]:
        raise PrimalFilterError(
            f"labels: expected a tensor with one whole number for each of {len(examples)} "
            f"examples, got {said(classes)}"
        )
