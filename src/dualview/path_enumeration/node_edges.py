"""The edges of one node: which entries it reads, through which weights, gates and coefficients.

There is no index arithmetic of layers here. An operation is *run* on unit vectors, its weights
replaced by labels, so that the number which arrives says which weight joins two entries: whatever
torch means by stride, padding, dilation or groups is what is listed.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, fx

from dualview.conversion.gates import apply_gate
from dualview.conversion.pooling import replay_switch
from dualview.conversion.source_lines import called, describe, module_of
from dualview.conversion.weights_graph import one_row_of_ones
from dualview.errors import UnsupportedOperationError
from dualview.path_enumeration.edges import Edge, Entry, GateUnit, Weight, coordinates_of
from dualview.path_enumeration.random_run import RandomRun, is_input


def edges_of_node(node: fx.Node, values: RandomRun) -> list[list[Edge]]:
    """The terms of each entry of `node`, in flat order."""
    if node.target is apply_gate:
        return _gate_edges(node, values)
    if node.target is replay_switch:
        return _switch_edges(node, values)
    if node.target is one_row_of_ones:
        return _ones_edges(node, values)
    return _affine_edges(_Operation(node, values))


def _call_arguments(node: fx.Node, *names: str) -> list[Any]:
    call = {**dict(zip(names, node.args, strict=False)), **node.kwargs}
    return [call[name] for name in names]


def _gate_edges(node: fx.Node, values: RandomRun) -> list[list[Edge]]:
    value, gate = _call_arguments(node, "value", "gate")
    if gate.op != "placeholder":
        raise UnsupportedOperationError(
            f"{describe(node)}: expected a gate that is an input of the weights network, got "
            f"{gate.name}. Repair: compute gates in the gating network"
        )
    shape = values.of[node.name].shape[1:]
    site = str(gate.target)
    return [
        [Edge(Entry(value.name, i), gate=GateUnit(site, coordinates_of(i, shape)))]
        for i in range(math.prod(shape))
    ]


def _ones_edges(node: fx.Node, values: RandomRun) -> list[list[Edge]]:
    """The input itself, which whoever evaluates the graph takes to be 1 everywhere."""
    return [[Edge(Entry("x", i))] for i in range(values.of[node.name].numel())]


def _switch_edges(node: fx.Node, values: RandomRun) -> list[list[Edge]]:
    """One edge from every position of the window; an example's switch turns one of them on."""
    value, switch, dims = _call_arguments(node, "value", "switch", "dims")
    shape = values.of[node.name].shape
    per_channel = math.prod(values.of[value.name].shape[-dims:])
    pooled = math.prod(shape[-dims:])
    window = values.windows[str(switch.target)](values.of[value.name].shape[-dims:])
    return [
        [
            Edge(
                Entry(value.name, position // pooled * per_channel + chosen),
                gate=GateUnit(str(switch.target), coordinates_of(position, shape[1:]), chosen),
            )
            for chosen in window[position % pooled].nonzero().flatten().tolist()
        ]
        for position in range(math.prod(shape))
    ]


class _Operation:
    """One node as a function of the data and of the weights that it reads.

    Whatever lies between it and them and is no data tensor itself (a tuple of tensors, a reshaped
    parameter) is run as a part of it.
    """

    def __init__(self, node: fx.Node, values: RandomRun) -> None:
        self.node = node
        self._values = values
        assert node.graph.owning_module is not None
        self._module = node.graph.owning_module
        self._data = set(values.data)
        self.sources: dict[fx.Node, Tensor] = {}
        self.weights: dict[str, Tensor] = {}
        self._find(node)
        self.constant = self.run({}, {})

    def _find(self, node: fx.Node) -> None:
        """Collect the data nodes and the weights that `node` reads, through what is inlined."""
        if node.op == "call_module":
            for parameter in module_of(node).parameters():
                self._note_weight(parameter)
        if node.op == "get_attr":
            self._note_weight(attrgetter(str(node.target))(self._module))
        for source in node.all_input_nodes:
            if source in self._data or is_input(source):
                self.sources[source] = self._values.of[source.name]
            elif source.op != "placeholder":
                self._find(source)

    def _note_weight(self, parameter: Any) -> None:
        name = self._values.names.get(id(parameter))
        if name is not None:
            self.weights[name] = parameter

    def run(self, data: Mapping[fx.Node, Tensor], weights: Mapping[str, Tensor]) -> Tensor:
        """The flat value of the node; data and weights that are not given are zero."""
        self._put(weights)
        return self._value(data)

    def run_on_units(self, source: fx.Node, weights: Mapping[str, Tensor]) -> Tensor:
        """(entries of source, entries of node): one entry of `source` is 1 and all others are 0."""
        self._put(weights)
        example = self.sources[source]
        units = torch.eye(example.numel(), dtype=example.dtype).view(-1, *example.shape)
        return torch.stack([self._value({source: unit}) for unit in units])

    def _put(self, weights: Mapping[str, Tensor]) -> None:
        for name, weight in self.weights.items():
            if name in weights:
                weight.copy_(weights[name])
            else:
                weight.zero_()

    def _value(self, data: Mapping[fx.Node, Tensor]) -> Tensor:
        result: Tensor = self._evaluate(self.node, data)
        return result.flatten().clone()

    def _evaluate(self, node: Any, data: Mapping[fx.Node, Tensor]) -> Any:
        """The value of a node by calling what leads to it from its sources."""
        if node in self.sources and node is not self.node:
            return data[node].clone() if node in data else torch.zeros_like(self.sources[node])
        if node.op == "get_attr":
            return attrgetter(str(node.target))(self._module)
        if not isinstance(self._values.of[node.name], Tensor | tuple | list):
            return self._values.of[node.name]  # a size
        if node.op == "placeholder":
            raise refusal(node, "it reads a gate other than by apply_gate")
        return called(
            node, *fx.map_arg((node.args, node.kwargs), lambda n: self._evaluate(n, data))
        )


def _affine_edges(operation: _Operation) -> list[list[Edge]]:
    """The terms of an operation: constant, then each weight alone, each source, each product."""
    constant = operation.constant
    terms: list[list[Edge]] = [[] for _ in constant]

    def alone(weights: Mapping[str, Tensor]) -> Tensor:
        return _difference([operation.run({}, weights)], [constant])

    for (position,), value in _nonzero(constant):
        terms[position].append(Edge(None, value))
    for name in operation.weights:
        for (position,), value, weight in _read_weights(operation, name, alone):
            terms[position].append(Edge(None, value, weight))
    for source in operation.sources:
        _check_sign(operation, source)
        weightless = operation.run_on_units(source, {})
        for (row, position), value in _nonzero(_difference([weightless], [constant])):
            terms[position].append(Edge(Entry(source.name, row), value))
        products = functools.partial(_products, operation, source, weightless)
        for name in operation.weights:
            if not _meet(operation, source, name):
                continue
            for (row, position), value, weight in _read_weights(operation, name, products):
                terms[position].append(Edge(Entry(source.name, row), value, weight))
    return terms


def _check_sign(operation: _Operation, source: fx.Node) -> None:
    """Refuse an operation that does not carry the sign of random data over."""
    data, base = _random(operation.sources[source]), operation.constant
    plus, minus = (_difference([operation.run({source: d}, {})], [base]) for d in (data, -data))
    if not torch.allclose(minus, -plus):
        raise refusal(operation.node, "it is not affine in its input")


def _meet(operation: _Operation, source: fx.Node, name: str) -> bool:
    """Whether entries of `source` are multiplied by weights of `name`: random ones leave a rest."""
    data = {source: _random(operation.sources[source])}
    weights = {name: _random(operation.weights[name])}
    plus = [operation.run(data, weights), operation.constant]
    return bool(_difference(plus, [operation.run(data, {}), operation.run({}, weights)]).any())


def _random(like: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(like.shape, generator=generator, dtype=like.dtype)


def _products(
    operation: _Operation, source: fx.Node, weightless: Tensor, weights: Mapping[str, Tensor]
) -> Tensor:
    """What each entry of `source` adds together with the weights, and with neither alone."""
    plus = [operation.run_on_units(source, weights), operation.constant]
    minus = [weightless, operation.run({}, weights)]
    return _difference(plus, minus)


def _difference(plus: Sequence[Tensor], minus: Sequence[Tensor]) -> Tensor:
    """Sum of `plus` less sum of `minus`, and 0 where that is rounding alone."""
    value = sum(plus, torch.zeros(())) - sum(minus, torch.zeros(()))
    largest = sum((part.abs() for part in (*plus, *minus)), torch.zeros(()))
    return torch.where(value.abs() > 1e-13 * largest, value, 0)


def _read_weights(
    operation: _Operation, name: str, response: Callable[[Mapping[str, Tensor]], Tensor]
) -> Iterator[tuple[tuple[int, ...], float, Weight]]:
    """(position, coefficient c, weight) of each term of `response` that holds a weight of `name`.

    With the weights replaced by the powers 0, 1, 2 of the labels k = 1, 2, 3, ..., one weight
    arrives as c, c k and c k^2. Where several arrive together (padding that repeats an entry
    within one window) the weights are tried one at a time.
    """
    shape = tuple(operation.weights[name].shape)
    labels = torch.arange(1, math.prod(shape) + 1, dtype=torch.float64).reshape(shape)
    count, first, second = (response({name: labels**power}) for power in (0, 1, 2))
    label = torch.where(count == 0, 0, first / count)
    alone = torch.isclose(first * first, count * second) & torch.isclose(label, label.round())
    alone &= (count != 0) & (label >= 0.5) & (label < labels.numel() + 0.5)
    alone |= (count == 0) & (first == 0) & (second == 0)
    if not alone.all():
        yield from _read_weights_one_by_one(name, labels, response)
        return
    numbers = (label[count != 0].round() - 1).int().tolist()
    for (position, coefficient), number in zip(_nonzero(count), numbers, strict=True):
        yield position, coefficient, Weight(name, coordinates_of(number, shape))


def _read_weights_one_by_one(
    name: str, labels: Tensor, response: Callable[[Mapping[str, Tensor]], Tensor]
) -> Iterator[tuple[tuple[int, ...], float, Weight]]:
    for number in range(labels.numel()):
        weight = Weight(name, coordinates_of(number, tuple(labels.shape)))
        only = (labels == number + 1).double()
        for position, coefficient in _nonzero(response({name: only})):
            yield position, coefficient, weight


def _nonzero(values: Tensor) -> Iterator[tuple[tuple[int, ...], float]]:
    found = values != 0
    for position, value in zip(found.nonzero().tolist(), values[found].tolist(), strict=True):
        yield tuple(position), value


def refusal(node: fx.Node, reason: str) -> UnsupportedOperationError:
    """The error for an operation that is not a sum of products."""
    return UnsupportedOperationError(
        f"{describe(node)}: it cannot be spelled out as a sum over weights and entries, since "
        f"{reason}. Repair: dv.npk_features works for any weights network"
    )
