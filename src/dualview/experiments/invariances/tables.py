"""Tables of the experiment `invariances`: constant input, gate orders, dropped blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from dualview.experiments.naming import architecture_name
from dualview.experiments.published import ONES_AND_ORDERS
from dualview.experiments.records import RunRecord
from dualview.experiments.summary import (
    kind_name,
    mean_percent,
    mean_sd,
    paired_differences,
    percent,
    points,
    summarise,
)
from dualview.experiments.tables import Table

CHAIN = "c4gap"
INPUT_KINDS = ("dnn", "dgn", "dgn-ones", "dlgn", "dlgn-ones")
BLOCK_KINDS = ("dnn", "dlgn")
AS_BUILT = (0, 1, 2, 3)
PLACES = ("weights", "both")
"""Where a block is dropped: from the weights network, or from the gating network too."""
Orders = Mapping[tuple[int, ...], Sequence[RunRecord]]
"""Layers that gate layers 0, 1, ... -> its runs, of the seeds that all orders have."""


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


def orders_of(records: Sequence[RunRecord]) -> Orders:
    """The finished runs of each order, the built one first; nothing, where there is only one."""
    found: dict[tuple[int, ...], dict[int, RunRecord]] = {}
    for record in records:
        chain = record.architecture == CHAIN and record.kind == "dlgn"
        if chain and record.test_accuracy is not None:
            order = tuple(record.config.get("gate_order", AS_BUILT))
            found.setdefault(order, {})[record.seed] = record
    shared = sorted(set.intersection(*map(set, found.values()))) if len(found) > 1 else []
    return {order: [found[order][seed] for seed in shared] for order in sorted(found) if shared}


def order_accuracies(orders: Orders) -> dict[tuple[int, ...], list[float]]:
    """Order -> test accuracy of each seed."""
    return {
        order: [run.test_accuracy for run in runs if run.test_accuracy is not None]
        for order, runs in orders.items()
    }


def order_differences(orders: Orders) -> dict[tuple[int, ...], list[float]]:
    """Permuted order -> its accuracy minus that of the order as built, seed by seed."""
    accuracies = order_accuracies(orders)
    built = accuracies.pop(AS_BUILT, None)
    if built is None:
        return {}
    return {
        order: [value - reference for value, reference in zip(values, built, strict=True)]
        for order, values in accuracies.items()
    }


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
                points(*mean_sd(paired_differences(records, f"{kind}-ones", kind))),
                data.recovered,
                ones.recovered if ones else "–",
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


def _order_table(orders: Orders) -> Table:
    accuracies, differences = order_accuracies(orders), order_differences(orders)
    rows = [
        (
            " ".join(map(str, order)) + (" (as built)" if order == AS_BUILT else ""),
            mean_percent(values),
            "+0.00" if order == AS_BUILT else points(*mean_sd(differences.get(order, ()))),
        )
        for order, values in accuracies.items()
    ]
    others = [fmean(values) for order, values in accuracies.items() if order != AS_BUILT]
    if others:
        means = [fmean(values) for values in differences.values()]
        rows += [
            (
                f"{len(others)} permuted, mean ± sd",
                mean_percent(others),
                points(*mean_sd(means)),
            ),
            ("lowest to highest", f"{100 * min(others):.2f} to {100 * max(others):.2f}", "–"),
        ]
    seeds = [str(run.seed) for run in next(iter(orders.values()))]
    trained = (
        f"once with each order, all with seed {seeds[0]}"
        if len(seeds) == 1
        else f"with each order and each of the seeds {', '.join(seeds)}; differences are taken "
        "seed by seed, and the last two rows are of the orders’ means"
    )
    return Table(
        "gate-orders",
        "The order of the gates",
        ("Gating layers that gate layers 0 to 3", "Test accuracy, %", "− as built, points"),
        tuple(rows),
        (
            f"DLGN of {architecture_name(CHAIN)}, trained {trained}. "
            f"Published, without a number: {ONES_AND_ORDERS}.",
        ),
    )


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
            *(mean_percent([run[i] for run in dropped(records, k, p)]) for k, p in columns),
        )
        for i, name in enumerate(names)
    ]
    whole = [[r.measurements["whole"] for r in records if r.kind == kind] for kind, _ in columns]
    means = [[fmean(run) for run in dropped(records, *column)] for column in columns]
    return Table(
        "dropped-blocks",
        "Residual blocks dropped",
        (architecture_name(first.architecture), *(_place_name(*column) for column in columns)),
        (
            ("whole", *map(mean_percent, whole)),
            *rows,
            ("mean of one dropped", *map(mean_percent, means)),
        ),
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


def _place_name(kind: str, place: str) -> str:
    if kind == "dnn":
        return kind_name(kind)
    return f"{kind_name(kind)}, {'weights network' if place == 'weights' else 'both'}"
