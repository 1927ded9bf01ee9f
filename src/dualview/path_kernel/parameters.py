"""What every parameter of a weights network is to the kernels: a weight, a bias or a constant.

It goes by how the graph uses the parameter, not by its name, shape or `requires_grad`:

- a *weight* is summed over with values that depend on the example (dense layers, convolutions,
  products of matrices): drawn afresh with mean zero, and differentiated;
- a *bias* is added to such values, or joined to them: left out, or drawn and differentiated;
- a *constant* multiplies them entry by entry (gamma of a norm, LayerScale, a temperature): it keeps
  its value, as the gates do.

A weight may be made of a parameter first (`weight * mask`): drawn is the parameter. Buffers and
numbers are constants; where they are added, they are left out with the biases.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, fx, nn

from dualview.conversion import operations as ops
from dualview.conversion.multipliers import replay_layer_norm
from dualview.conversion.source_lines import called, describe, module_of, operation_name
from dualview.conversion.spellings import key_at
from dualview.conversion.verification import ValueKind, is_shape_query, value_kinds
from dualview.errors import PathKernelError

Role = Literal["weight", "bias", "constant"]

_LINEAR_NAMES = frozenset({"repeat_interleave", "diag"})
"""What else makes of a weight something linear in it: operations without a key, by name."""


@dataclass(frozen=True)
class Use:
    """One use of a parameter.

    Attributes:
        role: what it is there.
        node: the operation that brings it together with values that depend on the example.
        value: what the graph made of the parameter by then; None: a module's own parameter.
        linear: `value` is linear in the parameter.
    """

    role: Role
    node: fx.Node
    value: fx.Node | None
    linear: bool = True


def roles(network: nn.Module) -> dict[str, Role]:
    """Parameter name -> what it is to the kernels.

    Raises:
        PathKernelError: a parameter is two of them.

    >>> roles(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)))["1.weight"]
    'constant'
    """
    found = uses(network)
    return {name: _role_of(name, found.get(name, [])) for name, _ in network.named_parameters()}


def uses(network: nn.Module) -> dict[str, list[Use]]:
    """Parameter name -> its uses by the graph, in order; those of a plain module by its layers."""
    aliases = _names_of(network)
    found: dict[str, list[Use]] = {}
    for name, use in _uses(network):
        found.setdefault(aliases.get(name, name), []).append(use)
    return found


def fan_ins(network: nn.Module) -> dict[str, int]:
    """Name of each weight parameter -> how many weights one output unit of its layer reads.

    >>> fan_ins(nn.Sequential(nn.Conv2d(3, 8, 5)))
    {'0.weight': 75}
    """
    found: dict[str, int] = {}
    for name, of_name in uses(network).items():
        use = next((use for use in of_name if use.role == "weight"), None)
        if use is None:
            continue
        if use.value is None:
            found[name] = _fan_in_of_module(network, name)
        else:
            shape = _shape_of(use.value) or network.get_parameter(name).shape
            found[name] = _fan_in_of_call(use, shape)
    return found


def check_drawable(network: nn.Module, *, biases: bool) -> None:
    """Refuse parameters which no fresh draw can stand for.

    Raises:
        PathKernelError: weights (or biases) are made of one by an operation that is not linear.
    """
    plural = {"weight": "weights", "bias": "biases"}
    counted = plural if biases else {"weight"}
    for name, found in uses(network).items():
        for use in found:
            if use.role in counted and not use.linear:
                raise PathKernelError(
                    f"{describe(use.node)}: its {plural[use.role]} are made of the parameter "
                    f"'{name}' by an operation that is not linear, so fresh values of it are no "
                    f"independent {plural[use.role]}. Repair: store what is made of it as the "
                    f"parameter"
                )


def addends(graph: fx.Graph) -> Iterator[tuple[fx.Node, Any]]:
    """What is added to values that depend on the example, and does not: (node, its argument).

    A constant that is added before the first weight layer belongs to the input, and is none; a
    parameter is one there too.
    """
    facts = _Facts.of(graph)
    behind = _behind_weights(graph, facts)
    for node in graph.nodes:
        if node.op not in ("call_function", "call_method") or not facts.data(node):
            continue
        for argument in _added_arguments(node):
            if not facts.data(argument) and (node in behind or argument in facts.made):
                yield node, argument


@dataclass(frozen=True)
class _Facts:
    """The kinds of a graph's values, and which are made of parameters, not of the example."""

    kinds: dict[fx.Node, ValueKind]
    made: frozenset[fx.Node]

    @classmethod
    def of(cls, graph: fx.Graph) -> _Facts:
        owner, kinds = graph.owning_module, value_kinds(graph)
        assert owner is not None
        parameters = {name for name, _ in owner.named_parameters(remove_duplicate=False)}
        made: set[fx.Node] = set()
        for node in graph.nodes:
            own = node.op == "get_attr" and str(node.target) in parameters
            from_others = made.intersection(node.all_input_nodes) and not is_shape_query(node)
            if node.op != "output" and kinds[node] != "data" and (own or from_others):
                made.add(node)
        return cls(kinds, frozenset(made))

    def data(self, value: Any) -> bool:
        """Whether a value depends on the example."""
        return isinstance(value, fx.Node) and self.kinds[value] == "data"


