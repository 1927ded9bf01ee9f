"""Walks a weights network's graph, carrying the covariance of two blocks of examples through it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from torch import Tensor, fx

from dualview.conversion.affine_pass import last_readers
from dualview.conversion.normal_form import normal_call
from dualview.conversion.operations import WEIGHT_MODULES
from dualview.conversion.source_lines import attribute_of, called, describe, module_of
from dualview.errors import PathKernelError
from dualview.path_kernel.axis_rules import reshaped
from dualview.path_kernel.condensing import condensed
from dualview.path_kernel.contraction import mean_along
from dualview.path_kernel.parameters import check_drawable, uses
from dualview.path_kernel.positions import LEADING
from dualview.path_kernel.rules import RULES
from dualview.path_kernel.scale import LogScale
from dualview.path_kernel.setting import Pair, Setting, refuse
from dualview.path_kernel.terms import Term, Value, one_term


@dataclass(frozen=True)
class Side:
    """One side of a block: examples, and their gates and switches as the network takes them."""

    x: Tensor
    gates: Sequence[Tensor]
    switches: Sequence[Tensor] = ()

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """All that the network takes."""
        return (self.x, *self.gates, *self.switches)

    def double(self) -> Side:
        """The same in float64; tokens and switches that are whole numbers stay so."""
        x, *switches = (
            value.double() if value.is_floating_point() else value
            for value in (self.x, *self.switches)
        )
        return Side(x, [gate.double() for gate in self.gates], switches)


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
    inputs = map(Pair, left.inputs, right.inputs)
    last = last_readers(network.graph)
    env: dict[fx.Node, Any] = {}
    made: dict[fx.Node, Any] = {}  # without what was given, for a look at each of them
    for node in network.graph.nodes:
        if node.op == "output":
            return _result(node, env[node.args[0]])
        if node.op == "placeholder":
            pair = next(inputs)
            env[node] = _input(pair) if node.name == "x" else pair
        else:
            env[node] = _run(node, env, setting)
        for done in last.get(node, ()):
            del env[done]
            made.pop(done, None)
        if node in env and node.op != "placeholder":
            env[node] = made[node] = condensed(env[node], node, made.values())
    raise AssertionError("a graph ends in an output")


def _input(pair: Pair) -> Value | Pair:
    """The input: 1 times each example's own values; tokens are no values yet."""
    if not pair.left.is_floating_point():
        return pair
    return Value((one_term(pair.left, pair.right),), tuple(pair.left.shape[1:]), len(pair.left))


def _run(node: fx.Node, env: dict[fx.Node, Any], setting: Setting) -> Any:
    if node.op == "get_attr":
        return attribute_of(node)
    read = [env[source] for source in node.all_input_nodes]
    call = normal_call(node)
    begins = call.key == "embedding"  # paths do, at what tokens are looked up as
    if not begins and not any(_holds(value, Value) for value in read):
        return _of_each_side(node, env, any(_holds(value, Pair) for value in read))
    if call.key not in RULES:
        refuse(node, "it is not in the table of rules")
    arguments = fx.map_arg(dict(call.arguments), lambda n: env[n])
    return RULES[call.key](node, replace(call, arguments=arguments), setting)


def _of_each_side(node: fx.Node, env: dict[fx.Node, Any], apart: bool) -> Any:
    """What depends on no weight, computed as it stands: once, or for each side's examples."""

    def computed(side: str) -> Any:
        args, kwargs = fx.map_arg((node.args, node.kwargs), lambda n: _of_side(env[n], side))
        return called(node, args, kwargs)

    if not apart:
        return computed("left")
    left = computed("left")
    if isinstance(left, tuple | list) and any(isinstance(part, Tensor) for part in left):
        return tuple(Pair(a, b) for a, b in zip(left, computed("right"), strict=True))
    return Pair(left, computed("right")) if isinstance(left, Tensor) else left


def _of_side(value: Any, side: str) -> Any:
    if isinstance(value, Pair):
        return getattr(value, side)
    if isinstance(value, tuple | list) and any(isinstance(part, Pair) for part in value):
        return tuple(_of_side(part, side) for part in value)
    return value


def _holds(value: Any, kind: type) -> bool:
    if isinstance(value, tuple | list):
        return any(_holds(part, kind) for part in value)
    return isinstance(value, kind)


def _result(node: fx.Node, value: Any) -> Block:
    """The kernel of the network's output, if all of its outputs share one."""
    if not isinstance(value, Value):
        raise PathKernelError(
            "the network's output: expected one tensor, got several. Repair: wrap the model in a "
            "module that returns one of them"
        )
    if not value.shape:  # one number an example
        value = reshaped(node, value, (1,))
    if math.prod(value.shape[1:]) != 1:
        raise PathKernelError(
            f"the network's output: expected one value per class, got shape (n, "
            f"{', '.join(map(str, value.shape))}). Repair: pool over the positions"
        )
    if not all(_is_the_same_for_every_output(term) for term in value.terms):
        raise PathKernelError(
            "the network's output: expected the output of a weight layer (or of pooling after "
            "one), sums of them or multiples, so that all outputs share one kernel; got gated "
            "values, or the input. Repair: end the model in a dense layer or a convolution with "
            "global pooling"
        )
    kernel, log_scale = mean_along(value, 0)
    return Block(kernel.reshape(kernel.shape[: LEADING - 1]), log_scale)


def _is_the_same_for_every_output(term: Term) -> bool:
    single = math.prod(term.layout.shape) == 1
    if not single and (term.layout.position_atoms(0) or term.mixed):
        return False
    if term.kernel is not None and term.kernel.shape[3] != 1:
        return False
    if term.left is None:
        return True
    if term.is_certain and not term.is_constant:
        return False
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
            others[id(attribute_of(node))] = node
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
    for found in uses(network).values():
        drawn = [use.node for use in found if use.role == "weight"]
        if len(drawn) > 1:
            # A standardised weight is read twice, by itself and by its mean: another reason.
            check_drawable(network, biases=biases)
            _refuse_tied(drawn[1], drawn[0], True)


def _refuse_tied(node: fx.Node, other: fx.Node, weights: bool) -> NoReturn:
    name = "weights" if weights else "bias"
    raise PathKernelError(
        f"{describe(node)}: it uses the {name} of {describe(other)} a second time, and the rules "
        f"need all weights independent. Repair: estimate the kernel with dualview.npk_features, or "
        f"give each layer its own {name}"
    )
