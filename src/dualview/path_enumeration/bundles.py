"""Bundles: the paths that hold the same weights, their path features and their path values."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from dualview.arguments import optional, shape, takes
from dualview.conversion.examples import batch, gated
from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.source_lines import module_of
from dualview.errors import PathKernelError
from dualview.path_enumeration.edges import GateUnit, Weight
from dualview.path_enumeration.example_values import entry_column, evaluated_inputs, gate_column
from dualview.path_enumeration.paths import (
    LIMIT,
    PATH_LIMIT,
    Path,
    graph_of,
    refuse_more_than,
    walk,
)

Monomial = tuple[Weight, ...]


@takes(PathKernelError, net=gated, x=batch, limit=LIMIT)
def path_features(net: GatedNetwork, x: Tensor, *, limit: int = PATH_LIMIT) -> Tensor:
    """Neural path features: one number per example and bundle, whatever the weights.

    The output layer's weights belong to the path values alone, so that all outputs share the
    features: a bundle is then a path up to its last weight, whose output index is left open. That
    is so where every path to output o ends with a weight of row o (a last layer that is linear or
    a convolution, pooled or not). Elsewhere each output has bundles of its own, one output's after
    the other's. Biases are included; see `Path`.

    Args:
        net: a gated network; gates and features are those of its evaluation mode, in float64.
        x: examples, (n, ...).
        limit: most paths to enumerate.

    Returns:
        Features, (n, bundles), float64. `path_features(net, x) @ path_values(net, x.shape[1:]).T`
        is `net(x)`, flattened.

    Raises:
        TooManyPathsError: there are more than `limit` paths; the message gives the count.
        UnsupportedOperationError: an operation is not a sum over weights and entries.

    Source: arXiv 2006.10529, definitions 2.3 and 2.4.

    >>> import torch
    >>> from dualview import disentangle
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2)
    ... ).double()
    >>> net, x = disentangle(model, kind="dlgn"), torch.randn(5, 4, dtype=torch.float64)
    >>> features, values = path_features(net, x), path_values(net, (4,))
    >>> features.shape, values.shape, bool(torch.allclose(features @ values.T, net(x)))
    (torch.Size([5, 16]), torch.Size([2, 16]), True)
    """
    bundles = _bundle(net, x.shape[1:], limit)
    return features_of(bundles.paths, evaluated_inputs(net, x))


@takes(PathKernelError, net=gated, x_shape=optional(shape()), limit=LIMIT)
def path_values(
    net: GatedNetwork, x_shape: Sequence[int] | None = None, *, limit: int = PATH_LIMIT
) -> Tensor:
    """Neural path values: the product of each bundle's weights, for each output.

    Args:
        net: a gated network.
        x_shape: shape of one example. May be left out where the first layer is linear.
        limit: most paths to enumerate.

    Returns:
        Values, (outputs, bundles), float64, in the order of `path_features`. 0 where a bundle does
        not reach an output.

    Raises:
        PathKernelError: `x_shape` is needed.
        TooManyPathsError: there are more than `limit` paths; the message gives the count.
    """
    shape = _inferred_shape(net) if x_shape is None else x_shape
    bundles = _bundle(net, shape, limit)
    parameters = {
        name: parameter.detach().cpu().double().numpy()
        for name, parameter in net.weights_network.named_parameters()
    }
    values = np.zeros((len(bundles.weights), len(bundles.paths)))
    for output, of_output in enumerate(bundles.weights):
        for bundle, weights in of_output.items():
            values[output, bundle] = math.prod(
                parameters[w.parameter][w.coordinates] for w in weights
            )
    return torch.from_numpy(values)


def _inferred_shape(net: GatedNetwork) -> tuple[int, ...]:
    graph = net.weights_network.graph
    x = next(node for node in graph.nodes if node.target == "x")
    readers = [user for node in (x, *x.users) for user in node.users if user.op == "call_module"]
    for reader in readers:
        module = module_of(reader)
        if isinstance(module, nn.Linear):
            return (module.in_features,)
    raise PathKernelError(
        "x_shape: the first layer is not linear, so it does not say which shape it reads. Repair: "
        "pass the shape of one example, x_shape=(channels, height, width)"
    )


@dataclass(frozen=True)
class _Bundles:
    """Bundles of all outputs.

    `paths[b]` are the paths that make the feature of bundle b; `weights[o][b]` are its weights for
    output o, missing where it does not reach o.
    """

    paths: list[list[Path]]
    weights: list[dict[int, Monomial]]


def _bundle(net: GatedNetwork, x_shape: Sequence[int], limit: int) -> _Bundles:
    graph = graph_of(net, x_shape)
    refuse_more_than(limit, graph)
    by_output = _by_output(walk(graph), len(graph.outputs))
    return _shared_bundles(by_output) or _separate_bundles(by_output)


def share_features(all_paths: list[Path], outputs: int) -> bool:
    """Whether every output has the same path features, once its own last weight is left open."""
    return outputs == 1 or _shared_bundles(_by_output(all_paths, outputs)) is not None


def _by_output(all_paths: Iterable[Path], outputs: int) -> list[list[Path]]:
    by_output: list[list[Path]] = [[] for _ in range(outputs)]
    for path in all_paths:
        by_output[path.output].append(path)
    return by_output


def by_monomial(of_output: Iterable[Path]) -> dict[Monomial, list[Path]]:
    """Paths to one output by the weights that they hold, in any order."""
    bundles: dict[Monomial, list[Path]] = {}
    for path in of_output:
        bundles.setdefault(tuple(sorted(path.weights)), []).append(path)
    return bundles


def _separate_bundles(by_output: list[list[Path]]) -> _Bundles:
    result = _Bundles([], [{} for _ in by_output])
    for output, of_output in enumerate(by_output):
        for weights, members in by_monomial(of_output).items():
            result.weights[output][len(result.paths)] = weights
            result.paths.append(members)
    return result


def _shared_bundles(by_output: list[list[Path]]) -> _Bundles | None:
    """Bundles up to the row of the output layer's weight; None where the outputs differ there."""
    opened: list[dict[Monomial, list[Path]]] = []
    for output, of_output in enumerate(by_output):
        bundles: dict[Monomial, list[Path]] = {}
        for path in of_output:
            if not (path.weights and path.weights[-1].coordinates[:1] == (output,)):
                return None
            bundles.setdefault(_open_row(path.weights), []).append(path)
        opened.append(bundles)
    features = [{key: _feature_of(b) for key, b in bundles.items()} for bundles in opened]
    if any(feature != features[0] for feature in features[1:]):
        return None
    first = opened[0] if opened else {}
    weights = [
        {b: tuple(sorted(bundles[key][0].weights)) for b, key in enumerate(first)}
        for bundles in opened
    ]
    return _Bundles(list(first.values()), weights)


