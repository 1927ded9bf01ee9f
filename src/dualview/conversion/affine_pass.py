"""An affine network run forwards, then backwards, with nothing held but what is still to be read.

Where gates, switches and multipliers are constants, every operation is affine in what it reads, so
that its derivative does not depend on its argument. Backwards, each operation is therefore met at
an argument of zeros, made when it is needed: no activation is kept, and the derivative of one
number of a deep network of large images takes the memory of a few of its layers.

A *cotangent* is the derivative of one number (of several: axis 0) in a value, of its structure and
shapes; None stands for 0.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import grad as transposed
from torch.utils import _pytree as pytree

from dualview.conversion.gates import apply_gate
from dualview.conversion.operations import BATCH_NORM_MODULES
from dualview.conversion.source_lines import called, module_of
from dualview.conversion.spellings import functional, key_at

AffineCall = Callable[[fx.Node, Any, Any], Any]
"""Calls what a node calls, with arguments and options."""

_CONVOLUTIONS: dict[type[nn.Module], Callable[..., Tensor]] = {
    nn.Conv1d: transposed.conv1d_input,
    nn.Conv2d: transposed.conv2d_input,
    nn.Conv3d: transposed.conv3d_input,
}


class AffinePass:
    """One run of an affine network.

    Args:
        network: nodes on the way from `first` on are affine in it.
        arguments: of the network.
        first: the node whose value is taken for the variable.
        call: calls what a node calls.
        module: gives what a node of `call_module` calls; default: the network's own.
        keep: nodes whose values are kept.
        start: in place of the value of `first`.

    Attributes:
        result: the network's output.
        kept: the values asked for.
        data: the nodes on the way, in order, and the shapes of their values (meta tensors).
    """

    def __init__(
        self,
        network: fx.GraphModule,
        arguments: tuple[Any, ...],
        first: fx.Node,
        *,
        call: AffineCall = called,
        module: Callable[[fx.Node], Any] = module_of,
        keep: Collection[fx.Node] = (),
        start: Tensor | None = None,
    ) -> None:
        self.network = network
        self.first = first
        self.data: dict[fx.Node, Any] = {}
        self.kept: dict[fx.Node, Any] = {}
        self._constants: dict[fx.Node, Any] = {}
        self._call = call
        self._module = module
        self._start = start
        self.result: Any = self._forward(arguments, frozenset(keep))

    def _forward(self, arguments: tuple[Any, ...], keep: frozenset[fx.Node]) -> Any:
        given, values = iter(arguments), dict[fx.Node, Any]()
        last = last_readers(self.network.graph)
        for node in self.network.graph.nodes:
            if node.op == "output":
                return fx.map_arg(node.args[0], lambda n: self._read(n, values))
            if node.op == "placeholder":
                value = next(given)
            else:
                args, kwargs = fx.map_arg((node.args, node.kwargs), lambda n: self._read(n, values))
                value = self._call(node, args, kwargs)
            if node is self.first and self._start is not None:
                value = self._start
            self._take(node, value, values)
            if node in keep:  # what follows may change it in place
                self.kept[node] = pytree.tree_map_only(Tensor, torch.clone, value)
            for done in last.get(node, ()):
                values.pop(done, None)
        raise AssertionError("a graph ends in an output")

    def _read(self, node: fx.Node, values: dict[fx.Node, Any]) -> Any:
        return values[node] if node in values else self._constants[node]

    def _take(self, node: fx.Node, value: Any, values: dict[fx.Node, Any]) -> None:
        reached = node is self.first or any(source in self.data for source in node.all_input_nodes)
        tensors = [leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, Tensor)]
        if not reached or not tensors:
            self._constants[node] = value
            return
        values[node] = value
        self.data[node] = pytree.tree_map_only(Tensor, _shape_alone, value)

    def pull_back(
        self, cotangent: Any, *, barrier: Collection[fx.Node] = ()
    ) -> Iterator[tuple[fx.Node, Any]]:
        """Every node on data that the output depends on with its cotangent, the last one first.

        Args:
            cotangent: of the output; with k on axis 0 where the network takes k examples, k
                derivatives at once.
            barrier: nodes behind which nothing is asked for: what they read is told apart.

        Yields:
            Nodes and cotangents, which nobody else holds any more.
        """
        result = next(n for n in self.network.graph.nodes if n.op == "output").args[0]
        waiting: dict[fx.Node, Any] = {}
        if result in self.data:
            waiting[result] = cotangent
        for node in reversed(self.data):
            if node not in waiting:
                continue
            mine = waiting.pop(node)
            if node is not self.first and node not in barrier:
                for source, found in self._through(node, mine):
                    _add(waiting, source, found)
            yield node, mine

    def _through(self, node: fx.Node, cotangent: Any) -> Iterator[tuple[fx.Node, Any]]:
        """What the sources of `node` get from it; the commonest operations without a derivative."""
        sources = [n for n in dict.fromkeys(node.all_input_nodes) if n in self.data]
        module: Any = self._module(node) if node.op == "call_module" else None
        if type(module) in _CONVOLUTIONS and _is_plain(module):
            size = self.data[sources[0]].shape[1:]
            yield sources[0], _through_convolution(module, size, cotangent)
        elif isinstance(module, BATCH_NORM_MODULES) and not module.training:
            scale, _ = _normalisation(module)
            yield sources[0], cotangent * scale.reshape(-1, *(1,) * (cotangent.dim() - 2))
        elif node.target is apply_gate:
            gate: Any = node.args[1]
            yield sources[0], cotangent * self._constants[gate]
        elif key_at(node) == "add" and self._adds_alike(node):
            yield from ((source, cotangent) for source in node.all_input_nodes)
        else:
            yield from self._by_derivative(node, sources, cotangent)

    def _adds_alike(self, node: fx.Node) -> bool:
        """Whether it is the sum of two values of its own shape."""
        same = len(node.all_input_nodes) == 2 and not node.kwargs
        return same and all(
            n in self.data and self.data[n].shape == self.data[node].shape
            for n in node.all_input_nodes
        )

    def _by_derivative(
        self, node: fx.Node, sources: list[fx.Node], cotangent: Any
    ) -> Iterator[tuple[fx.Node, Any]]:
        """What each source gets, by PyTorch's derivative of the operation at zeros."""
        count = next(len(c) for c in pytree.tree_leaves(cotangent) if c is not None)
        given = {source: self._zeros(source, count) for source in sources}
        variables = [leaf for value in given.values() for leaf in _tensors(value)]
        with torch.inference_mode(False), torch.enable_grad():
            for variable in variables:
                variable.requires_grad_()
            value = self._at(node, given)
            pairs = [
                (v, c)
                for v, c in zip(_tensors(value), pytree.tree_leaves(cotangent), strict=True)
                if c is not None and v.requires_grad
            ]
            if not pairs:
                return
            outputs, cotangents = zip(*pairs, strict=True)
            found = iter(torch.autograd.grad(outputs, variables, cotangents, allow_unused=True))
        for source, value in given.items():
            yield source, pytree.tree_map_only(Tensor, lambda _: next(found), value)

    def _zeros(self, node: fx.Node, count: int) -> Any:
        """Zeros in place of a node's value, of `count` examples where it has one."""

        def made(like: Tensor) -> Tensor:
            shape = (count, *like.shape[1:]) if like.shape[:1] == (1,) else like.shape
            device = self._device
            return torch.zeros(shape, dtype=like.dtype, device=device)

        return pytree.tree_map_only(Tensor, made, self.data[node])

    def added(self, node: fx.Node, cotangent: Any) -> float | None:
        """What the operation of a node adds on its own, a bias, times a cotangent; None: 0."""
        module: Any = self._module(node) if node.op == "call_module" else None
        if node.op == "placeholder" or node.target is apply_gate:
            return None
        if type(module) in _CONVOLUTIONS:
            if module.bias is None:
                return None
            shift = module.bias.detach()
        elif isinstance(module, BATCH_NORM_MODULES) and not module.training:
            _, shift = _normalisation(module)
        else:
            return self._added(node, cotangent)
        if not bool(shift.any()):
            return None
        return float(shift @ cotangent.transpose(0, 1).flatten(1).sum(1))

    def _added(self, node: fx.Node, cotangent: Any) -> float | None:
        given = {n: self._zeros(n, 1) for n in node.all_input_nodes if n in self.data}
        with torch.no_grad():
            value = self._at(node, given)
        if not isinstance(value, Tensor) or not bool(value.any()):
            return None
        return float((value * cotangent).sum())

    def _at(self, node: fx.Node, given: dict[fx.Node, Any]) -> Any:
        def value(source: fx.Node) -> Any:
            if source in given:  # an operation may write onto what it reads
                return pytree.tree_map_only(Tensor, torch.clone, given[source])
            return self._constants[source]

        args, kwargs = fx.map_arg((node.args, node.kwargs), value)
        return self._call(node, args, kwargs)

    @property
    def _device(self) -> torch.device:
        tensors = (leaf for leaf in pytree.tree_leaves(self.result) if isinstance(leaf, Tensor))
        return next(tensors).device


