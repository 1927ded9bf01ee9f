"""The strongest paths of one example: those that begin at the input, and those of any beginning.

Where layers have biases, the shortest paths of all (a bias of the last layers) are often the
strongest; what the network reads off the input then is in paths of lesser weight. So both are
listed. The paths from the input are all the paths of a network without biases, under the same
gates. Those that differ in positions alone are one group, with the exact sum over its paths.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.operations import BATCH_NORM_MODULES, WEIGHT_MODULES
from dualview.errors import PathKernelError
from dualview.explorer.explanations.budget import Budget, map_shape, shrink_factor
from dualview.path_attribution.contributions import InputContributions
from dualview.path_attribution.groups import GroupTables, PathGroup, TopPathGroups
from dualview.path_attribution.paths import TopPaths
from dualview.path_attribution.strongest_paths import PathSearch

SHIFTING = (*WEIGHT_MODULES, *BATCH_NORM_MODULES)

PATH_ROUNDING = 1e-9
"""Difference, relative to the sum of |contributions|, that rounding may make."""


def without_biases(net: GatedNetwork) -> GatedNetwork:
    """The network with the same gates, and without the weights network's biases and shifts.

    Parameters that are left as they are it shares with the network.

    >>> import dualview as dv
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)).eval()
    >>> bare = without_biases(dv.disentangle(model, kind="dlgn", seed=0))
    >>> bare(torch.zeros(1, 2)).item()
    0.0
    """
    given = net.weights_network
    apart = {id(value) for value in _shifts(given)}
    tensors = (*given.parameters(), *given.buffers())
    weights = copy.deepcopy(given, {id(t): t for t in tensors if id(t) not in apart})
    with torch.no_grad():
        for value in _shifts(weights):
            value.zero_()
    return net.with_parts(weights_network=weights)


def _shifts(weights: nn.Module) -> list[Tensor]:
    """Biases, and means that batch norm subtracts."""
    modules = (m for m in weights.modules() if isinstance(m, SHIFTING))
    given = (getattr(m, name, None) for m in modules for name in ("bias", "running_mean"))
    return [value for value in given if isinstance(value, Tensor)]


@dataclass(frozen=True)
class OutputPaths:
    """The strongest paths to one output.

    Attributes:
        from_input: of those that begin at the input; None where some constant of the network is no
            bias that could be left out, so that they cannot be told apart.
        from_anywhere: of all.
        groups: of those from the input, by channels; None where they are beyond float64.

    All are None where paths cannot be followed.
    """

    from_input: TopPaths | None = None
    from_anywhere: TopPaths | None = None
    groups: TopPathGroups | None = None


def strongest_paths(
    net: GatedNetwork,
    bare: GatedNetwork,
    x: Tensor,
    starts: Sequence[InputContributions],
    budget: Budget,
) -> list[OutputPaths]:
    """The strongest paths and groups to each of some outputs, fewer where there are fewer.

    Args:
        net: a gated network.
        bare: `without_biases(net)`.
        x: one example (1, ...).
        starts: of the outputs, which they name.
        budget: how many of each.

    Raises:
        UnsupportedOperationError: an operation whose paths cannot be followed.
    """
    own = _tops(PathSearch(bare, x), starts, budget.paths)  # one example's tables at a time
    search = PathSearch(net, x)
    every, program = _tops(search, starts, budget.paths), search.program
    del search
    tables = GroupTables(program)
    found = []
    for start, from_input, from_anywhere in zip(starts, own, every, strict=True):
        same = abs(from_input.total - start.from_input) / PATH_ROUNDING <= from_input.magnitude
        groups = _groups(tables, start, budget)
        found.append(OutputPaths(from_input if same else None, from_anywhere, groups))
    return found


def _groups(tables: GroupTables, start: InputContributions, budget: Budget) -> TopPathGroups | None:
    """Groups without their pictures' detail, which a page of many examples has no room for."""
    try:
        top = tables.top(start.output, budget.groups, against=start.against, width=budget.width)
    except PathKernelError:  # products beyond float64
        return None
    return replace(top, groups=tuple(map(partial(_shrunk, side=budget.group_side), top.groups)))


def _shrunk(group: PathGroup, side: int) -> PathGroup:
    """The group with a smaller picture, which still sums to its contribution."""
    starts = group.starts.reshape(map_shape(group.starts.shape))
    factor = shrink_factor(starts.shape, side)
    sums = starts
    for axis in (0, 1):
        sums = np.add.reduceat(sums, np.arange(0, sums.shape[axis], factor), axis=axis)
    return replace(group, starts=sums)


def _tops(search: PathSearch, starts: Sequence[InputContributions], k: int) -> list[TopPaths]:
    found = []
    for start in starts:
        count = search.top(start.output, 1, against=start.against).n_paths
        found.append(search.top(start.output, int(min(k, count)), against=start.against))
    return found