def _role_of(name: str, found: list[Use]) -> Role:
    first: dict[Role, Use] = {}
    for use in found:
        first.setdefault(use.role, use)
    if len(first) > 1:
        one, other = list(first.values())[:2]
        raise PathKernelError(
            f"parameter '{name}': it is a {one.role} in {describe(one.node)} and a {other.role} in "
            f"{describe(other.node)}, and the kernels draw weights and keep constants. Repair: two "
            f"parameters, one for each"
        )
    return next(iter(first), "constant")


def _names_of(network: nn.Module) -> dict[str, str]:
    """Every name of a parameter -> the one that `named_parameters` gives it."""
    own = {id(parameter): name for name, parameter in network.named_parameters()}
    return {
        name: own[id(parameter)]
        for name, parameter in network.named_parameters(remove_duplicate=False)
    }


def _uses(network: nn.Module) -> Iterator[tuple[str, Use]]:
    if not isinstance(network, fx.GraphModule):
        yield from _uses_of_layers(network)
        return
    facts = _Facts.of(network.graph)
    for node in network.graph.nodes:
        if node.op == "call_module":
            for name, role in _roles_of_module(module_of(node)):
                yield f"{node.target}.{name}", Use(role, node, None)
        elif node in facts.made and node.op == "get_attr":
            for use in _uses_of_value(node, True, facts):
                yield str(node.target), use


def _uses_of_layers(network: nn.Module) -> Iterator[tuple[str, Use]]:
    """Of a module without a graph: its layers, each as a graph would call it."""
    nowhere = fx.Graph().placeholder("x")
    for prefix, module in network.named_modules():
        for name, role in _roles_of_module(module):
            yield f"{prefix}.{name}".lstrip("."), Use(role, nowhere, None)


def _roles_of_module(module: nn.Module) -> Iterator[tuple[str, Role]]:
    weighs = isinstance(module, ops.WEIGHT_MODULES)
    other: Role = "weight" if weighs else "constant"
    for name, _ in module.named_parameters(recurse=False):
        yield name, "bias" if name == "bias" else other


def _uses_of_value(value: fx.Node, linear: bool, facts: _Facts) -> Iterator[Use]:
    """Where a value that no example changes meets values that examples do."""
    for user in value.users:
        if facts.data(user):
            yield Use(_role_in(user, value), user, value, linear)
        elif user in facts.made and not _is_gain(user, value, facts):
            yield from _uses_of_value(user, linear and _is_linear(user, value, facts), facts)


def _role_in(node: fx.Node, value: fx.Node) -> Role:
    """What a value that no example changes is to an operation on one that examples change."""
    if value in _added_arguments(node):
        return "bias"
    key = key_at(node)
    if key in ops.WEIGHT_KEYS or key == "matmul":
        return "weight"
    if key == "einsum":
        return "weight" if _summed_axes(node, value) else "constant"
    return "constant"


def _added_arguments(node: fx.Node) -> list[Any]:
    """The arguments that the result is a sum, or a joint, of."""
    key = key_at(node)
    if key in ops.ADDITIVE:
        return [*node.args[:2], *(node.kwargs[k] for k in ("input", "other") if k in node.kwargs)]
    if key in ("cat", "stack"):
        parts: Any = node.args[0] if node.args else node.kwargs.get("tensors", ())
        return list(parts) if isinstance(parts, tuple | list) else []
    if key in ops.WEIGHT_KEYS and node.op == "call_function":
        bias = node.kwargs.get("bias", node.args[2] if len(node.args) > 2 else None)
        return [] if bias is None else [bias]
    if node.target is replay_layer_norm:
        return [bias for bias in node.args[4:] if bias is not None]
    return []


