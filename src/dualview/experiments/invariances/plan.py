"""The jobs of the experiment `invariances`, from what was asked for."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial
from itertools import permutations
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dualview.datasets import Dataset
from dualview.experiments.classifiers import Variant, of_kind, setting_jobs
from dualview.experiments.experiment import Request, is_small
from dualview.experiments.invariances.dropped_blocks import blocks, without
from dualview.experiments.invariances.tables import (
    AS_BUILT,
    BLOCK_KINDS,
    CHAIN,
    INPUT_KINDS,
    PLACES,
)
from dualview.experiments.jobs import Job, cost
from dualview.experiments.networks import build_network, measuring_device
from dualview.experiments.recipes import Setting, setting
from dualview.experiments.seeds import seed_numbers
from dualview.training.accuracy import accuracy

NAME = "invariances"
FEW_ORDERS = 3
"""Orders beside the built one in the cpu preset on large data, each with every seed."""
ONE_SEED = 0
"""All 23 others, elsewhere, are trained once each, with this seed."""
FEW_EPOCHS = 5
"""Of each run there."""


def plan(request: Request, data: Dataset, out: Path) -> list[Job]:
    """Inputs first, then gate orders, then residual networks."""
    few = request.preset == "cpu" and not is_small(data)
    epochs = FEW_EPOCHS if few else None
    chain = setting(NAME, CHAIN, request, data, epochs=epochs)
    name = "resnet110" if request.preset == "paper" else "resnet20"
    residual = setting(NAME, name, request, data, epochs=epochs)
    inputs = [of_kind(chain.comparison, kind, chain.data) for kind in INPUT_KINDS]
    orders = [_ordered(chain, order) for order in gate_orders(FEW_ORDERS if few else None)]
    seeds = seed_numbers(chain.comparison.seeds)
    ordered = seeds if few else [seed for seed in seeds if seed == ONE_SEED]
    dropping = [_dropping(residual, kind) for kind in BLOCK_KINDS]
    return [
        *setting_jobs(chain, inputs, out, titled=True),
        *setting_jobs(chain, orders, out, seeds=ordered, titled=True),
        *setting_jobs(residual, dropping, out, titled=True),
    ]


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
        partial(build_network, one.comparison, "dlgn", data=one.data, gate_order=order),
        cost("dlgn"),
        {"gate_order": list(order)},
    )


def _dropping(one: Setting, kind: str) -> Variant:
    """A residual network that is measured without each of its blocks."""
    device = measuring_device(one.comparison.training.accelerator)
    measure = partial(drop_each, one.data, device=device)
    return replace(of_kind(one.comparison, kind, one.data), measure=measure)


def drop_each(data: Dataset, net: nn.Module, device: torch.device | None = None) -> dict[str, Any]:
    """Test accuracy whole, and without each block; the network is moved to the device.

    Returns:
        "whole": a fraction; "blocks": their names; for each place of `tables.PLACES`,
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
