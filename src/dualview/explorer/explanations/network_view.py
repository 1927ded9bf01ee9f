"""What a network has learnt, over many examples: units, classes, confusions, a map."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from dualview.conversion.gated_network import GatedNetwork
from dualview.datasets import Dataset, Split
from dualview.errors import PathKernelError
from dualview.explorer.explanations import training_examples as training
from dualview.explorer.explanations.filter_readings import filter_reading
from dualview.explorer.explanations.filters import MOST_FILTERS
from dualview.explorer.explanations.inputs import inputs, spread_rows
from dualview.explorer.explanations.network_records import FilterReading, LayerUnits
from dualview.explorer.explanations.records import ExampleExplanation, LayerFilters
from dualview.explorer.explanations.unit_parts import (
    ClassSums,
    class_sums,
    pair_parts,
    private_copy,
)
from dualview.path_kernel.examples import Gates
from dualview.path_kernel.kernel import npk

MOST_CLASSES = 12
"""Whose means are kept: their number counts twice on the page."""
MOST_UNITS = 4000
"""Of all layers together."""
EXTREMES = 5
"""Examples that open a unit, that close it, and neighbours on either side."""
MAP_SECONDS = 60.0
"""A map that should take longer is not made."""
READ_ON = 300
"""Examples that filters are tried on."""


def classes_counted(examples: Sequence[ExampleExplanation], n_classes: int) -> tuple[int, ...]:
    """All classes, or the `MOST_CLASSES` that examples and explanations name most often."""
    n_classes = min(n_classes, *(len(e.logits) for e in examples))
    if n_classes <= MOST_CLASSES:
        return tuple(range(n_classes))
    named = Counter(
        label
        for e in examples
        for label in (e.label, *(o.output for o in e.outputs[:2]))
        if label < n_classes
    )
    return tuple(sorted(label for label, _ in named.most_common(MOST_CLASSES)))


def sums_of(
    net: GatedNetwork, data: Dataset, part: Split, examples: Sequence[ExampleExplanation]
) -> ClassSums:
    """What all units add to classes, over examples of the split."""
    return class_sums(private_copy(net), data, part, classes_counted(examples, data.n_classes))


def with_speakers(shown: Sequence[int], parts: np.ndarray, n_layers: int) -> tuple[int, ...]:
    """The channels shown, and those that speak most for some class on its own examples.

    Args:
        shown: the ones that matter most to the examples of the page, the most frequent first.
        parts: (all channels, k, k).
        n_layers: layers share the room for units.
    """
    own = np.einsum("uii->iu", parts)  # (k, channels)
    speakers = np.argsort(-own, axis=1, kind="stable")[:, :EXTREMES].T.ravel().tolist()
    most = max(EXTREMES, min(MOST_FILTERS, MOST_UNITS // max(1, n_layers)))
    return tuple(dict.fromkeys((*shown, *speakers)))[:most]


def layer_units(
    net: GatedNetwork,
    data: Dataset,
    part: Split,
    shown: Sequence[tuple[int, ...]],
    sums: ClassSums,
    peaks: Sequence[np.ndarray],
) -> tuple[LayerUnits, ...]:
    """The channels shown of every layer; `peaks` are (examples of the page, all channels)."""
    pairs = pair_parts(private_copy(net), data, part, shown)
    found = []
    for layer, (channels, parts, q) in enumerate(zip(shown, sums.parts, peaks, strict=True)):
        chosen = list(channels)
        of_page = q[:, chosen].T  # (n, examples)
        order = np.argsort(-of_page, axis=1, kind="stable")
        before, behind = [*pairs, None][layer : layer + 2]
        nothing = ((),) * len(chosen)
        found.append(
            LayerUnits(
                channels=channels,
                parts=parts[chosen],
                opens=order[:, :EXTREMES],
                closes=order[:, ::-1][:, :EXTREMES],
                peaks=of_page,
                upstream=nothing
                if before is None
                else tuple(_strongest(row, range(row.size)) for row in before),
                downstream=nothing
                if behind is None
                else tuple(_strongest(behind[:, c], shown[layer + 1]) for c in chosen),
            )
        )
    return tuple(found)


def _strongest(parts: np.ndarray, names: Sequence[int]) -> tuple[tuple[int, float], ...]:
    order = np.argsort(-np.abs(parts), kind="stable")[:EXTREMES]
    return tuple((int(names[i]), float(parts[i])) for i in order if parts[i])


def readings_of(
    net: GatedNetwork,
    data: Dataset,
    part: Split,
    filters: Sequence[LayerFilters | None],
    interiors: Sequence[Sequence[range]],
) -> tuple[FilterReading | None, ...]:
    """How far the filters of every layer can be read."""
    if not any(filters):
        return tuple(None for _ in filters)
    rows = spread_rows(READ_ON, len(part))
    images = inputs(net, data, part, rows).double().numpy()
    return tuple(
        None if one is None else filter_reading(one, images, interior)
        for one, interior in zip(filters, interiors, strict=True)
    )


def confusion_of(sums: ClassSums, n_classes: int) -> np.ndarray:
    """(classes, classes): examples of class i taken for class j."""
    n_classes = max(n_classes, int(sums.predicted.max()) + 1)
    counts = np.zeros((n_classes, n_classes), int)
    np.add.at(counts, (sums.labels, sums.predicted), 1)
    return counts


def map_of(
    net: GatedNetwork, x: Tensor, gates: Gates
) -> tuple[np.ndarray | None, tuple[float, float], str]:
    """The two largest kernel principal components of some examples' path kernel.

    Returns:
        Places (examples, 2) or None, the shares of the variance, and why there is no map, or "".
    """
    if len(x) < 3:
        return None, (0.0, 0.0), ""
    try:
        seconds = training.seconds_for(net, x[:1], x, gates)
        if seconds > MAP_SECONDS:
            minutes = f"their path kernel should take about {seconds / 60:.0f} minutes here"
            return None, (0.0, 0.0), f"There is no map of the examples: {minutes}."
        kernel = npk(net, x, gates=gates).double().numpy()
    except PathKernelError as error:
        return None, (0.0, 0.0), f"There is no map of the examples: {error}."
    return *principal(kernel), ""


def principal(kernel: np.ndarray) -> tuple[np.ndarray, tuple[float, float]]:
    """Places on the two largest principal axes of a kernel (n, n), and their shares of variance.

    >>> places, shares = principal(np.diag([4.0, 0.0, 0.0]))
    >>> places.shape, round(shares[0], 6)
    ((3, 2), 1.0)
    """
    means = kernel.mean(0)
    centred = kernel - means - means[:, None] + means.mean()
    values, vectors = np.linalg.eigh(centred)
    largest = np.maximum(values[::-1][:2], 0)
    vectors = vectors[:, ::-1][:, :2]
    signs = np.where(np.abs(vectors.min(0)) > vectors.max(0), -1.0, 1.0)  # the same every time
    trace = max(float(np.trace(centred)), 1e-300)
    first, second = (float(value / trace) for value in largest)
    return vectors * signs * np.sqrt(largest), (first, second)
