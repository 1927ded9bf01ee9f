"""What a fitted network of a table says: its hyperplanes, and what each column adds to a score.

Axes: rows on axis 0; hyperplanes, outputs or columns on the following ones. NumPy, float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dualview.arguments import require, whole
from dualview.conversion.gated_network import GatedNetwork
from dualview.errors import TableError, need
from dualview.primal.filters import primal_filters
from dualview.tabular.wording import MOST_WORDS, inequality


@dataclass(frozen=True, eq=False)
class Hyperplanes:
    """Every gate of a network of a table: on where normal · x + offset > 0.

    Attributes:
        columns: names, as many as a normal has numbers.
        layers: (gates,) the gated layer of each, from 0.
        units: (gates,) its number in the layer.
        normals: (gates, columns), in units of the data.
        offsets: (gates,).
        deviations: (columns,) of the training rows, by which columns of unlike units compare.
    """

    columns: tuple[str, ...]
    layers: np.ndarray
    units: np.ndarray
    normals: np.ndarray
    offsets: np.ndarray
    deviations: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets)

    def __repr__(self) -> str:
        return (
            f"Hyperplanes({len(self)} gates of {len(set(self.layers.tolist()))} layers in "
            f"{len(self.columns)} columns)"
        )

    @property
    def importances(self) -> np.ndarray:
        """(gates, columns): |normal * deviation|, as shares of the gate's sum."""
        sizes = np.abs(self.normals * self.deviations)
        return sizes / np.maximum(sizes.sum(1, keepdims=True), np.finfo(float).tiny)

    def in_words(self, gate: int, most: int = MOST_WORDS) -> str:
        """One gate as an inequality, scaled so that a standard deviation of the columns is 1.

        Args:
            gate: its number, over all layers.
            most: columns that are named, those of the largest importance; "..." stands for others.

        Raises:
            TableError: there is no such gate.
        """
        gate = require("gate", gate, whole(0, len(self) - 1), TableError)
        most = require("most", most, whole(1), TableError)
        return inequality(
            self.columns, self.normals[gate], -self.offsets[gate], self.deviations, most
        )

    def to_frame(self) -> Any:
        """A pandas table: layer, unit, a column for each of the data's, and the offset.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        pandas = need("pandas", "train", "a table of hyperplanes")
        frame = pandas.DataFrame(self.normals, columns=list(self.columns))
        frame.insert(0, "layer", self.layers)
        frame.insert(1, "unit", self.units)
        frame["offset"] = self.offsets
        return frame


@dataclass(frozen=True, eq=False)
class Contributions:
    """Scores of rows, as sums of parts.

    Attributes:
        parts: names of what adds: columns, or the gates of a layer.
        outputs: names of the scores: classes, the one class of two, or targets.
        values: (rows, outputs, parts).
        rest: (rows, outputs): what comes of biases alone.
        totals: (rows, outputs): the scores, sums of values and rest.
    """

    parts: tuple[str, ...]
    outputs: tuple[str, ...]
    values: np.ndarray
    rest: np.ndarray
    totals: np.ndarray

    def __repr__(self) -> str:
        rows, outputs, parts = self.values.shape
        return f"Contributions({rows} rows, {outputs} outputs, {parts} parts)"

    def to_frame(self, row: int = 0) -> Any:
        """A pandas table of one row: parts, then "rest" and "total", by outputs.

        Raises:
            TableError: there is no such row.
            MissingExtraError: pandas is not installed.
        """
        row = require("row", row, whole(0, len(self.values) - 1), TableError)
        pandas = need("pandas", "train", "a table of contributions")
        added = [self.values[row].T, self.rest[row][None], self.totals[row][None]]
        names = [*self.parts, "rest", "total"]
        return pandas.DataFrame(np.concatenate(added), index=names, columns=list(self.outputs))


def hyperplanes_of(net: GatedNetwork, columns: Sequence[str]) -> Hyperplanes:
    """Every gate of a DLGN of a table, in units of the data."""
    found = [primal_filters(net, layer, (len(columns),)) for layer in range(net.n_gates)]
    assert net.input_transform is not None
    return Hyperplanes(
        columns=tuple(columns),
        layers=np.repeat(np.arange(len(found)), [len(part.offsets) for part in found]),
        units=np.concatenate([np.arange(len(part.offsets)) for part in found]),
        normals=np.concatenate([_array(part.filters()) for part in found]),
        offsets=np.concatenate([_array(part.offsets) for part in found]),
        deviations=_array(net.input_transform.std),
    )


def column_parts(net: GatedNetwork, x: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """What each standardised column adds to each output, gates fixed; and the outputs.

    Args:
        net: of a table.
        x: rows (n, columns), as they are.

    Returns:
        (n, outputs, columns) and (n, outputs).
    """
    z = net.transformed(x).requires_grad_()
    with torch.no_grad():
        gates = net.gates(x)
    outputs = net.weights_network(z, *gates).expand(len(x), -1)
    return _parts(outputs, z)


def gate_parts(net: GatedNetwork, x: Tensor, layer: int) -> tuple[np.ndarray, np.ndarray]:
    """What each unit of a gated layer adds to each output, all gates fixed; and the outputs.

    The output is linear in the gates of one layer, those of the others fixed, so that gate times
    derivative is the sum over all paths through the unit.

    Args:
        net: of a table.
        x: rows (n, columns), as they are.
        layer: from 0.

    Returns:
        (n, outputs, units) and (n, outputs).
    """
    with torch.no_grad():
        gates = list(net.gates(x))
    gates[layer] = gates[layer].detach().requires_grad_()
    return _parts(net.weights_network(net.transformed(x), *gates), gates[layer])


def local_maps(net: GatedNetwork, x: Tensor) -> np.ndarray:
    """The slopes of every output at each row, gates fixed, in units of the data.

    Args:
        net: of a table.
        x: rows (n, columns).

    Returns:
        (n, outputs, columns).
    """
    x = x.detach().requires_grad_()
    with torch.no_grad():
        gates = net.gates(x)
    outputs = net.weights_network(net.transformed(x), *gates).expand(len(x), -1)
    return np.stack([_array(slope) for slope in _slopes(outputs, x)], axis=1)


def _parts(outputs: Tensor, at: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Values times slopes, and the outputs."""
    slopes = _slopes(outputs, at)
    parts = np.stack([_array(at * slope) for slope in slopes], axis=1)
    return parts, _array(outputs)


def _slopes(outputs: Tensor, at: Tensor) -> list[Tensor]:
    """Derivatives of each output (n, ...): rows do not depend on each other."""
    if not outputs.requires_grad:
        return [torch.zeros_like(at) for _ in range(outputs.shape[1])]
    found = []
    for output in range(outputs.shape[1]):
        (slope,) = torch.autograd.grad(
            outputs[:, output].sum(), at, retain_graph=True, allow_unused=True
        )
        found.append(torch.zeros_like(at) if slope is None else slope)
    return found


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()
