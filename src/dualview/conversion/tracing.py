"""`nn.Module` -> torch.fx graph in which every activation call site is known, or a refusal.

The steps: copy the model, trace the copy in training and in evaluation mode, write attention
modules out, make in-place operations out-of-place, drop dead code, verify that the signal path is
affine between activations and max pools (given its multipliers), and (given an example input) note
every value's shape. The user's model is only read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import FunctionType
from typing import Any, Literal

import torch
from torch import Tensor, fx, nn

from dualview.conversion.activations import (
    GATE_OF_FUNCTION,
    GATE_OF_METHOD,
    GATE_OF_MODULE,
    is_activation,
)
from dualview.conversion.example_input import Example, compare, outputs_of, shapes_in
from dualview.conversion.gates import Gate
from dualview.conversion.layer_tensors import TURNED
from dualview.conversion.outputs import select_output, selected
from dualview.conversion.pooling import MaxPool, is_max_pool, max_pool_at
from dualview.conversion.products import mark_multipliers, refuse_idle_marks
from dualview.conversion.recording.both_modes import UnfollowedError, trace_both_modes
from dualview.conversion.recording.identity import refuse_identity
from dualview.conversion.recording.private_copy import private_copy
from dualview.conversion.rewriting.evaluation_form import write_evaluation_form
from dualview.conversion.rewriting.examples_first import keep_examples_first
from dualview.conversion.rewriting.in_place import make_out_of_place
from dualview.conversion.rewriting.last_squash import cut_off_squash
from dualview.conversion.rewriting.maxima import has_maxima, write_maxima_as_pools
from dualview.conversion.rewriting.multihead_attention import write_out_attention
from dualview.conversion.rewriting.own_type import follow_own_type
from dualview.conversion.rewriting.positional import make_positional
from dualview.conversion.rewriting.spelled_activations import name_spelled_activations
from dualview.conversion.rewriting.spelled_relus import name_spelled_relus
from dualview.conversion.rewriting.writing_out import write_out
from dualview.conversion.signal_path import multipliers_on, signal_path
from dualview.conversion.source_lines import attribute_of, describe, module_of
from dualview.conversion.verification import value_kinds, verify, verify_examples_apart
from dualview.errors import NoActivationError, UnsupportedOperationError

Mode = Literal["evaluation"]


@dataclass(frozen=True)
class TracedNetwork:
    """A model's graph with what its signal path multiplies by, in the order in which they run.

    `signal_path` holds what the output needs once `activations`, `max_pools` and `multipliers`
    (LayerNorm and attention, `signal_path`) are replayed; what is off it computes
    attention weights. `shapes` holds the shape of every tensor value, by node, where an example
    input was given; axis 0 is the example. `squash` takes the graph's output, the logits, and gives
    what the model gives; None where that is the same. `origins` tells, of each parameter and buffer
    by its name in `module`, what the model calls it; those in `turned` are the model's transposed.
    """

    module: fx.GraphModule
    activations: tuple[fx.Node, ...]
    max_pools: tuple[fx.Node, ...]
    multipliers: tuple[fx.Node, ...]
    signal_path: frozenset[fx.Node]
    shapes: dict[fx.Node, torch.Size]
    squash: fx.GraphModule | None = None
    origins: Mapping[str, str] = field(default_factory=dict)
    turned: frozenset[str] = frozenset()

    @property
    def graph(self) -> fx.Graph:
        """The traced graph."""
        return self.module.graph

    @property
    def inputs(self) -> tuple[fx.Node, ...]:
        """The graph's placeholders, one for each input of the model."""
        return tuple(node for node in self.graph.nodes if node.op == "placeholder")

    @property
    def input(self) -> fx.Node:
        """The first of the inputs, which tells the number of examples."""
        return next(node for node in self.graph.nodes if node.op == "placeholder")


