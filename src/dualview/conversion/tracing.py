"""`nn.Module` -> torch.fx graph in which every activation call site is known, or a refusal.

The steps: copy the model, trace the copy in training and in evaluation mode, write attention
modules out, make in-place operations out-of-place, drop dead code, verify that the signal path is
affine between activations and max pools (given its multipliers), and (given an example input) note
every value's shape. The user's model is only read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from dualview.conversion.gates import GATE_OF_FUNCTION, GATE_OF_METHOD, GATE_OF_MODULE, Gate
from dualview.conversion.pooling import MaxPool, max_pool_of_function, max_pool_of_module
from dualview.conversion.recording.both_modes import trace_both_modes
from dualview.conversion.recording.identity import refuse_identity
from dualview.conversion.recording.private_copy import private_copy
from dualview.conversion.rewriting.in_place import make_out_of_place
from dualview.conversion.rewriting.multihead_attention import write_out_attention
from dualview.conversion.rewriting.positional import make_positional
from dualview.conversion.signal_path import multipliers_on, signal_path
from dualview.conversion.source_lines import describe, module_of
from dualview.conversion.verification import (
    is_activation,
    is_max_pool,
    value_kinds,
    verify,
    verify_examples_apart,
)
from dualview.errors import (
    ExampleInputError,
    NoActivationError,
    TracingError,
    UnsupportedOperationError,
)


@dataclass(frozen=True)
class TracedNetwork:
    """A model's graph with what its signal path multiplies by, in the order in which they run.

    `signal_path` holds what the output needs once `activations`, `max_pools` and `multipliers`
    (LayerNorm and attention, `signal_path`) are replayed; what is off it computes
    attention weights. `shapes` holds the shape of every tensor value, by node, where an example
    input was given; axis 0 is the example.
    """

    module: fx.GraphModule
    activations: tuple[fx.Node, ...]
    max_pools: tuple[fx.Node, ...]
    multipliers: tuple[fx.Node, ...]
    signal_path: frozenset[fx.Node]
    shapes: dict[fx.Node, torch.Size]

    @property
    def graph(self) -> fx.Graph:
        """The traced graph."""
        return self.module.graph

    @property
    def input(self) -> fx.Node:
        """The graph's one placeholder."""
        return next(node for node in self.graph.nodes if node.op == "placeholder")


def trace(model: nn.Module, example_input: Tensor | None = None) -> TracedNetwork:
    """Trace a copy of `model`.

    Args:
        model: any module that torch.fx can trace, with one tensor as input.
        example_input: a batch (examples first) that the model can take; its values do not matter.

    Raises:
        TracingError: the forward cannot be traced.
        UnsupportedOperationError: an operation cannot be taken apart.
        NoActivationError: there is no activation.
        ExampleInputError: the model cannot take `example_input`.

    >>> traced = trace(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)))
    >>> [str(node.target) for node in traced.activations]
    ['1']
    """
    own = private_copy(model)
    module = trace_both_modes(own)
    if example_input is None:  # else the two are compared below
        refuse_identity(own, module.graph)
    in_place = [part for part in own.modules() if getattr(part, "inplace", False)]
    write_out_attention(module)
    make_out_of_place(module.graph)
    make_positional(module.graph)
    drop_dead_code(module.graph)
    verify(module.graph)
    kinds = value_kinds(module.graph)
    on_path = signal_path(module.graph, kinds)
    # An activation of parameters alone is a constant, as everything that they are made into is.
    signal = [n for n in module.graph.nodes if n in on_path and kinds[n] == "data"]
    activations = tuple(n for n in signal if is_activation(n))
    if not activations:
        raise NoActivationError(
            f"{type(model).__name__}: expected at least one ReLU or other self-gated activation "
            f"that the output depends on, got none, so there is no gate. Repair: pass the network "
            f"with its activations inside forward (an activation that no output needs is dropped)"
        )
    max_pools = tuple(n for n in signal if is_max_pool(n))
    for node in max_pools:
        max_pool_of(node)
    for node in module.graph.nodes:
        node.type = None  # torch.load cannot read annotations that are text (PEP 563)
    module.recompile()
    multipliers = multipliers_on(signal, kinds)
    shapes = {}
    if example_input is not None:
        shapes = _propagate_shapes(module, example_input)
        verify_examples_apart(multipliers, kinds, shapes)
        _compare_with_model(module, own, in_place, example_input)
    return TracedNetwork(module, activations, max_pools, multipliers, on_path, shapes)