def last_readers(graph: fx.Graph) -> dict[fx.Node, list[fx.Node]]:
    """For each node, the values that nobody reads after it, its own among them if nobody does."""
    last: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        last[node] = node
        for source in node.all_input_nodes:
            last[source] = node
    readers: dict[fx.Node, list[fx.Node]] = {}
    for source, node in last.items():
        readers.setdefault(node, []).append(source)
    return readers


def _is_plain(module: Any) -> bool:
    return module.padding_mode == "zeros" and not isinstance(module.padding, str)


def _through_convolution(module: Any, size: torch.Size, cotangent: Tensor) -> Tensor:
    """The transposed convolution; of one position, it is a convolution and much faster."""
    weight = module.weight.detach()
    alone = module.weight[0, 0].numel() == 1 and not any(module.padding)
    if alone and module.groups == 1 and set(module.stride) == {1}:
        pointwise = functional("convolution", weight.dim() - 2)
        found: Tensor = pointwise(cotangent, weight.transpose(0, 1))
        return found
    options = (module.stride, module.padding, module.dilation, module.groups)
    return _CONVOLUTIONS[type(module)]((len(cotangent), *size), weight, cotangent, *options)


def _normalisation(module: Any) -> tuple[Tensor, Tensor]:
    """Batch norm in evaluation mode: its scale and its shift, one number a channel."""
    scale: Tensor = torch.rsqrt(module.running_var + module.eps)
    if module.weight is not None:
        scale = scale * module.weight.detach()
    shift: Tensor = -module.running_mean * scale
    return scale, shift if module.bias is None else shift + module.bias.detach()


def _shape_alone(tensor: Tensor) -> Tensor:
    return torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")


def _tensors(value: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, Tensor)]


def _add(waiting: dict[fx.Node, Any], node: fx.Node, cotangent: Any) -> None:
    """Add to what waits for a node; None is 0."""
    if node not in waiting:
        if any(leaf is not None for leaf in pytree.tree_leaves(cotangent)):
            waiting[node] = cotangent
        return
    before, spec = pytree.tree_flatten(waiting[node])
    after = pytree.tree_leaves(cotangent)
    summed = [
        b if a is None else a if b is None else a + b for a, b in zip(after, before, strict=True)
    ]
    waiting[node] = pytree.tree_unflatten(summed, spec)