def trace(
    model: nn.Module,
    example_input: Any = None,
    *,
    mode: Mode | None = None,
    output: str | int | None = None,
    multipliers: Sequence[str] = (),
) -> TracedNetwork:
    """Trace a copy of `model`.

    Args:
        model: any module that torch.fx can trace; with an example, any that torch.export can.
        example_input: a batch (examples first) that the model can take, or a tuple or dictionary
            of its inputs; the values do not matter.
        mode: "evaluation" takes the model as it is in evaluation mode. Default: training mode must
            do the same, dropout and batch norm aside.
        output: which of the model's outputs to take, by name or number. Default: all.
        multipliers: names of layers that give the multiplier of a product, `*` for any text.

    Raises:
        TracingError: the forward cannot be traced.
        UnsupportedOperationError: an operation cannot be taken apart.
        NoActivationError: there is no activation, and nothing that multiplies the signal.
        ExampleInputError: the model cannot take `example_input`.

    >>> traced = trace(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)))
    >>> [str(node.target) for node in traced.activations]
    ['1']
    """
    own = private_copy(model)
    theirs = list(named_tensors(own))  # kept, so that no other tensor gets an `id` of theirs
    names = {id(tensor): name for name, tensor in theirs}
    example = None if example_input is None else Example.of(example_input)
    expected = None if example is None else outputs_of(own, example)
    module = _recorded(own, example, mode)
    if output is not None:
        select_output(module, output)
        expected = None if expected is None else selected(expected, output)
    if mode == "evaluation":
        write_evaluation_form(module, example)
    mark_multipliers(module, multipliers)
    squash = _normalised(module, example)
    refuse_idle_marks(module.graph, value_kinds(module.graph), multipliers)
    verify(module.graph)
    turned = {id(tensor): names[id(of)] for tensor, of in module.meta.pop(TURNED, ())}
    traced = replace(
        _read(type(model).__name__, module, squash),
        origins=_origins(module, names | turned),
        turned=frozenset(_origins(module, turned)),
    )
    if example is None:
        return traced
    shapes = shapes_in(module, example)
    verify_examples_apart(traced.multipliers, value_kinds(module.graph), shapes)
    compare(type(model).__name__, module, squash, expected, example)
    return replace(traced, shapes=shapes)