def drop_dead_code(graph: fx.Graph) -> None:
    """Remove what the output does not need, random operations (dropout) included."""
    graph.eliminate_dead_code(lambda node: node.op in ("placeholder", "output"))


def gate_of(node: fx.Node) -> Gate:
    """The gate of the activation at `node`: its output divided by its input."""
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
    value: Any = node.graph.owning_module
    for name in str(node.target).split("."):
        value = getattr(value, name)
    return value


def max_pool_of(node: fx.Node) -> MaxPool:
    """The max-pool call at `node`.

    Raises:
        UnsupportedOperationError: it returns its indices.
    """
    try:
        if node.op == "call_module":
            return max_pool_of_module(module_of(node))
        kwargs = {name: value for name, value in node.kwargs.items() if name != "input"}
        return max_pool_of_function(node.target, node.args[1:], kwargs)  # type: ignore[arg-type]
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


class _ShapeInterpreter(fx.Interpreter):
    """Runs the graph once and notes every tensor's shape."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.shapes: dict[fx.Node, torch.Size] = {}

    def run_node(self, n: fx.Node) -> Any:
        try:
            value = super().run_node(n)
        except Exception as error:
            sources = [self.shapes[s] for s in n.all_input_nodes if s in self.shapes]
            got = ", ".join(str(tuple(shape)) for shape in sources)
            raise ExampleInputError(
                f"{describe(n)}: it cannot take a value of shape {got} ({error}). Repair: pass an "
                f"example_input of the shape that the model takes, examples first"
            ) from error
        if isinstance(value, Tensor):
            self.shapes[n] = value.shape
        return value


def _propagate_shapes(module: fx.GraphModule, example: Tensor) -> dict[fx.Node, torch.Size]:
    if not isinstance(example, Tensor):
        raise ExampleInputError(
            f"example_input: expected a tensor, examples first, got {type(example).__name__}"
        )
    if example.dim() < 2:
        raise ExampleInputError(
            f"example_input: expected a batch, examples first, got shape {tuple(example.shape)}. "
            f"Repair: x.unsqueeze(0) makes a batch of one example"
        )
    with evaluation_mode(module), torch.no_grad():
        interpreter = _ShapeInterpreter(module)
        interpreter.extra_traceback = False
        interpreter.run(example)
    return interpreter.shapes


def _compare_with_model(
    module: fx.GraphModule, own: nn.Module, in_place: list[nn.Module], example: Tensor
) -> None:
    """Run model and graph on the example: what tracing misses silently shows here.

    The two share their modules, of which the graph has those in `in_place` out-of-place.
    """
    with evaluation_mode(own), evaluation_mode(module), torch.no_grad():
        _set_in_place(in_place, True)
        expected = pytree.tree_leaves(own(example.clone()))
        _set_in_place(in_place, False)
        got = pytree.tree_leaves(module(example.clone()))
    tolerance = 1e-3 if example.element_size() < 8 else 1e-9
    for a, b in zip(got, expected, strict=True):
        if not isinstance(b, Tensor):
            continue
        scale = b.abs().nan_to_num(0, 0, 0).max() if b.numel() else 1.0
        if not torch.allclose(a, b, 0, float(tolerance * scale), equal_nan=True):
            raise TracingError(
                f"{type(own).__name__}: the traced graph and the model give different outputs for "
                f"example_input. Something in forward is not seen by a trace: a branch on the type "
                f"or identity of a value (type(x), `h is x`), or a tensor changed through .data. "
                f"Repair: write forward without it"
            )


def _set_in_place(modules: list[nn.Module], value: bool) -> None:
    for module in modules:
        module.inplace = value  # type: ignore[assignment]


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """`module` in evaluation mode inside the block; every submodule's own mode comes back."""
    modes = {m: m.training for m in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for m, mode in modes.items():
            m.training = mode
