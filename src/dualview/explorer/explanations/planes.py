"""The plane through an example, its nearest neighbour of another class, and one of its own.

In a DLGN every gate is a straight line there (`partition_slice`), so that a picture of the plane
shows how the network divides what is between these images, exactly.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from dualview.conversion.gated_network import GatedNetwork
from dualview.datasets import Dataset
from dualview.errors import PrimalFilterError
from dualview.explorer.explanations.inputs import inputs, spread_rows
from dualview.explorer.explanations.network_records import Plane
from dualview.explorer.explanations.records import ExampleExplanation
from dualview.primal.affine import LINEAR_KINDS
from dualview.primal.partition import PartitionSlice, partition_slice
from dualview.progress import Progress

MOST_PLANES = 4
"""On a page, of the least sure examples."""
PLANE_SECONDS = 20.0
"""Spent on planes: no other is begun after that."""
MOST_GATES = 2_000
"""Of a network: the more there are, the more cells, and the fewer can be seen."""
MOST_CELLS = 20_000
NEIGHBOURS = 2_000
"""Training examples that neighbours are looked for in, spread over the split."""


def planes_of(
    net: GatedNetwork,
    data: Dataset,
    x: Tensor,
    examples: Sequence[ExampleExplanation],
    n_gates: int,
    most: int,
    watcher: Progress,
) -> tuple[tuple[Plane, ...], str]:
    """Planes of some examples, the least sure first; where there is none, why, in a sentence.

    Args:
        net: a gated network in float64.
        data: where neighbours are from.
        x: the examples of the page (n, c, h, w), as the network is called on them.
        examples: the same, explained.
        n_gates: of the network, all positions counted.
        most: planes.
        watcher: told how it goes.
    """
    if net.kind not in LINEAR_KINDS or not all(net.affine_layers):
        return (), "only in a DLGN is every gate a straight line there"
    if n_gates > MOST_GATES:
        few = f"the lines of more than {MOST_GATES:,} are too many to be seen"
        return (), f"the network has {n_gates:,} gates; {few}"
    watcher.note("planes through three images")
    rows = spread_rows(NEIGHBOURS, len(data.train))
    images, labels = inputs(net, data, data.train, rows), data.train.labels[rows]
    found: list[Plane] = []
    why, start = "no image here has neighbours of two classes", time.monotonic()
    for place in _least_sure(examples):
        classes = [output.output for output in examples[place].outputs[:2]][::-1]
        near = [_nearest(x[place], images, labels == one) for one in classes]
        chosen = [i for i in near if i is not None]
        if len(chosen) == 2:
            points = [x[place : place + 1], *images[chosen].split(1)]
            try:
                cut = partition_slice(
                    net, *(one.double() for one in points), gates="hard", most=MOST_CELLS
                )
            except PrimalFilterError as error:  # too many cells, or images on one line
                why = _in_words(error)
            else:
                found.append(_plane(place, [rows[i] for i in chosen], data, cut, n_gates))
        if len(found) == most or time.monotonic() - start > PLANE_SECONDS:
            break
    return tuple(found), "" if found else why


def _in_words(error: PrimalFilterError) -> str:
    """Why a slice was refused, for a reader of the page, who called nothing."""
    if str(error).startswith("most:"):
        return f"gates cut those tried into more than {MOST_CELLS:,} cells, too many to be seen"
    return "the images tried lie on one line"


def _plane(place: int, rows: list[int], data: Dataset, cut: PartitionSlice, n_gates: int) -> Plane:
    labels = tuple(data.train.labels[rows].tolist())
    return Plane(place, tuple(rows), labels, data.train.images[rows].numpy(), cut, n_gates)


def _least_sure(examples: Sequence[ExampleExplanation]) -> list[int]:
    """Places of examples, those with the smallest lead of the largest logit first."""
    leads = [float(np.diff(np.sort(example.logits)[-2:]).sum()) for example in examples]
    return np.argsort(leads, kind="stable").tolist()


def _nearest(x: Tensor, images: Tensor, allowed: Tensor) -> int | None:
    """The allowed image nearest to x (c, h, w); None where none is allowed."""
    places = allowed.nonzero().flatten()
    if not len(places):
        return None
    distances = (images[places] - x).flatten(1).square().sum(1)
    return int(places[distances.argmin()])