def named_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers by name, a shared one under each of its names."""
    yield from module.named_parameters(remove_duplicate=False)
    yield from module.named_buffers(remove_duplicate=False)


def _origins(module: nn.Module, names: Mapping[int, str]) -> dict[str, str]:
    """Name of each tensor of `module` that the model has too -> its name there."""
    return {
        name: names[id(tensor)] for name, tensor in named_tensors(module) if id(tensor) in names
    }


def _normalised(module: fx.GraphModule, example: Example | None) -> fx.GraphModule | None:
    """Bring the graph to the form that the tables know; what squashes its logits, if anything."""
    write_out_attention(module)
    make_out_of_place(module.graph)
    make_positional(module.graph)
    drop_dead_code(module.graph)
    write_out(module, value_kinds(module.graph))
    keep_examples_first(module.graph, value_kinds(module.graph))
    name_spelled_relus(module, value_kinds(module.graph))
    name_spelled_activations(module, value_kinds(module.graph))
    follow_own_type(module, value_kinds(module.graph))
    ranks = {}
    if example is not None and has_maxima(module.graph):
        ranks = shapes_in(module, example)
    write_maxima_as_pools(module, value_kinds(module.graph), ranks)
    return cut_off_squash(module, value_kinds(module.graph))


def _read(name: str, module: fx.GraphModule, squash: fx.GraphModule | None) -> TracedNetwork:
    """What the graph multiplies by, in order.

    Raises:
        NoActivationError: there is no activation, and nothing that multiplies the signal.
    """
    kinds = value_kinds(module.graph)
    on_path = signal_path(module.graph, kinds)
    # An activation of parameters alone is a constant, as everything that they are made into is.
    signal = [n for n in module.graph.nodes if n in on_path and kinds[n] == "data"]
    activations = tuple(n for n in signal if is_activation(n))
    multipliers = multipliers_on(signal, kinds)
    if not activations and not multipliers:
        raise NoActivationError(
            f"{name}: expected at least one ReLU or other activation that the output depends on, "
            f"got none, so there is no gate. Repair: pass the network with its activations inside "
            f"forward (an activation that no output needs is dropped)"
        )
    max_pools = tuple(n for n in signal if is_max_pool(n))
    for node in max_pools:
        max_pool_of(node)
    for node in activations:
        gate_of(node)
    for node in module.graph.nodes:
        node.type = None  # torch.load cannot read annotations that are text (PEP 563)
    module.recompile()
    return TracedNetwork(module, activations, max_pools, multipliers, on_path, {}, squash)


def _recorded(own: nn.Module, example: Example | None, mode: Mode | None) -> fx.GraphModule:
    """The graph of `own`: by symbolic tracing, which is quick, or by `torch.export`.

    Raises:
        TracingError: neither can follow the forward.
    """
    evaluation_only = mode == "evaluation"
    if example is None or example.shape is not None:
        try:
            module = trace_both_modes(own, evaluation_only=evaluation_only)
            if example is None:  # else the two are compared
                refuse_identity(own, module.graph)
            if example is None or not _has_closed_function(module.graph):
                return module
        except UnfollowedError:
            if example is None:
                raise
    from dualview.conversion.capture import captured

    return captured(own, example, evaluation_only=evaluation_only)


def _has_closed_function(graph: fx.Graph) -> bool:
    """Whether a function of a library is called as one operation, as torch.fx.wrap has it.

    Symbolic tracing looks into it where it can; `torch.export` looks into every one. ATen's own
    operations, of which the modules of exported programs are made, are written as users would too.
    """
    return any(
        isinstance(node.target, torch._ops.OpOverload)
        or (
            isinstance(node.target, FunctionType)
            and node.target.__module__.partition(".")[0] not in ("torch", "dualview")
        )
        for node in graph.nodes
    )


def drop_dead_code(graph: fx.Graph) -> None:
    """Remove what the output does not need, random operations (dropout) included."""
    graph.eliminate_dead_code(lambda node: node.op in ("placeholder", "output"))


def gate_of(node: fx.Node) -> Gate:
    """The gate of the activation at `node`: its output, less that of 0, divided by its input.

    Raises:
        UnsupportedOperationError: with these options it has no gate.
    """
    try:
        return _gate_of(node)
    except ValueError as error:
        if isinstance(error, UnsupportedOperationError):
            raise
        raise UnsupportedOperationError(
            f"{describe(node)}: {error}, so it has no slope at 0 that could be a gate. Repair: use "
            f"another activation, or other options"
        ) from error


def _gate_of(node: fx.Node) -> Gate:
    if node.op == "call_module":
        module = module_of(node)
        return GATE_OF_MODULE[type(module)](module)
    table: dict[Any, Callable[..., Gate]] = {**GATE_OF_FUNCTION, **GATE_OF_METHOD}
    kwargs = {name: value for name, value in node.kwargs.items() if name != "input"}
    args, kwargs = fx.map_arg((node.args[1:], kwargs), _own_tensor)
    return table[node.target](*args, **kwargs)


def _own_tensor(node: fx.Node) -> Tensor:
    """The parameter or buffer that an activation reads, such as PReLU's slope."""
    if node.op != "get_attr":
        raise UnsupportedOperationError(
            f"{describe(node)}: an activation takes it as an option, and options must be numbers "
            f"or the model's own parameters. Repair: compute the option outside forward"
        )
    return attribute_of(node)


def max_pool_of(node: fx.Node) -> MaxPool:
    """The max-pool call at `node`.

    Raises:
        UnsupportedOperationError: it returns its indices.
    """
    try:
        return max_pool_at(node)
    except ValueError as error:
        raise UnsupportedOperationError(
            f"{describe(node)}: {error}, and unpooling by them is no affine operation. Repair: "
            f"pool without indices"
        ) from error


def data_argument(node: fx.Node) -> fx.Node:
    """The input of an activation or a max pool."""
    source = node.args[0] if node.args else node.kwargs["input"]
    assert isinstance(source, fx.Node)
    return source
