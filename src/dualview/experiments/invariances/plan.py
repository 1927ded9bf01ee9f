"""Experiment `invariances`: what can be taken from a DGN or DLGN without much harm.

1. Its input: the weights network reads the constant 1 in place of the data, so that all it learns
   of an example comes through the gates.
2. The order of its gates: C4GAP has four gated layers of equal shape, so their gates have 24
   orders. A DLGN is trained anew with each (all of them, or a sample drawn with a fixed seed): the
   gates of layer l come from gating layer `gate_order[l]`.
3. Its residual blocks: a ResNet is, path by path, an ensemble of the networks that keep some of its
   blocks (arXiv 2110.03403: the NTK of a ResNet is a sum over such sub-networks). Blocks are
   dropped one at a time from a network trained as a whole, at test time, without training further;
   see `dropped_blocks` for what dropping means.

Source: arXiv 2203.16455, abstract; arXiv 2110.03403.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import permutations
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from dualview.experiments.classifiers import Variant, classifier_jobs, of_kind
from dualview.experiments.experiment import Experiment, Request, is_small
from dualview.experiments.invariances.dropped_blocks import PLACES, blocks, without
from dualview.experiments.jobs import Job, cost
from dualview.experiments.networks import accuracy, build_network, measuring_device
from dualview.experiments.published import DLGN_PAPER, DUAL_PAPER, ONES_AND_ORDERS
from dualview.experiments.recipes import Setting, architecture_name, setting
from dualview.experiments.records import RunRecord
from dualview.experiments.summary import kind_name, mean_sd, percent, points, summarise
from dualview.experiments.tables import Table

if TYPE_CHECKING:
    from dualview.datasets import Dataset

NAME = "invariances"
CHAIN = "c4gap"
INPUT_KINDS = ("dnn", "dgn", "dgn-ones", "dlgn", "dlgn-ones")
BLOCK_KINDS = ("dnn", "dlgn")
AS_BUILT = (0, 1, 2, 3)
FEW_ORDERS = 3
"""Orders beside the built one in the cpu preset on large data; all 23 elsewhere."""
FEW_EPOCHS = 5
"""Of each run there."""
ORDER_SEED = 0
"""Each order is trained once, with this seed."""


def plan(request: Request, data: Dataset, out: Path) -> list[Job]:
    """Inputs first, then gate orders, then residual networks."""
    few = request.preset == "cpu" and not is_small(data)
    epochs = FEW_EPOCHS if few else None
    chain = setting(NAME, CHAIN, request, data, epochs=epochs)
    name = "resnet110" if request.preset == "paper" else "resnet20"
    residual = setting(NAME, name, request, data, epochs=epochs)
    inputs = [of_kind(chain.comparison, kind, chain.data) for kind in INPUT_KINDS]
    orders = [_ordered(chain, order) for order in gate_orders(FEW_ORDERS if few else None)]
    dropping = [_dropping(residual, kind) for kind in BLOCK_KINDS]
    return [
        *_jobs(chain, inputs, out),
        *_jobs(chain, orders, out, [ORDER_SEED]),
        *_jobs(residual, dropping, out),
    ]


def _jobs(
    one: Setting, variants: Sequence[Variant], out: Path, seeds: Sequence[int] | None = None
) -> list[Job]:
    arch = one.comparison.arch
    titled = [
        replace(variant, title=f"{architecture_name(arch)}, {variant.title}")
        for variant in variants
    ]
    return classifier_jobs(
        one.comparison, titled, out, one.data, seeds=seeds, prefix=f"{arch}-", scale=one.scale
    )


def gate_orders(count: int | None = None) -> list[tuple[int, ...]]:
    """Orders of four gates other than the built one; a fixed sample of `count`, or all 23.

    >>> len(gate_orders()), len(gate_orders(5))
    (23, 5)
    """
    others = [order for order in permutations(AS_BUILT) if order != AS_BUILT]
    return others if count is None else sorted(random.Random(0).sample(others, count))


def _ordered(one: Setting, order: tuple[int, ...]) -> Variant:
    """A DLGN whose gates are permuted."""
    name = "".join(map(str, order))
    return Variant(
        f"dlgn-order-{name}",
        "dlgn",
        f"DLGN, gates {' '.join(map(str, order))}",
        partial(_build_ordered, one, order),
        cost("dlgn"),
        {"gate_order": list(order)},
    )


def _build_ordered(one: Setting, order: tuple[int, ...], seed: int) -> nn.Module:
    return build_network(one.comparison, "dlgn", seed, one.data, gate_order=order)


def _dropping(one: Setting, kind: str) -> Variant:
    """A residual network that is measured without each of its blocks."""
    device = measuring_device(one.comparison.training.accelerator)
    measure = partial(drop_each, one.data, device=device)
    return replace(of_kind(one.comparison, kind, one.data), measure=measure)


def drop_each(data: Dataset, net: nn.Module, device: torch.device | None = None) -> dict[str, Any]:
    """Test accuracy whole, and without each block; the network is moved to the device.

    Returns:
        "whole": a fraction; "blocks": their names; for each place of `dropped_blocks.PLACES`,
        "without_PLACE": a fraction for each block. A DNN has one place, "both".
    """
    net = net.to(device)
    names = blocks(net)
    places = PLACES if hasattr(net, "weights_network") else ("both",)
    return {
        "whole": accuracy(net, data),
        "blocks": names,
        **{
            f"without_{place}": [accuracy(without(net, [name], place), data) for name in names]
            for place in places
        },
    }


# ----------------------------------------------------------------------------------------- tables


def tables(records: Sequence[RunRecord]) -> list[Table]:
    """Inputs, gate orders and dropped blocks; a part that was not run has no table."""
    found = []
    if inputs := inputs_of(records):
        found.append(_input_table(inputs))
    if orders := orders_of(records):
        found.append(_order_table(orders))
    if dropping := dropping_of(records):
        found.append(_block_table(dropping))
    return found


def inputs_of(records: Sequence[RunRecord]) -> list[RunRecord]:
    """Records of the first part."""
    return [
        record
        for record in records
        if record.architecture == CHAIN and "gate_order" not in record.config
    ]


def orders_of(records: Sequence[RunRecord]) -> dict[tuple[int, ...], RunRecord]:
    """Order -> its record, of the seed that all orders share; the built one first."""
    found = {
        tuple(record.config.get("gate_order", AS_BUILT)): record
        for record in records
        if record.architecture == CHAIN and record.kind == "dlgn" and record.seed == ORDER_SEED
    }
    return {order: found[order] for order in sorted(found)} if len(found) > 1 else {}


def dropping_of(records: Sequence[RunRecord]) -> list[RunRecord]:
    """Records of residual networks that were measured without their blocks."""
    return [record for record in records if "whole" in record.measurements]


def _input_table(records: Sequence[RunRecord]) -> Table:
    rows = {row.kind: row for row in summarise(records)}
    cells = []
    for kind in (kind for kind in ("dnn", "dgn", "dlgn") if kind in rows):
        data, ones = rows[kind], rows.get(f"{kind}-ones")
        cells.append(
            (
                kind_name(kind),
                percent(data.accuracy_mean, data.accuracy_sd),
                percent(ones.accuracy_mean, ones.accuracy_sd) if ones else "–",
                points(*mean_sd(ones_minus_data(records, kind))),
                percent(data.recovered_mean, data.recovered_sd),
                percent(ones.recovered_mean, ones.recovered_sd) if ones else "–",
                str(data.n),
            )
        )
    return Table(
        "constant-input",
        "The data, or the constant 1",
        (
            f"{architecture_name(CHAIN)}",
            "Data, %",
            "Ones, %",
            "Ones − data, points",
            "Data, recovered %",
            "Ones, recovered %",
            "Seeds",
        ),
        tuple(cells),
        (
            "Test accuracy after the last epoch, mean ± sample standard deviation over seeds; "
            "differences are taken seed by seed. A DNN cannot read the constant 1.",
            f"Published, without a number: {ONES_AND_ORDERS}.",
        ),
    )


def ones_minus_data(records: Sequence[RunRecord], kind: str) -> list[float]:
    """Difference of accuracies for each seed with which both finished."""
    of = {
        name: {r.seed: r.test_accuracy for r in records if r.kind == name and r.test_accuracy}
        for name in (kind, f"{kind}-ones")
    }
    ones = of[f"{kind}-ones"]
    return [ones[seed] - value for seed, value in of[kind].items() if seed in ones]


def _order_table(orders: dict[tuple[int, ...], RunRecord]) -> Table:
    built = orders[AS_BUILT].test_accuracy if AS_BUILT in orders else None
    rows = [
        (
            " ".join(map(str, order)) + (" (as built)" if order == AS_BUILT else ""),
            percent(record.test_accuracy, None),
            _difference(record.test_accuracy, built),
        )
        for order, record in orders.items()
    ]
    others = [
        record.test_accuracy
        for order, record in orders.items()
        if order != AS_BUILT and record.test_accuracy is not None
    ]
    if others:
        rows += [
            (f"{len(others)} permuted, mean ± sd", percent(*mean_sd(others)), "–"),
            ("lowest to highest", f"{100 * min(others):.2f} to {100 * max(others):.2f}", "–"),
        ]
        if built is not None:
            differences = [value - built for value in others]
            rows[-2] = (*rows[-2][:2], points(*mean_sd(differences)))
    return Table(
        "gate-orders",
        "The order of the gates",
        ("Gating layers that gate layers 0 to 3", "Test accuracy, %", "− as built, points"),
        tuple(rows),
        (
            f"DLGN of {architecture_name(CHAIN)}, trained once with each order, all with seed "
            f"{ORDER_SEED}. Published, without a number: {ONES_AND_ORDERS}.",
        ),
    )


def _difference(value: float | None, reference: float | None) -> str:
    return points(None if value is None or reference is None else value - reference, None)


def _block_table(records: Sequence[RunRecord]) -> Table:
    first = records[0]
    names: list[str] = first.measurements["blocks"]
    columns = [
        (record_kind, place)
        for record_kind in BLOCK_KINDS
        for place in PLACES
        if dropped(records, record_kind, place)
    ]
    rows = [
        (
            f"without {name.removeprefix('stages.')}",
            *(_drop_cell(records, k, p, i) for k, p in columns),
        )
        for i, name in enumerate(names)
    ]
    whole = ("whole", *(_whole_cell(records, kind) for kind, _ in columns))
    mean = ("mean of one dropped", *(_mean_cell(records, k, p) for k, p in columns))
    return Table(
        "dropped-blocks",
        "Residual blocks dropped",
        (architecture_name(first.architecture), *(_place_name(*column) for column in columns)),
        (whole, *rows, mean),
        (
            "Test accuracy in % of the trained network without one block, named stage.block, not "
            "trained further; mean ± sample standard deviation over seeds. The skip and the gate "
            "after the addition stay. “Weights network”: gates as they were, the paths through the "
            "block are gone; “both”: gone from the gating network too, so that later gates change.",
        ),
    )


def dropped(records: Sequence[RunRecord], kind: str, place: str) -> list[list[float]]:
    """For each run of the kind, its accuracies without each block."""
    name = f"without_{place}"
    return [r.measurements[name] for r in records if r.kind == kind and name in r.measurements]


def _drop_cell(records: Sequence[RunRecord], kind: str, place: str, block: int) -> str:
    return percent(*mean_sd([run[block] for run in dropped(records, kind, place)]))


def _whole_cell(records: Sequence[RunRecord], kind: str) -> str:
    return percent(*mean_sd([r.measurements["whole"] for r in records if r.kind == kind]))


def _mean_cell(records: Sequence[RunRecord], kind: str, place: str) -> str:
    return percent(*mean_sd([fmean(run) for run in dropped(records, kind, place)]))


def _place_name(kind: str, place: str) -> str:
    if kind == "dnn":
        return kind_name(kind)
    return f"{kind_name(kind)}, {'weights network' if place == 'weights' else 'both'}"


EXPERIMENT = Experiment(
    name=NAME,
    title="What gated networks can do without",
    question="Does a DGN or DLGN still learn when its weights network sees the constant 1 in place "
    "of the data, when its gates are shuffled from layer to layer, and when residual blocks are "
    "dropped after training?",
    source=f"{DUAL_PAPER}, abstract; {DLGN_PAPER}",
    duration="digits: 4 minutes; CIFAR-10: 70 minutes",
    default_data="digits",
    plan=plan,
    tables=tables,
    options=("width",),
)
