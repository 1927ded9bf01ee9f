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
from typing import Any, Literal

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from dualview.conversion.activations import GATE_OF_FUNCTION, GATE_OF_METHOD, GATE_OF_MODULE
from dualview.conversion.gates import Gate
from dualview.conversion.pooling import MaxPool, max_pool_of_function, max_pool_of_module
from dualview.conversion.recording.both_modes import UnfollowedError, trace_both_modes
from dualview.conversion.recording.private_copy import private_copy
from dualview.conversion.rewriting.in_place import make_out_of_place
from dualview.conversion.rewriting.last_squash import cut_off_squash
from dualview.conversion.rewriting.maxima import has_maxima, write_maxima_as_pools
from dualview.conversion.rewriting.multihead_attention import write_out_attention
from dualview.conversion.rewriting.spelled_activations import name_spelled_activations
from dualview.conversion.rewriting.writing_out import write_out
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


Mode = Literal["evaluation"]


@dataclass(frozen=True)
class TracedNetwork:
    """A model's graph with what its signal path multiplies by, in the order in which they run.

    `signal_path` holds what the output needs once `activations`, `max_pools` and `multipliers`
    (LayerNorm and attention, `signal_path`) are replayed; what is off it computes
    attention weights. `shapes` holds the shape of every tensor value, by node, where an example
    input was given; axis 0 is the example. `squash` takes the graph's output, the logits, and gives
    what the model gives; None where that is the same.
    """

    module: fx.GraphModule
    activations: tuple[fx.Node, ...]
    max_pools: tuple[fx.Node, ...]
    multipliers: tuple[fx.Node, ...]
    signal_path: frozenset[fx.Node]
    shapes: dict[fx.Node, torch.Size]
    squash: fx.GraphModule | None = None

    @property
    def graph(self) -> fx.Graph:
        """The traced graph."""
        return self.module.graph

    @property
    def input(self) -> fx.Node:
        """The graph's one placeholder."""
        return next(node for node in self.graph.nodes if node.op == "placeholder")


def trace(
    model: nn.Module,
    example_input: Any = None,
    *,
    mode: Mode | None = None,
    output: str | int | None = None,
) -> TracedNetwork:
    """Trace a copy of `model`.

    Args:
        model: any module that torch.fx can trace; with an example, any that torch.export can.
        example_input: a batch (examples first) that the model can take, or a tuple or dictionary
            of its inputs; the values do not matter.
        mode: "evaluation" takes the model as it is in evaluation mode. Default: training mode must
            do the same, dropout and batch norm aside.
        output: which of the model's outputs to take, by name or number. Default: all.

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
    expected = None if example_input is None else _outputs_of(own, example_input)
    module = _recorded(own, example_input, mode)
    write_out_attention(module)
    make_out_of_place(module.graph)
    drop_dead_code(module.graph)
    write_out(module, value_kinds(module.graph))
    name_spelled_activations(module, value_kinds(module.graph))
    ranks = {}
    if example_input is not None and has_maxima(module.graph):
        ranks = _propagate_shapes(module, example_input)
    write_maxima_as_pools(module, value_kinds(module.graph), ranks)
    squash = cut_off_squash(module, value_kinds(module.graph))
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
        assert expected is not None
        _compare_with_model(module, squash, own, expected, example_input)
    return TracedNetwork(module, activations, max_pools, multipliers, on_path, shapes, squash)


def _recorded(own: nn.Module, example: Any, mode: Mode | None) -> fx.GraphModule:
    """The graph of `own`: by symbolic tracing, which is quick, or by torch.export, which knows shapes.

    Raises:
        TracingError: neither can follow the forward.
    """
    if example is None or isinstance(example, Tensor):
        try:
            return trace_both_modes(own, evaluation_only=mode == "evaluation")
        except UnfollowedError:
            if example is None:
                raise
    from dualview.conversion.capture import captured

    return captured(own, example, evaluation_only=mode == "evaluation")


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


def _outputs_of(own: nn.Module, example: Tensor) -> list[Any] | None:
    """What the model gives for the example in evaluation mode, before anything of it is changed."""
    if not isinstance(example, Tensor):
        return None
    try:
        with evaluation_mode(own), torch.no_grad():
            return pytree.tree_leaves(own(example.clone()))
    except Exception:  # the shapes say what is wrong with it
        return None


def _compare_with_model(
    module: fx.GraphModule,
    squash: fx.GraphModule | None,
    own: nn.Module,
    expected: list[Any],
    example: Tensor,
) -> None:
    """Run the graph on the example: what tracing misses silently shows here."""
    with evaluation_mode(module), torch.no_grad():
        value = module(example.clone())
        got = pytree.tree_leaves(value if squash is None else squash(value))
    tolerance = 1e-3 if example.element_size() < 8 else 1e-9
    for a, b in zip(got, expected, strict=True):
        if not isinstance(b, Tensor):
            continue
        scale = b.abs().nan_to_num(0, 0, 0).max() if b.numel() else 1.0
        if not torch.allclose(a, b, 0, float(tolerance * scale), equal_nan=True):
            raise TracingError(
                f"{type(own).__name__}: the traced graph and the model give different outputs for "
                f"example_input. Something in forward is not seen by torch.fx: a branch on "
                f"isinstance(x, Tensor), a changed attribute, or a tensor changed through .data. "
                f"Repair: write forward without it"
            )


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
