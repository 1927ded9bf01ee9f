"""All paths of one example, listed one by one by the oracle, which shares no code with the search.

The oracle lists routes, entry by entry; those which stop at the same weights, gates and entries are
one path here, with its contribution to one output.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from dualview import GatedNetwork
from dualview.path_attribution.paths import Path
from dualview.path_attribution.strongest_paths import PathSearch
from dualview.path_enumeration.bundles import features_of
from dualview.path_enumeration.edges import Entry, ScalarGraph, coordinates_of
from dualview.path_enumeration.example_values import evaluated_inputs
from dualview.path_enumeration.paths import Path as OraclePath
from dualview.path_enumeration.paths import graph_of, refuse_more_than

Key = tuple[object, ...]


@dataclass(frozen=True)
class Listed:
    """A path of the oracle: where it begins and which gates it passes, and what it adds."""

    key: Key
    contribution: float
    feature: float
    value: float


def listed_paths(
    net: GatedNetwork, x: torch.Tensor, output: int, limit: int = 20_000
) -> list[Listed]:
    """Every path to `output` for the example x (1, ...), 0 contributions included, each once."""
    graph = graph_of(net, x.shape[1:])
    refuse_more_than(limit, graph)
    every = list(_walk(graph, output))
    features = features_of([[path] for path, _ in every], evaluated_inputs(net, x))[0].tolist()
    parameters = dict(net.weights_network.named_parameters())
    routes: defaultdict[Key, list[Listed]] = defaultdict(list)
    for (path, stops), feature in zip(every, features, strict=True):
        factors = [float(parameters[w.parameter][w.coordinates].detach()) for w in path.weights]
        value = math.prod(factors)
        gates = tuple((g.site, g.coordinates) for g in path.gates if g.chosen is None)
        found = Listed((path.source, gates), feature * value, feature, value)
        routes[path.weights, stops].append(found)
    return [_one_path(found) for found in routes.values()]


def _one_path(routes: list[Listed]) -> Listed:
    """A path from its routes, which differ in the fixed maps between its stops alone."""
    contribution, feature = (
        math.fsum(getattr(r, name) for r in routes) for name in ("contribution", "feature")
    )
    return Listed(routes[0].key, contribution, feature, routes[0].value)


def _walk(graph: ScalarGraph, output: int) -> Iterator[tuple[OraclePath, Key]]:
    """Every route to an output as the oracle's path, with the entries that it stops at."""
    stack: list[tuple[Entry, Key, OraclePath]]
    stack = [(graph.outputs[output], (), OraclePath(output, None, (), (), 1.0))]
    while stack:
        entry, stops, path = stack.pop()
        if entry.node == "x":
            source = coordinates_of(entry.position, graph.input_shape)
            yield replace(path, source=source), (entry, *stops)
            continue
        for edge in graph.edges[entry]:
            gated = edge.gate is not None and edge.gate.chosen is None
            stop = edge.source is None or edge.weight is not None or gated
            further = (
                (entry, *stops) if stop else stops,
                OraclePath(
                    output,
                    None,
                    path.weights if edge.weight is None else (edge.weight, *path.weights),
                    path.gates if edge.gate is None else (edge.gate, *path.gates),
                    path.coefficient * edge.coefficient,
                ),
            )
            if edge.source is None:
                yield further[1], further[0]
            else:
                stack.append((edge.source, *further))


def key_of(path: Path) -> Key:
    """The same key of a path that was searched for."""
    start = path.start
    source = (start.channel, *start.position) if start.kind == "input" else None
    units = tuple((g.layer, (g.channel, *g.position)) for g in path.gated_units)
    return source, units


def by_key(found: list[tuple[Key, float]]) -> dict[Key, list[float]]:
    """Contributions of the paths with each key, sorted."""
    groups: defaultdict[Key, list[float]] = defaultdict(list)
    for key, contribution in found:
        groups[key].append(contribution)
    return {key: sorted(values) for key, values in groups.items()}


def centred(model: nn.Module) -> nn.Module:
    """Batch norm means set to 0: the oracle has a path of its own for the mean, the search none."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.zero_()
    return model


def assert_same_paths(net: GatedNetwork, x: torch.Tensor, output: int = 0, limit: int = 20_000):
    """All paths that are searched for are all that are listed; returns the search's result."""
    expected = listed_paths(net, x, output, limit)
    search = PathSearch(net, x)
    top = search.top(output, int(search.top(output, 1).n_paths))
    live = [path for path in expected if path.contribution != 0]
    found = [(key_of(path), path) for path in top.paths]
    for name in ("contribution", "feature", "value"):
        got = by_key([(key, getattr(path, name)) for key, path in found])
        want = by_key([(path.key, getattr(path, name)) for path in live])
        assert {k: len(v) for k, v in got.items()} == {k: len(v) for k, v in want.items()}
        pairs = [pair for key in want for pair in zip(got[key], want[key], strict=True)]
        np.testing.assert_allclose(*np.array(pairs).reshape(-1, 2).T, rtol=1e-9)
    magnitudes = [abs(path.contribution) for path in top.paths]
    assert magnitudes == sorted(magnitudes, reverse=True)
    assert math.isclose(top.magnitude, math.fsum(abs(p.contribution) for p in live), rel_tol=1e-9)
    with torch.no_grad():
        logit = float(net(x).reshape(-1)[output])
    assert abs(top.total - logit) <= 1e-10 * (abs(logit) + 1e-3 * top.magnitude)
    assert abs(top.sum - top.total) <= 1e-10 * (1e-300 + top.magnitude)
    if not any("switch" in str(node.target) for node in net.weights_network.graph.nodes):
        assert top.n_paths == len(expected)
    return top
