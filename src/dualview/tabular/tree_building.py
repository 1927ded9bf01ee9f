"""From a network of a table to the tree that decides as it does.

Axes: rows on axis 0; NumPy, float64, in units of the data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dualview.conversion.gated_network import GatedNetwork
from dualview.tabular.growing import (
    Candidates,
    Growth,
    Leaf,
    Node,
    count_leaves,
    grow,
    linear_leaf,
    simplified,
)
from dualview.tabular.readings import Hyperplanes, local_maps
from dualview.tabular.refining import Refining

RIDGE = 1e-3
"""Of a leaf's linear function, beside columns of variance 1."""

SHARES = (1.0, 0.3)
"""Of what the network says in the guide of each tree, beside its linear functions."""

COMPONENTS = 16
"""Directions of the linear functions, those in which they differ most, that a guide has."""

MOST_ROWS = 20_000
"""Of more rows so many, drawn at random, make the tree: it is not better for more of them."""


@dataclass(frozen=True, eq=False)
class _Known:
    """What the network says of the rows that a tree is made of.

    Attributes:
        rows: (n, columns).
        outputs: (n, outputs) of the network.
        told: (n, outputs): its class one-hot, or predictions in standard deviations.
        values: (n, outputs) what the mean of a leaf is taken of.
        slopes: (n, outputs, columns) of its linear function at each row.
        classes: whether outputs are scores of classes.
    """

    rows: np.ndarray
    outputs: np.ndarray
    told: np.ndarray
    values: np.ndarray
    slopes: np.ndarray
    classes: bool


def network_tree(
    net: GatedNetwork, x: Tensor, planes: Hyperplanes, growth: Growth, *, classes: bool
) -> Node:
    """The root of a tree of the network's hyperplanes, that of several which errs least.

    Args:
        net: of a table.
        x: rows to choose by (n, columns); of more than `MOST_ROWS` so many are drawn.
        planes: of the network.
        growth: how large.
        classes: whether outputs are scores of classes.
    """
    if len(x) > MOST_ROWS:
        x = x[np.sort(np.random.default_rng(0).permutation(len(x))[:MOST_ROWS])]
    known = _known(net, x, classes)
    candidates = Candidates(
        planes.normals,
        planes.offsets,
        known.rows @ planes.normals.T + planes.offsets,
        np.linalg.norm(planes.normals * planes.deviations, axis=1),
    )
    leaf = _leaf_of(known, planes.deviations, growth.constant)
    refining = Refining(candidates, growth, leaf, _cost_of(known))
    found: list[tuple[float, int, int, Node]] = []
    for share in SHARES:
        guide = _guide(known, planes.deviations, share)
        root, error = refining.refined(grow(candidates, known.told, guide, growth, leaf))
        root = simplified(root) if classes else root
        found.append((error, count_leaves(root), len(found), root))
    return min(found, key=lambda entry: entry[:3])[3]


def _known(net: GatedNetwork, x: Tensor, classes: bool) -> _Known:
    with torch.no_grad():
        outputs = net(x).expand(len(x), -1).numpy()
    if classes:
        told = values = np.eye(outputs.shape[1])[outputs.argmax(1)]
    else:
        spreads = outputs.std(0)
        told, values = outputs / np.where(spreads > 0, spreads, 1.0), outputs
    return _Known(x.numpy(), outputs, told, values, local_maps(net, x), classes)


def _guide(known: _Known, deviations: np.ndarray, share: float) -> np.ndarray:
    """What splits are chosen by (n, numbers): what the network says, and its linear functions.

    Both have variance 1 as a whole; of the functions of classes only differences count, and all
    are told by their main components.
    """
    if share == 1:
        return known.told
    centre = known.rows.mean(0)
    heights = known.outputs - np.einsum("noc,nc->no", known.slopes, known.rows - centre)
    functions = np.concatenate([known.slopes * deviations, heights[:, :, None]], axis=2)
    if known.classes:
        functions = functions - functions.mean(1, keepdims=True)
    functions = functions[:, 1:] if functions.shape[1] == 2 and known.classes else functions
    functions = _of_variance_one(functions.reshape(len(functions), -1))
    parts = [share * _of_variance_one(known.told), (1 - share) * _main_components(functions)]
    return np.concatenate(parts, axis=1)


def _main_components(values: np.ndarray) -> np.ndarray:
    """Centred rows (n, numbers) in the directions in which they differ most, (n, COMPONENTS)."""
    if min(values.shape) <= COMPONENTS:
        return values
    from sklearn.utils.extmath import randomized_svd

    left, sizes, _ = randomized_svd(values, COMPONENTS, n_iter=3, random_state=0)
    return left * sizes


def _of_variance_one(values: np.ndarray) -> np.ndarray:
    values = values - values.mean(0)
    size = float(np.sqrt((values**2).sum(1).mean()))
    return values / (size or 1.0)


def _leaf_of(known: _Known, deviations: np.ndarray, constant: bool) -> Callable[[np.ndarray], Leaf]:
    def leaf(chosen: np.ndarray) -> Leaf:
        value = known.values[chosen].mean(0)
        if constant:
            return Leaf(value, len(chosen))
        own = (known.rows[chosen], known.outputs[chosen], known.slopes[chosen])
        return Leaf(value, len(chosen), *linear_leaf(*own, deviations, RIDGE))

    return leaf


def _cost_of(known: _Known) -> Callable[[Leaf, np.ndarray], np.ndarray]:
    """Of classes whether another one is said, of numbers the squared distance."""
    spreads = known.outputs.std(0)
    spreads = np.where(spreads > 0, spreads, 1.0)
    wanted = known.outputs.argmax(1)

    def cost(leaf: Leaf, rows: np.ndarray) -> np.ndarray:
        said = leaf.says(known.rows[rows])
        if known.classes:
            return (said.argmax(1) != wanted[rows]).astype(float)
        return (((said - known.outputs[rows]) / spreads) ** 2).sum(1)

    return cost
