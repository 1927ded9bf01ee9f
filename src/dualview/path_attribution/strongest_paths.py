"""The strongest paths of one example, exactly, without listing all paths.

In a convolutional network a path is one path, not a bundle: it picks a kernel offset (hence a
position) at every layer, and paths that share their weights are listed one by one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor

from dualview.arguments import byte_count, require, whole
from dualview.conversion.example_size import ExampleSize, refuse_beyond
from dualview.conversion.gated_network import GatedNetwork
from dualview.errors import PathKernelError
from dualview.path_attribution.evaluation import CELLS, output_total
from dualview.path_attribution.example import checked_against, checked_output, one_example
from dualview.path_attribution.paths import (
    NodeKind,
    Path,
    PathNode,
    TopPaths,
    WholeNumber,
    exact_sum,
    product,
    whole_or_float,
)
from dualview.path_attribution.program import program_of
from dualview.path_attribution.routes import one_route_each
from dualview.path_attribution.search import CONSTANT, BestPaths, Edge
from dualview.path_attribution.steps import Input, Label, Program, Weighted

PRODUCT = 1e-150
"""Numbers between this and its inverse have products within float64."""


def top_paths(
    net: GatedNetwork,
    x: Tensor,
    output: int,
    k: int = 20,
    *,
    against: int | None = None,
    memory: float = 4e9,
) -> TopPaths:
    """The k paths with the largest |feature * value| to one output, exactly.

    A path runs from an input coordinate, or from a bias, to the output, and contributes
    feature * value = (input * gates) * (weights). All contributions sum to the output. Gates are
    fixed at those that the network computes for `x` in evaluation mode, soft or hard, and so are
    max pools' choices. In a convolutional network paths are single ones, not bundles of paths that
    share their weights: every node is a (channel, position). An identity skip is an edge; batch
    norm is a scale, and a shift at which paths begin. Routes between two nodes that differ in the
    cells of pools alone are one path, with the sum of their coefficients.

    Found by dynamic programming over the layers, then best-first search: the cost is that of a few
    forward passes, whatever the number of paths. To ask for several outputs of one example, use
    `PathSearch`.

    Args:
        net: a gated network.
        x: one example, (1, ...) or (...).
        output: flat position in the network's output: the class.
        k: how many paths. Paths that contribute exactly 0 (hard gates make many) are never listed,
            so that fewer than k come back where fewer are not 0.
        against: another output, to be subtracted: the paths are then those to either output, and
            those to this one count with the opposite sign.
        memory: bound, in bytes, on what is held beside parameters and input: tables of every
            value of the network in float64, and the weights in it. More is refused beforehand.

    Returns:
        The paths, largest magnitude first, with the output's value and the share they cover. Paths
        whose magnitudes differ by rounding alone (1e-13 of their size) may come in either order.

    Raises:
        PathKernelError: k is larger than the number of paths (the message gives it), the tables
            take more than `memory`, or an argument is not what it should be.
        UnsupportedOperationError: an operation whose paths cannot be followed; the message names
            it.

    Source: arXiv 2006.10529, section 2 (path feature and path value).

    >>> import torch
    >>> import dualview as dv
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Linear(2, 3, bias=False), torch.nn.ReLU(), torch.nn.Linear(3, 2, bias=False)
    ... )
    >>> net = dv.disentangle(model, kind="dlgn", seed=0)
    >>> top = top_paths(net, torch.tensor([1.0, 2.0]), output=1, k=6)
    >>> [node.layer for node in top.paths[0].nodes]
    ['input', '0', 'gate_1', '2']
    >>> top.n_paths, round(top.share_of_magnitude, 6)
    (6, 1.0)
    >>> bool(abs(top.sum - net(torch.tensor([[1.0, 2.0]]))[0, 1]) < 1e-6)
    True
    """
    return PathSearch(net, x, memory=memory).top(output, k, against=against)


class PathSearch:
    """The tables of one example, from which the strongest paths to every output are read.

    Args:
        net: a gated network.
        x: one example, (1, ...) or (...).
        memory: as `top_paths`.

    Attributes:
        program: the weights network of the example as steps, every path once.

    Raises:
        PathKernelError: x is not one finite example that the network takes, or its tables take more
            than `memory`.
        UnsupportedOperationError: an operation whose paths cannot be followed.

    >>> import torch
    >>> import dualview as dv
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    >>> search = PathSearch(dv.disentangle(model, seed=0), torch.ones(2))
    >>> [search.top(output, k=1).output for output in range(2)]
    [0, 1]
    """

    def __init__(self, net: GatedNetwork, x: Tensor, *, memory: float = 4e9) -> None:
        program, self._totals = program_of(one_example(net, x, allowed=within(net, memory)))
        self.program = one_route_each(program)
        self._magnitudes = output_total(self.program, "magnitude")
        self._counts = output_total(self.program, "count")
        self._best = BestPaths(self.program)

    def top(self, output: int, k: int = 20, *, against: int | None = None) -> TopPaths:
        """The k strongest paths to `output`; see `top_paths`."""
        k = require("k", k, whole(1), PathKernelError)
        entry = checked_output(output, self.program.shape)
        if against is None:
            _check_k(k, _count(*self._counts, entry), f"output {entry}")
            return self._top(entry, k)
        other = checked_against(against, entry, self.program.shape)
        counts = [_count(*self._counts, one) for one in (entry, other)]
        _check_k(k, sum(counts), f"outputs {entry} and {other}")
        first, second = self._top(entry, k), self._top(other, k)
        return _difference(first, second, k, WholeNumber(sum(counts)))

    def _top(self, entry: int, k: int) -> TopPaths:
        """The k strongest to one output; fewer where there are fewer, or none."""
        count = _count(*self._counts, entry)
        found = [_path(self.program, edges) for edges in self._best.find(entry, k)]
        found = [path for path in found if path.contribution]  # not below what float64 holds
        found.sort(key=lambda path: -abs(path.contribution))
        return TopPaths(
            output=entry,
            paths=tuple(found),
            total=float(self._totals[entry]),
            magnitude=whole_or_float(float(self._magnitudes[0][entry]), self._magnitudes[1]),
            n_paths=count,
        )


_SECONDS = 2e-9
"""For a multiplication by a weight: sums and maxima over all paths; on one core."""


def within(net: GatedNetwork, memory: float) -> Callable[[ExampleSize], None]:
    """Refuses an example whose tables hold more than `memory`.

    They hold every value twice, as the network computes it and as the sum over its paths, with the
    gates between; and the weights, with their logarithms of one layer.
    """
    bound = require("memory", memory, byte_count, PathKernelError)

    def check(size: ExampleSize) -> None:
        weights = [p.numel() for p in net.weights_network.parameters()]
        numbers = 2.5 * size.values + 2 * size.gates + 2 * sum(weights) + max(weights, default=0)
        numbers += 2 * CELLS  # what a layer reads, in blocks
        seconds = _SECONDS * size.products
        refuse_beyond(bound, 8 * numbers, seconds, PathKernelError, what="the tables of all values")

    return check


def _count(counts: np.ndarray, exponent: int, entry: int) -> WholeNumber:
    return WholeNumber(int(counts[entry]) << exponent)


def _difference(first: TopPaths, second: TopPaths, k: int, count: WholeNumber) -> TopPaths:
    """The k strongest paths to either of two outputs, of which the second is subtracted."""
    paths = sorted(
        (*first.paths, *(path.negated for path in second.paths)),
        key=lambda path: -abs(path.contribution),
    )
    return TopPaths(
        output=first.output,
        paths=tuple(paths[:k]),
        total=first.total - second.total,
        magnitude=exact_sum((first.magnitude, second.magnitude)),
        n_paths=count,
        against=second.output,
    )


def _check_k(k: int, count: int, what: str) -> None:
    if not count:
        raise PathKernelError(f"{what}: no path leads to it, so it is 0 for any input")
    if k > count:
        raise PathKernelError(
            f"k: expected at most {count:d}, the number of paths to {what}, got {k}. "
            f"Repair: k={count:d} lists all that are not 0"
        )


def _path(program: Program, edges: list[Edge]) -> Path:
    """A path's stops, and the products of what it met."""
    nodes = [_start(program, edges[0])]
    learnt = edges[0].source == CONSTANT and edges[0].learnt
    features = [] if learnt else [nodes[0].factor]
    values = [nodes[0].factor] if learnt else []
    coefficients: list[float] = []
    if edges[0].source == CONSTANT:
        edges = edges[1:]
    for edge in edges:
        step = program.steps[edge.step]
        if isinstance(step, Weighted) or step.label.kind == "gate":
            kind: NodeKind = "weights" if isinstance(step, Weighted) else "gate"
            nodes.append(_node(step.label, edge.at, kind, edge.factor))
        else:
            coefficients.append(edge.factor)
        (values if edge.learnt else features).append(edge.factor)
    feature, value = product(features), product(values)
    whole = product((*features, *values))
    if all(PRODUCT < abs(part) < 1 / PRODUCT for part in (feature, value)):
        whole = feature * value  # to the last digit, as it is said to be
    return Path(tuple(nodes), whole, feature, value, product(coefficients))


def _start(program: Program, first: Edge) -> PathNode:
    if first.source == CONSTANT:
        return _node(program.steps[first.step].label, first.at, "bias", first.factor)
    source = program.steps[first.source]
    assert isinstance(source, Input)
    return _node(source.label, first.entry, "input", float(source.values[first.entry]))


def _node(label: Label, entry: int, kind: NodeKind, factor: float) -> PathNode:
    channel, *position = label.coordinates(entry) or (0,)
    return PathNode(label.layer, kind, channel, tuple(position), factor)
