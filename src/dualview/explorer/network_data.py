"""What a network does over many examples, as the explorer's script reads it. Plain numbers.

Means of parts are whole thousandths of the layer's largest, so that a page of thousands of units
stays small.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from dualview.explorer.explanations.budget import shrink_factor, shrunk
from dualview.explorer.explanations.network_records import (
    FilterReading,
    LayerUnits,
    NetworkView,
    Plane,
)
from dualview.explorer.explanations.records import Layer
from dualview.explorer.images import SIDE, TINTS, areas, photographs, signed
from dualview.explorer.paths import round_digits

STEPS = 1000
"""Of a layer's largest mean."""
MOST_BOXES = 8
"""Of gated layers; with input and output there are ten."""


def boxes(layers: Sequence[Layer]) -> list[dict[str, Any]]:
    """The gated layers in at most `MOST_BOXES` boxes: successive ones of one shape share one.

    Where that is not enough, the boxes of fewest layers are joined with those behind them.

    >>> layers = [Layer(f"gate_{i}", (16, 8, 8) if i < 4 else (32,)) for i in range(1, 6)]
    >>> [box["layers"] for box in boxes(layers)], [box["layers"] for box in boxes(layers * 2)]
    ([[0], [1], [2], [3], [4]], [[0, 1, 2], [3, 4], [5, 6, 7], [8, 9]])
    """
    groups = [[i] for i in range(len(layers))]
    if len(groups) > MOST_BOXES:
        by_shape = itertools.groupby(range(len(layers)), key=lambda i: layers[i].shape)
        groups = [list(stage) for _, stage in by_shape]
    while len(groups) > MOST_BOXES:
        sizes = [len(a) + len(b) for a, b in itertools.pairwise(groups)]
        at = sizes.index(min(sizes))
        groups[at : at + 2] = [groups[at] + groups[at + 1]]
    return [
        {
            "layers": group,
            "shapes": list(dict.fromkeys("×".join(map(str, layers[i].shape)) for i in group)),
        }
        for group in groups
    ]


def network_data(view: NetworkView | None) -> dict[str, Any] | None:
    """Classes, confusions and the map."""
    if view is None:
        return None
    return {
        "n": view.n_examples,
        "classes": list(view.classes),
        "counts": list(view.counts),
        "logits": [[round_digits(v) for v in row] for row in view.logits.tolist()],
        "confusion": [
            [int(i), int(j), int(view.confusion[i, j])] for i, j in np.argwhere(view.confusion)
        ],
        "map": None
        if view.places is None
        else {
            "places": [[round_digits(v, 4) for v in place] for place in view.places.tolist()],
            "spread": [round_digits(share) for share in view.spread],
        },
    }


def units_data(view: NetworkView | None, n_layers: int, factor: int) -> list[dict[str, Any] | None]:
    """Of each layer its units; `factor` pixels of a pattern become one, as those of filters do."""
    if view is None:
        return [None] * n_layers
    return [
        {**_units(units), "reading": None if reading is None else _reading(reading, factor)}
        for units, reading in zip(view.layers, view.readings, strict=True)
    ]


def plane_data(plane: Plane) -> dict[str, Any]:
    """A plane: its picture, lines as their two ends, and what is where."""
    found = plane.found
    shown = sorted({int(label) for label in found.classes})
    shades = [shown.index(int(label)) for label in found.classes]
    return {
        "example": plane.example,
        "rows": list(plane.rows),
        "labels": list(plane.labels),
        "images": asdict(photographs(plane.images)),
        "window": [round_digits(side, 4) for side in found.window],
        "areas": areas(found.decisions, shades, found.window),
        "tints": [[label, list(TINTS[i % len(TINTS)])] for i, label in enumerate(shown)],
        "lines": [
            [round_digits(v, 4) for v in _ends(line, found.window)] for line in found.lines.tolist()
        ],
        "points": [[round_digits(v, 4) for v in place] for place in found.examples.tolist()],
        "decided": found.predicted.tolist(),
        "cells": len(found.cells),
        "gates": plane.n_gates,
    }


def _ends(line: Sequence[float], window: Sequence[float]) -> list[float]:
    """Where a line p s + q t + r = 0 enters and leaves the window: (s, t, s, t)."""
    p, q, r = line
    left, right, bottom, top = window
    ends = [(s, -(p * s + r) / q) for s in (left, right) if q]
    ends += [(-(q * t + r) / p, t) for t in (bottom, top) if p]
    slack = 1e-9 * max(right - left, top - bottom)
    inside = [
        (s, t)
        for s, t in ends
        if left - slack <= s <= right + slack and bottom - slack <= t <= top + slack
    ]
    return [*min(inside), *max(inside)]


def _units(units: LayerUnits) -> dict[str, Any]:
    """One layer's units as the page reads them; parts in steps of the largest."""
    largest = float(np.abs(units.parts).max()) or 1.0
    places = np.concatenate([units.opens, units.closes], axis=1)
    q = np.take_along_axis(units.peaks, places, axis=1)
    return {
        "channels": list(units.channels),
        "step": round_digits(largest / STEPS),
        "parts": [
            np.rint(one / largest * STEPS).astype(int).ravel().tolist() for one in units.parts
        ],
        "opens": units.opens.tolist(),
        "closes": units.closes.tolist(),
        "q": [[round_digits(v, 3) for v in row] for row in q.tolist()],
        "before": [_pairs(row) for row in units.upstream],
        "behind": [_pairs(row) for row in units.downstream],
    }


def _pairs(row: Sequence[tuple[int, float]]) -> list[list[float]]:
    return [[channel, round_digits(part, 3)] for channel, part in row]


def _reading(reading: FilterReading, factor: int) -> dict[str, Any]:
    factor = max(factor, shrink_factor(reading.patterns.shape[2:], SIDE))
    return {
        "largest": reading.largest,
        "percent": [round(100 * share) for share in reading.shares.tolist()],
        "patterns": asdict(signed(shrunk(reading.patterns, factor), shared=True)),
    }
