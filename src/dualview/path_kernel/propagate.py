"""Walks a weights network's graph, carrying the covariance of two blocks of examples through it."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from torch import Tensor, fx

from dualview.conversion.operations import WEIGHT_MODULES
from dualview.conversion.source_lines import describe, module_of
from dualview.errors import PathKernelError
from dualview.path_kernel.addition_rules import one_term
from dualview.path_kernel.condensing import condensed
from dualview.path_kernel.positions import LEADING
from dualview.path_kernel.rules import RULES
from dualview.path_kernel.scale import LogScale
from dualview.path_kernel.setting import Pair, Setting, refuse
from dualview.path_kernel.terms import Term, Value, channel_mean, combined


@dataclass(frozen=True)
class Side:
    """One side of a block: examples, and their gates and switches as the network takes them."""

    x: Tensor
    gates: Sequence[Tensor]
    switches: Sequence[Tensor] = ()


@dataclass(frozen=True)
class Block:
    """Result of one walk: the kernel (s, n1, n2) and its scale."""

    kernel: Tensor
    log_scale: LogScale


def propagate(network: fx.GraphModule, left: Side, right: Side, setting: Setting) -> Block:
    """Carry the covariance from the input to the output.

    Args:
        network: a weights network in evaluation mode.
        left: the n1 first examples.
        right: the n2 second examples.
        setting: what the weights are drawn from.

    Returns:
        The kernel of one output coordinate (all have the same), divided by exp(log_scale).

    Raises:
        PathKernelError: an operation has no exact rule, or weights are tied.
    """
    refuse_tied(network, biases=setting.biases)
    inputs = iter([Pair(left.x, right.x), *_pairs(left, right)])
    last_use = _last_uses(network.graph)
    env: dict[fx.Node, Any] = {}
    made: dict[fx.Node, Any] = {}  # without what was given, for a look at each of them
    for node in network.graph.nodes:
        if node.op == "output":
            return _result(node, env[node.args[0]])
        if node.op == "placeholder":
            pair = next(inputs)
            env[node] = _input(pair) if node.name == "x" else pair
        else:
            env[node] = _run(network, node, env, setting)
        for done in last_use.get(node, ()):
            del env[done]
            made.pop(done, None)
        if node in env and node.op != "placeholder":
            env[node] = made[node] = condensed(env[node], node, made.values())
    raise AssertionError("a graph ends in an output")


def _pairs(left: Side, right: Side) -> list[Pair]:
    gates = zip(left.gates, right.gates, strict=True)
    switches = zip(left.switches, right.switches, strict=True)
    return [Pair(a, b) for a, b in (*gates, *switches)]


def _input(pair: Pair) -> Value:
    """The input: 1 times each example's own values. A vector is all channels and no position."""
    term = one_term(pair.left, pair.right)
    return Value((term,), pair.left.shape[1], tuple(pair.left.shape[2:]))


def _run(network: fx.GraphModule, node: fx.Node, env: dict[fx.Node, Any], setting: Setting) -> Any:
    if node.op == "get_attr":
        value: Any = network
        for name in str(node.target).split("."):
            value = getattr(value, name)
        return value
    args = fx.map_arg(node.args, lambda n: env[n])
    kwargs = fx.map_arg(node.kwargs, lambda n: env[n])
    if "input" in kwargs:
        args, kwargs = (kwargs["input"], *args), {k: v for k, v in kwargs.items() if k != "input"}
    if not _depends_on_data(node, env):
        target: Any = node.target
        return (
            getattr(args[0], target)(*args[1:], **kwargs)
            if node.op == "call_method"
            else target(*args, **kwargs)
        )
    key: Any = type(module_of(node)) if node.op == "call_module" else node.target
    if key not in RULES:
        refuse(node, "it is not in the table of rules")
    return RULES[key](node, args, kwargs, setting)


def _depends_on_data(node: fx.Node, env: dict[fx.Node, Any]) -> bool:
    def holds(value: Any) -> bool:
        if isinstance(value, tuple | list):
            return any(holds(v) for v in value)
        return isinstance(value, Value | Pair)

    return any(holds(env[source]) for source in node.all_input_nodes)


def _result(node: fx.Node, value: Any) -> Block:
    if not isinstance(value, Value):
        raise PathKernelError(
            "the network's output: expected one tensor, got several. Repair: wrap the model in a "
            "module that returns one of them"
        )
    if not all(_is_the_same_for_every_output(term) for term in value.terms):
        raise PathKernelError(
            "the network's output: expected the output of a weight layer (or of pooling after "
            "one), sums of them or multiples, so that all outputs share one kernel; got gated "
            "values, or the input. Repair: end the model in a dense layer or a convolution with "
            "global pooling"
        )
    groups = max(1 if term.kernel is None else term.kernel.shape[3] for term in value.terms)
    if math.prod(value.positions) != 1 or groups != 1:
        raise PathKernelError(
            f"the network's output: expected one value per class, got positions "
            f"{value.positions} in {groups} groups. Repair: pool over the positions"
        )
    kernel, log_scale = combined(value, lambda term: channel_mean(term, value))
    return Block(kernel.reshape(kernel.shape[: LEADING - 1]), log_scale)


def _is_the_same_for_every_output(term: Term) -> bool:
    if term.left is None:
        return True
    if not term.is_constant or term.left.is_meta:  # of a shape alone nothing is known
        return term.is_constant
    return bool((term.left == term.left[:, :1]).all())


def refuse_tied(network: fx.GraphModule, *, biases: bool) -> None:
    """Raise if two weight layers of the graph use one parameter.

    The rules need every layer's weights independent of every other's; with `biases`, its biases of
    everything else. A bias that batch norms or additions share is followed by them.
    """
    layers: dict[int, fx.Node] = {}
    others: dict[int, fx.Node] = {}
    for node in network.graph.nodes:
        if node.op == "get_attr":
            others[id(operator.attrgetter(str(node.target))(network))] = node
        if node.op != "call_module":
            continue
        module: Any = module_of(node)
        if not isinstance(module, WEIGHT_MODULES):
            others[id(getattr(module, "bias", None))] = node
            continue
        for parameter in (module.weight, module.bias if biases else None):
            if parameter is not None and id(parameter) in layers:
                _refuse_tied(node, layers[id(parameter)], parameter is module.weight)
            layers[id(parameter)] = node
    for key in layers.keys() & others.keys() - {id(None)}:
        _refuse_tied(others[key], layers[key], False)


def _refuse_tied(node: fx.Node, other: fx.Node, weights: bool) -> NoReturn:
    name = "weights" if weights else "bias"
    raise PathKernelError(
        f"{describe(node)}: it uses the {name} of {describe(other)} a second time, and the rules "
        f"need all weights independent. Repair: estimate the kernel with dualview.npk_features, or "
        f"give each layer its own {name}"
    )


def _last_uses(graph: fx.Graph) -> dict[fx.Node, list[fx.Node]]:
    """For each node, the values that nobody reads after it."""
    last: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        for source in node.all_input_nodes:
            last[source] = node
    uses: dict[fx.Node, list[fx.Node]] = {}
    for source, node in last.items():
        uses.setdefault(node, []).append(source)
    return uses
