"""An oracle for kernels: the joint second moments of every scalar entry of every node.

For two examples a and b, C[u, v] is the matrix of E[u_a v_b] over the entries of the nodes u and v,
weights independent with zero mean. A node that is linear in its inputs multiplies C by matrices,
found by running it on unit vectors; a weight layer of weights w_k adds sum_k var_k B_k C B_k^T, B_k
found by running it with the k-th weight 1 and all others 0. Beside the nodes stands the constant 1,
so that what an operation adds before the first weight layer is one more matrix; behind it,
constants are left out. No rule of the library is used. The NTK is carried along the same way.
Everything is dense, so it is for tiny networks.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call, vmap

from dualview.conversion.operations import BATCH_NORM_MODULES
from dualview.conversion.verification import value_kinds
from dualview.conversion.weights_graph import one_row_of_ones
from dualview.path_kernel.parameters import fan_ins
from dualview.path_kernel.random_weights import kernel_network

WEIGHT_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
WEIGHT_LAYERS += (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
CONSTANT = fx.Graph().placeholder("constant")
"""Stands for the constant 1 among the nodes."""


class WeightLayers:
    """A network's weight layers, each weight's B_k; the same for all examples."""

    def __init__(self, net, *, normalise: bool) -> None:
        self.network = kernel_network(net)
        self.fan_ins = fan_ins(self.network) if normalise else None
        self._reached: dict[fx.Node, list[tuple[Tensor, Tensor, Tensor]]] = {}

    def variance(self, node: fx.Node) -> float:
        """Of each weight of the layer at `node`."""
        return 1 / self.fan_ins[f"{node.target}.weight"] if self.fan_ins else 1.0

    def reached(self, node: fx.Node, shape: torch.Size) -> list[tuple[Tensor, Tensor, Tensor]]:
        """What each weight at `node` adds to few entries from few of the input, of `shape`.

        Weights that reach as many together: entries of the node (weights, r), of the input
        (weights, c), and the matrices between them (weights, r, c).
        """
        if node in self._reached:
            return self._reached[node]
        module = copy.deepcopy(self.network.get_submodule(str(node.target)))
        basis = torch.eye(shape.numel(), dtype=torch.float64).reshape(-1, *shape)
        count = module.weight.numel()
        units = torch.eye(count, dtype=torch.float64).reshape(count, *module.weight.shape)
        found = defaultdict(list)
        with torch.no_grad():
            if module.bias is not None:
                module.bias.zero_()
            of_unit = vmap(lambda weight: functional_call(module, {"weight": weight}, (basis,)))
            for some in units.split(64):
                for b in of_unit(some).reshape(len(some), len(basis), -1).mT:
                    rows, columns = (b.any(axis).nonzero()[:, 0] for axis in (1, 0))
                    alike = found[len(rows), len(columns)]
                    alike.append((rows, columns, b[rows][:, columns]))
        groups = [tuple(map(torch.stack, zip(*alike, strict=True))) for alike in found.values()]
        self._reached[node] = groups
        return groups


class SecondMoments:
    """One pair of examples (each with a batch axis of 1) and its gates."""

    def __init__(self, net, layers: WeightLayers, left: Tensor, right: Tensor, *, hard) -> None:
        self.network, self.layers = layers.network, layers
        sides = [net.gates_and_switches(x, hard=hard) for x in (left, right)]
        names = [n for n in self.network.graph.nodes if n.op == "placeholder"]
        self.given = [
            dict(zip(names, (x, *gates, *switches), strict=True))
            for x, (gates, switches) in zip((left, right), sides, strict=True)
        ]
        self.shapes = self._shapes()
        self.done: list[fx.Node] = []
        self.moments: dict[tuple[fx.Node, fx.Node], Tensor] = {}
        self.tangents: dict[tuple[fx.Node, fx.Node], Tensor] = {}
        one = torch.ones(1, 1, dtype=torch.float64)
        self._store(CONSTANT, {}, one, torch.zeros_like(one))
        self.behind: set[fx.Node] = set()

    def run(self) -> tuple[float, float]:
        """(NPK, NTK) of the first output coordinate."""
        kinds = value_kinds(self.network.graph)
        for node in self.network.graph.nodes:
            if node.op == "output":
                last = node.args[0]
                return float(self.moments[last, last][0, 0]), float(self.tangents[last, last][0, 0])
            if node not in self.shapes or self._is_given(node):
                continue
            if node.op == "placeholder":
                self._known(node, [given[node].flatten() for given in self.given])
            elif node.target is one_row_of_ones:
                (x,) = node.all_input_nodes
                self._known(node, [torch.ones_like(given[x]).flatten() for given in self.given])
            elif node.op == "call_module" and isinstance(self._module(node), WEIGHT_LAYERS):
                self._weight_layer(node)
            elif kinds[node] == "data":
                self._linear(node)
        raise AssertionError

    def _is_given(self, node: fx.Node) -> bool:
        return node.op == "get_attr" or (node.op == "placeholder" and node.name != "x")

    def _module(self, node: fx.Node) -> nn.Module:
        return self.network.get_submodule(str(node.target))

    def _shapes(self) -> dict[fx.Node, Any]:
        shapes: dict[fx.Node, Any] = {}
        given = self.given[0]

        class Recorder(fx.Interpreter):
            def run_node(self, n):
                value = super().run_node(n)
                if isinstance(value, Tensor):
                    shapes[n] = value.shape[1:]
                return value

        Recorder(self.network).run(*given.values())
        return shapes

    def _store(self, node, crosses, moment, tangent) -> None:
        for other, (first, second) in crosses.items():
            self.moments[node, other], self.tangents[node, other] = first
            self.moments[other, node], self.tangents[other, node] = second
        self.moments[node, node], self.tangents[node, node] = moment, tangent
        self.done.append(node)

    def _known(self, node: fx.Node, values: list[Tensor]) -> None:
        """A node of which each example's value is known: it is so many times the constant 1."""
        a, b = (value[:, None] for value in values)
        crosses = {
            other: tuple(
                (a @ table[CONSTANT, other], table[other, CONSTANT] @ b.T)
                for table in (self.moments, self.tangents)
            )
            for other in self.done
        }
        crosses = {other: tuple(zip(*pairs, strict=True)) for other, pairs in crosses.items()}
        self._store(node, crosses, a @ b.T, torch.zeros(len(a), len(b), dtype=torch.float64))

    def _inputs(self, node: fx.Node) -> list[fx.Node]:
        """The tensors that `node` is computed from, through tuples of tensors."""
        found = []
        for source in node.all_input_nodes:
            found += [source] if source in self.done else self._inputs(source)
        return list(dict.fromkeys(found))

    def _linear(self, node: fx.Node) -> None:
        inputs = self._inputs(node)
        maps = [{u: self._matrix(node, u, given) for u in inputs} for given in self.given]
        if self.behind.isdisjoint(inputs):
            for of_side, given in zip(maps, self.given, strict=True):
                of_side[CONSTANT] = self._shift(node, inputs[0], given)
            inputs = [*inputs, CONSTANT]
        else:
            self.behind.add(node)
        crosses = {}
        for other in self.done:
            first = tuple(
                sum(maps[0][u] @ table[u, other] for u in inputs)
                for table in (self.moments, self.tangents)
            )
            second = tuple(
                sum(table[other, u] @ maps[1][u].T for u in inputs)
                for table in (self.moments, self.tangents)
            )
            crosses[other] = (first, second)
        own = [
            sum(maps[0][u] @ table[u, v] @ maps[1][v].T for u in inputs for v in inputs)
            for table in (self.moments, self.tangents)
        ]
        self._store(node, crosses, *own)

    def _matrix(self, node: fx.Node, source: fx.Node, given) -> Tensor:
        """Matrix (entries of node, entries of source) of the node's dependence on one input."""
        size = int(torch.tensor(self.shapes[source]).prod()) if self.shapes[source] else 1
        basis = torch.eye(size, dtype=torch.float64).reshape(size, *self.shapes[source])
        shift = self._call(node, source, given, torch.zeros_like(basis))
        return (self._call(node, source, given, basis) - shift).reshape(size, -1).T

    def _shift(self, node: fx.Node, source: fx.Node, given) -> Tensor:
        """The node where all that it depends on is 0, as a column."""
        zero = torch.zeros(1, *self.shapes[source], dtype=torch.float64)
        return self._call(node, source, given, zero).reshape(-1, 1)

    def _call(self, node: fx.Node, source: fx.Node, given, rows: Tensor) -> Tensor:
        """The node for rows of values of `source`, all else that depends on the example 0."""

        def value(n: fx.Node, batch: Tensor) -> Any:
            if n is source:
                return batch
            if n in self.done:
                return torch.zeros(len(batch), *self.shapes[n], dtype=torch.float64)
            if n.op == "get_attr":
                return attrgetter(str(n.target))(self.network)
            if self._is_given(n):
                return given[n].expand(len(batch), *self.shapes[n])
            return call(n, batch)

        def call(n: fx.Node, batch: Tensor) -> Any:
            args = fx.map_arg(n.args, lambda m: value(m, batch))
            kwargs = fx.map_arg(n.kwargs, lambda m: value(m, batch))
            if n.op == "call_module":
                return self._module(n)(*args, **kwargs)
            if n.op == "call_method":
                return getattr(args[0], str(n.target))(*args[1:], **kwargs)
            return n.target(*args, **kwargs)

        with torch.no_grad():
            return call(node, rows)

    def _weight_layer(self, node: fx.Node) -> None:
        (source,) = node.all_input_nodes
        self.behind.add(node)
        variance = self.layers.variance(node)
        entries = self.shapes[node].numel()
        moment, tangent = torch.zeros(2, entries, entries, dtype=torch.float64)
        tables = torch.stack([t[source, source] for t in (self.moments, self.tangents)])
        for rows, columns, b in self.layers.reached(node, self.shapes[source]):
            one, other = b @ tables[:, columns[:, :, None], columns[:, None]] @ b.mT
            at = rows[:, :, None], rows[:, None]
            moment.index_put_(at, variance * one, accumulate=True)
            tangent.index_put_(at, variance * other + one, accumulate=True)
        zero = {
            other: tuple(
                (m := torch.zeros(n, k, dtype=torch.float64), m)
                for n, k in (
                    (len(moment), len(self.moments[other, other])),
                    (len(self.moments[other, other]), len(moment)),
                )
            )
            for other in self.done
        }
        self._store(node, zero, moment, tangent)


def second_moments(net, x1: Tensor, x2: Tensor, *, normalise=True, hard=False):
    """(NPK, NTK) between all pairs, by the oracle; net is in evaluation mode, float64.

    Of examples with themselves, each pair is computed once.
    """
    assert not any(isinstance(m, BATCH_NORM_MODULES) for m in kernel_network(net).modules())
    layers = WeightLayers(net, normalise=normalise)
    found = torch.empty(2, len(x1), len(x2), dtype=torch.float64)
    for i, a in enumerate(x1):
        for j, b in enumerate(x2):
            if x1 is x2 and j < i:
                found[:, i, j] = found[:, j, i]
                continue
            pair = SecondMoments(net, layers, a[None], b[None], hard=hard)
            found[:, i, j] = torch.tensor(pair.run(), dtype=torch.float64)
    return found.unbind()
