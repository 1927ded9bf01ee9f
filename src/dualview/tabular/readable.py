"""How a fitted estimator of a table is read: `Readable`, which both estimators are.

Axes: rows on axis 0, columns on the last. NumPy, float64, in units of the data.
"""

# ruff: noqa: N803  scikit-learn's interface names the data X
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch

from dualview.arguments import (
    array,
    flag,
    number,
    one_of,
    optional,
    require,
    several,
    takes,
    text_value,
    whole,
)
from dualview.conversion.gated_network import GatedNetwork
from dualview.errors import TableError
from dualview.primal.partition import PartitionSlice, partition_slice
from dualview.tabular.growing import Growth
from dualview.tabular.readings import (
    Contributions,
    Hyperplanes,
    column_parts,
    gate_parts,
    hyperplanes_of,
)
from dualview.tabular.tree import ObliqueTree
from dualview.tabular.tree_building import network_tree

names_value = optional(several(text_value, "a name for each column"))


class Readable:
    """What can be asked of a fitted estimator of a table."""

    net_: GatedNetwork
    n_features_in_: int
    _fitted: dict[str, Any]
    """The options that `net_` was trained with."""
    _expect_fitted: Callable[[], None]
    take_rows: Callable[[Any], torch.Tensor]
    """Refusing before `fit`, and rows as the network takes them: methods of the estimators."""

    def column_names(self, columns: Sequence[str] | None = None) -> tuple[str, ...]:
        """Names of the columns: those given, else those of X in `fit`, else x0, x1, ...

        Raises:
            TableError: it is not fitted, or there are more or fewer columns than names.
        """
        self._expect_fitted()
        given = require("columns", columns, names_value, TableError)
        count = self.n_features_in_
        own = getattr(self, "feature_names_in_", [f"x{i}" for i in range(count)])
        found = tuple(map(str, own if given is None else given))
        if len(found) != count:
            raise TableError(f"columns: expected {count} names, one for each, got {len(found)}")
        return found

    def hyperplanes(self, columns: Sequence[str] | None = None) -> Hyperplanes:
        """Every gate as a hyperplane: on where normal · x + offset > 0, in units of the data.

        Args:
            columns: names. Default: those of X in `fit`.

        Raises:
            TableError: it is not fitted, or names do not fit.
        """
        names = self.column_names(columns)
        return hyperplanes_of(self.net_, names)

    @takes(TableError, of=one_of("columns", "gates"))
    def contributions(
        self,
        X: Any,
        *,
        of: Literal["columns", "gates"] = "columns",
        layer: int = -1,
        columns: Sequence[str] | None = None,
    ) -> Contributions:
        """What each column, or each gate of a layer, adds to the scores of rows; they sum to them.

        A column's part is (x - mean of the training rows) times the slope of the score in the
        region that the row lies in; that of a gate is the sum over all paths through it. Where the
        weights network reads ones, columns decide by gates alone, and all their parts are 0.

        Args:
            X: rows (n, columns).
            of: "columns" or "gates".
            layer: of the gates; negative ones count from the last.
            columns: names. Default: those of X in `fit`.

        Returns:
            Parts of `decision_function` (of two classes, of the second's score less the first's),
            or of predictions.

        Raises:
            TableError: it is not fitted, or X, names or layer do not fit.
        """
        names, x = self.column_names(columns), self.take_rows(X)
        outputs = self._output_names()
        count = self.net_.n_gates
        at = require("layer", layer, whole(-count, count - 1), TableError) % count
        if of == "gates":
            values, totals = gate_parts(self.net_, x, at)
            names = tuple(f"gate {unit} of layer {at}" for unit in range(values.shape[2]))
        else:
            values, totals = column_parts(self.net_, x)
        if self._is_binary():
            values, totals = values[:, 1:] - values[:, :1], totals[:, 1:] - totals[:, :1]
        return Contributions(names, outputs, values, totals - values.sum(2), totals)

    def partition(
        self,
        first: str | int,
        second: str | int,
        *,
        at: Any = None,
        reach: float = 2.5,
        columns: Sequence[str] | None = None,
    ) -> PartitionSlice:
        """How gates cut the plane of two columns, and what is decided where, exactly.

        Args:
            first: a column, by name or number: the first axis.
            second: another one: the second axis.
            at: one row (columns,): what the other columns are, and the middle of the window.
                Default: their means over the training rows.
            reach: how far the window goes to either side, in standard deviations.
            columns: names. Default: those of X in `fit`.

        Returns:
            Lines, cells and decisions, in units of the two columns; its three examples are corners
            of the window. `dualview.primal.figures.partition.partition_map` draws it.

        Raises:
            TableError: it is not fitted, or there are no such two columns or row.
        """
        names = self.column_names(columns)
        axes = tuple(
            _column(name, value, names) for name, value in (("first", first), ("second", second))
        )
        if axes[0] == axes[1]:
            raise TableError(f"second: expected another column than first, got {second!r} twice")
        reach = require("reach", reach, number(above=0), TableError)
        transform = self.net_.input_transform
        assert transform is not None
        means, deviations = transform.mean.numpy(), transform.std.numpy()
        row = means if at is None else require("at", at, array, TableError)
        if row.shape != means.shape or not np.isfinite(row).all():
            raise TableError(
                f"at: expected one row of {len(means)} finite numbers, got {row.shape}"
            )
        low = (row - means) / deviations
        low[list(axes)] -= reach
        corners = np.stack([low, low, low])
        corners[1, axes[0]] += 2 * reach
        corners[2, axes[1]] += 2 * reach
        soft = self._fitted["gates"] == "soft"
        found = partition_slice(
            self.net_.without_input_transform(),
            *(torch.from_numpy(corner) for corner in corners),
            gates="hard" if soft else "model",
            margin=0.0,
        )
        start = (means + low * deviations)[list(axes)]
        return _in_units(found, start, deviations[list(axes)])

    @takes(
        TableError,
        max_depth=whole(1),
        leaves=one_of("constant", "linear"),
        min_samples_leaf=whole(1),
        shift=flag,
    )
    def to_tree(
        self,
        X: Any,
        *,
        max_depth: int = 4,
        leaves: Literal["constant", "linear"] = "constant",
        min_samples_leaf: int = 5,
        shift: bool = True,
        columns: Sequence[str] | None = None,
    ) -> ObliqueTree:
        """A decision tree whose splits are hyperplanes of the network's gates.

        Splits are chosen greedily, as in CART, by what the network itself says of the rows and by
        the linear functions by which it says it, and then each anew while the others are held.
        Labels are not looked at. Ask `fidelity` of rows that it has not seen how far it says the
        same.

        Args:
            X: rows to choose by, (n, columns): those of training, as a rule. Of more than 20,000
                so many are drawn, the same in every call.
            max_depth: splits on a way from the root to a leaf, at most.
            leaves: "constant": a leaf says one class, or one number; "linear": it has the network's
                linear function of its region, or, where its rows lie in several, the one nearest to
                all of these; where one class is told of all its rows, it says that class.
            min_samples_leaf: rows that a leaf has at least.
            shift: let a hyperplane move along its normal, to where it splits best; else it stays
                where the gate has it.
            columns: names. Default: those of X in `fit`.

        Raises:
            TableError: it is not fitted, or X, names or an option do not fit.

        Source: "Deep networks learn features from local discontinuities in the label function"
        (ICLR 2025): a DLGN's hyperplanes move to where labels change.
        """
        names, x = self.column_names(columns), self.take_rows(X)
        classes = getattr(self, "classes_", None)
        growth = Growth(max_depth, min_samples_leaf, shift, leaves == "constant")
        planes = hyperplanes_of(self.net_, names)
        root = network_tree(self.net_, x, planes, growth, classes=classes is not None)
        return ObliqueTree(root, names, classes, planes.deviations, self)

    def _is_binary(self) -> bool:
        return len(getattr(self, "classes_", ())) == 2

    def _output_names(self) -> tuple[str, ...]:
        classes = getattr(self, "classes_", None)
        if classes is not None:
            return tuple(map(str, classes[1:] if len(classes) == 2 else classes))
        outputs = self.net_(torch.zeros(1, self.n_features_in_, dtype=torch.float64)).shape[1]
        return ("target",) if outputs == 1 else tuple(f"target {i}" for i in range(outputs))


def _column(name: str, value: Any, names: Sequence[str]) -> int:
    """The number of a column that is given by name or number."""
    if isinstance(value, str):
        return names.index(require(name, value, one_of(*names), TableError))
    return int(require(name, value, whole(0, len(names) - 1), TableError))


def _in_units(found: PartitionSlice, start: np.ndarray, scales: np.ndarray) -> PartitionSlice:
    """A slice of standardised columns in units of the data.

    Args:
        found: its coordinates are distances from the window's lower left corner.
        start: that corner.
        scales: deviations of the two columns.
    """
    normals = found.lines[:, :2] / scales
    sides = np.reshape(found.window, (2, 2)) * scales[:, None] + start[:, None]
    left, right, bottom, top = sides.ravel().tolist()
    return replace(
        found,
        lines=np.column_stack([normals, found.lines[:, 2] - normals @ start]),
        cells=tuple(cell * scales + start for cell in found.cells),
        decisions=tuple(part * scales + start for part in found.decisions),
        examples=found.examples * scales + start,
        window=(left, right, bottom, top),
    )