def _is_gain(node: fx.Node, value: fx.Node, facts: _Facts) -> bool:
    """Whether `value` only scales a larger parameter there, or divides one: a constant."""
    others = [n for n in node.all_input_nodes if n is not value and n in facts.made]
    if key_at(node) == "div" and node.args[0] is not value:
        return bool(others)
    return key_at(node) == "mul" and any(_size(other) > _size(value) for other in others)


def _is_linear(node: fx.Node, value: fx.Node, facts: _Facts) -> bool:
    """Whether what `node` makes of `value` is linear in its parameter, and in no other weight."""
    if node.args[:2] == (value, value):
        return False
    others = [n for n in node.all_input_nodes if n is not value and n in facts.made]
    key = key_at(node)
    if key == "mul":
        return all(_size(o) < _size(value) and not _roots(o) & _roots(value) for o in others)
    if key == "div":
        return node.args[0] is value and not any(_roots(o) & _roots(value) for o in others)
    if key == "matmul":
        return not others
    moves = operation_name(node).rstrip("_") in _LINEAR_NAMES
    return moves or key in ops.LINEAR | ops.ADDITIVE


def _roots(value: fx.Node) -> set[str]:
    """Names of the parameters and buffers that a value is made of."""
    if value.op == "get_attr":
        return {str(value.target)}
    return set().union(*(_roots(source) for source in value.all_input_nodes))


def _behind_weights(graph: fx.Graph, facts: _Facts) -> set[fx.Node]:
    """Values that a weight layer has changed."""
    behind: set[fx.Node] = set()
    for node in graph.nodes:
        if node.op == "call_module":
            weighs = isinstance(module_of(node), ops.WEIGHT_MODULES)
        else:
            own = [n for n in node.all_input_nodes if n in facts.made]
            weighs = facts.data(node) and any(_role_in(node, n) == "weight" for n in own)
        if weighs or behind.intersection(node.all_input_nodes):
            behind.add(node)
    return behind


# Fan-in


def _fan_in_of_module(network: nn.Module, name: str) -> int:
    parameter: Any = network.get_parameter(name)
    module: Any = network.get_submodule(name.rpartition(".")[0])
    if isinstance(module, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d):
        return parameter.shape[0] // module.groups * math.prod(parameter.shape[2:])
    return math.prod(parameter.shape[1:])


def _fan_in_of_call(use: Use, shape: torch.Size) -> int:
    node, value = use.node, use.value
    assert value is not None
    key = key_at(node)
    if key == "einsum":
        return _summed_axes(node, value, shape)
    if key == "matmul":
        left = node.args[0] is value
        return shape[-1] if left or len(shape) == 1 else shape[-2]
    if key == "transposed convolution":
        groups: Any = node.kwargs.get("groups", node.args[6] if len(node.args) > 6 else 1)
        return shape[0] // groups * math.prod(shape[2:])
    return math.prod(shape[1:])


def _summed_axes(node: fx.Node, value: fx.Node, shape: torch.Size | None = None) -> int:
    """How many of a factor's entries one entry of an einsum sums over; no shape: whether any."""
    equation = str(node.args[0]).replace(" ", "")
    inputs, arrow, output = equation.partition("->")
    operands: Any = node.args[1:]
    if len(operands) == 1 and isinstance(operands[0], tuple | list):
        operands = operands[0]
    terms = inputs.split(",")
    if not arrow:  # what stands once is kept
        output = "".join(c for c in inputs if inputs.count(c) == 1 and c.isalpha())
    term = terms[list(operands).index(value)].replace("...", "")
    summed = [i for i, index in enumerate(term) if index not in output]
    if shape is None:
        return int(bool(summed))
    return math.prod(shape[i - len(term)] for i in summed)


def _size(value: fx.Node) -> int:
    return math.prod(_shape_of(value) or ())


def _shape_of(value: fx.Node) -> torch.Size | None:
    """Of a value that no example changes; None where it depends on the examples' number."""
    computed = _computed(value, {})
    return computed.shape if isinstance(computed, Tensor) else None


def _computed(node: fx.Node, known: dict[fx.Node, Any]) -> Any:
    """The value of a node that no example changes; None where it takes a size of the examples."""
    if node not in known:
        known[node] = None
        sources = [_computed(source, known) for source in node.all_input_nodes]
        if node.op != "placeholder" and not any(source is None for source in sources):
            args, kwargs = fx.map_arg((node.args, node.kwargs), lambda n: known[n])
            with torch.no_grad():
                known[node] = called(node, args, kwargs)
    return known[node]