def _open_row(weights: Monomial) -> Monomial:
    """The weights with the last one's row, the output's index, replaced by -1."""
    *others, last = weights
    return tuple(sorted([*others, Weight(last.parameter, (-1, *last.coordinates[1:]))]))


def _feature_of(bundle: list[Path]) -> Counter[tuple[object, ...]]:
    return Counter((path.source, path.gates, path.coefficient) for path in bundle)


def features_of(bundles: Sequence[list[Path]], inputs: Mapping[str, Tensor]) -> Tensor:
    """Features (n, bundles) under the inputs, gates and switches of n examples."""
    every = [path for bundle in bundles for path in bundle]
    met = [(path.source, *path.gates) for path in every]
    number = {key: i for i, key in enumerate(dict.fromkeys([None, *itertools.chain(*met)]))}
    longest = max(map(len, met), default=0)
    rows = [[number[key] for key in keys] + [0] * (longest - len(keys)) for keys in met]
    factors = torch.tensor(rows, dtype=torch.long)
    table = torch.stack([_column(key, inputs) for key in number], dim=1)  # (n, columns)
    terms = torch.tensor([path.coefficient for path in every], dtype=torch.float64)
    terms = terms.repeat(len(table), 1)  # (n, paths)
    for step in range(longest):
        terms *= table[:, factors[:, step]]
    bundle_of = [b for b, bundle in enumerate(bundles) for _ in bundle]
    features = torch.zeros(len(table), len(bundles), dtype=torch.float64)
    return features.index_add_(1, torch.tensor(bundle_of, dtype=torch.long), terms)


def _column(key: GateUnit | tuple[int, ...] | None, inputs: Mapping[str, Tensor]) -> Tensor:
    """What a gate, or an entry of the input, is for n examples; None: the constant 1."""
    if key is None:
        return torch.ones(len(inputs["x"]), dtype=torch.float64)
    if isinstance(key, GateUnit):
        return gate_column(key, inputs)
    return entry_column(inputs["x"], key).double()
