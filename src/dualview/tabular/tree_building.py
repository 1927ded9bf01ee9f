"""From a network of a table to the tree that decides as it does.

Axes: rows on axis 0; NumPy, float64, in units of the data.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from dualview.conversion.gated_network import GatedNetwork
from dualview.tabular.growing import Candidates, Growth, Leaf, Node, grow, linear_leaf
from dualview.tabular.readings import Hyperplanes, local_maps

RIDGE = 1e-3
"""Of a leaf's linear function, beside columns of variance 1."""


def network_tree(
    net: GatedNetwork, x: Tensor, planes: Hyperplanes, growth: Growth, *, linear: bool
) -> Node:
    """The root of a tree of the network's hyperplanes.

    Args:
        net: of a table.
        x: rows to choose by (n, columns).
        planes: of the network.
        growth: how large; `merge` says that outputs are scores of classes.
        linear: whether leaves have a linear function.
    """
    rows = x.numpy()
    with torch.no_grad():
        outputs = net(x).expand(len(x), -1).numpy()
    if growth.merge:
        said = values = np.eye(outputs.shape[1])[outputs.argmax(1)]
    else:
        spreads = outputs.std(0)
        said, values = outputs / np.where(spreads > 0, spreads, 1.0), outputs
    slopes = local_maps(net, x) if linear else None

    def leaf(chosen: np.ndarray) -> Leaf:
        value = values[chosen].mean(0)
        if slopes is None:
            return Leaf(value, len(chosen))
        own = (rows[chosen], outputs[chosen], slopes[chosen])
        return Leaf(value, len(chosen), *linear_leaf(*own, planes.deviations, RIDGE))

    candidates = Candidates(
        planes.normals,
        planes.offsets,
        rows @ planes.normals.T + planes.offsets,
        np.linalg.norm(planes.normals * planes.deviations, axis=1),
    )
    return grow(candidates, said, replace(growth, merge=growth.merge and not linear), leaf)
