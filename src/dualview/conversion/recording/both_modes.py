"""One graph for training and evaluation mode, which is the one that runs in eager use.

A forward is recorded in training mode, in evaluation mode, and once more in evaluation mode without
gradients, under autocast, and with what the earlier calls have left behind. Functional dropout may
differ between the modes, and nothing else may differ at all: a branch on what no graph carries
(`torch.is_grad_enabled()`, a counter, a random number of Python's) shows there, and is refused.
"""

from __future__ import annotations

import inspect
import random
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from dualview.conversion import operations as ops
from dualview.conversion.graph_network import GraphDraft
from dualview.conversion.recording.stand_in import Refusal
from dualview.conversion.recording.state import State, holds_stand_in
from dualview.conversion.recording.target_names import rename, root_of
from dualview.conversion.recording.tracer import (
    AUTOCAST_DEVICES,
    Tracer,
    torch_fx_is_tracing,
    wrapped_functions,
)
from dualview.conversion.source_lines import describe, users_line
from dualview.conversion.spellings import OPERATIONS
from dualview.errors import DualviewWarning, TracingError, UnsupportedOperationError

_DROPOUTS: dict[Any, type[nn.Module]] = dict(
    zip(OPERATIONS["dropout"].functions, OPERATIONS["dropout"].modules, strict=True)
)
"""Functional dropout -> the module that follows the mode in its place."""


class UnfollowedError(TracingError):
    """Forward asks for a value, size, dtype or device, which symbolic tracing does not know."""


@dataclass(frozen=True)
class _Recording:
    """One recorded forward: its graph, and the tensors that forward made itself, by name."""

    graph: fx.Graph
    constants: dict[str, Tensor]


def trace_both_modes(own: nn.Module, *, evaluation_only: bool = False) -> fx.GraphModule:
    """The graph of `own`, a private copy of a model, with its modules; they keep their modes.

    `evaluation_only` takes forward as it is in evaluation mode, whatever it does in training mode.

    Raises:
        UnfollowedError: forward asks what only shapes or values could tell.
        TracingError: forward cannot be followed, or does not do one and the same thing.
    """
    if torch_fx_is_tracing():
        raise TracingError(
            f"{type(own).__name__}: torch.fx is tracing in this process (a forward around this "
            f"call, or in another thread), and until it has finished no module can be called as "
            f"itself. Repair: convert before or after torch.fx.symbolic_trace"
        )
    paths = {name: module.training for name, module in own.named_modules()}
    name = _input_name(own)
    with _state_kept(own) as fresh, _all_need_gradients(own):
        own.train(not evaluation_only)
        training = _record(own, name)
        _refuse_state(own, [c for c in fresh.changes() if _counts(*c[1:])])
        fresh.restore()
        own.eval()
        evaluation = _record(own, name)
        kept = [path for path, _, new in fresh.changes() if holds_stand_in(new)]
        left = State(own)
        again = _record(own, name, gradients=False, autocast=True)
        _refuse_state(own, [c for c in left.changes() if not holds_stand_in(c[2])])
        if not _same_graph(evaluation, again):
            _refuse_another(own, evaluation, again, _record(own, name))
        module = _graph_network(own, evaluation)
    module.training = own.training
    for graph in (training.graph, again.graph):
        rename(graph)
        graph.owning_module = module
    for graph in (training.graph, module.graph):
        _refuse_contexts(graph)
    _warn_of_full_precision(again.graph)
    _reconcile_modes(module, training.graph, paths)
    if kept:
        warnings.warn(
            f"forward sets {', '.join(sorted(kept))}, which is not carried over: converted "
            f"networks hold no state",
            DualviewWarning,
            stacklevel=4,
        )
    return module


@contextmanager
def _state_kept(own: nn.Module) -> Iterator[State]:
    """What the modules hold, and their modes, put back whether they could be recorded or not."""
    modes = {module: module.training for module in own.modules()}
    fresh = State(own)
    try:
        yield fresh
    finally:
        fresh.restore()
        for module, mode in modes.items():
            module.training = mode


def _graph_network(own: nn.Module, recording: _Recording) -> fx.GraphModule:
    for name, tensor in recording.constants.items():
        setattr(own, name, tensor)
    root = root_of(own, recording.graph)
    rename(recording.graph)
    module = GraphDraft(root, recording.graph, class_name=type(own).__name__)
    for name in recording.constants:
        delattr(own, name)
    return module


def _record(
    own: nn.Module, name: str, *, gradients: bool = True, autocast: bool = False
) -> _Recording:
    try:
        with _ambient(gradients=gradients, autocast=autocast):
            return _without_random_numbers(own, name)
    except TracingError:
        raise
    except Exception as error:
        what = type(own).__name__
        if type(own).__module__.startswith("torch.nn") and what.lower() in ops.REASONS:
            reason, repair = ops.REASONS[what.lower()]
            raise UnsupportedOperationError(f"{what}: {reason}. Repair: {repair}") from error
        line = users_line(error.__traceback__)
        if isinstance(error, Refusal) and error.repair:
            kind = UnfollowedError if error.exported else TracingError
            raise kind(f"{what}: forward {error}, at {line}. Repair: {error.repair}") from error
        why = f"it {error}" if isinstance(error, Refusal) else str(error)
        raise UnfollowedError(
            f"{what}: tracing cannot follow {line} ({why}). Expected a forward that takes one "
            f"path, whatever the values and sizes of its input, and that keeps nothing from one "
            f"call to the next. Repair: replace `if`, `while`, `assert`, `len()`, `int()` or item "
            f"assignment on tensors by tensor operations (x.shape[0] for len(x)); pass an "
            f"example_input, with which shapes and dtypes are known; convert a network before it "
            f"is compiled or taken apart; or convert the part of the model before or after that "
            f"line"
        ) from error


def _without_random_numbers(own: nn.Module, name: str) -> _Recording:
    """Record a forward that draws none of Python's or NumPy's random numbers.

    Another thread may draw some meanwhile; that it does each time is taken for forward's own doing.
    """
    first = before = _random_state()
    for _ in range(5):
        recording = _recording(own, name)
        if _same_state(before, _random_state()):
            return recording
        if threading.active_count() == 1:
            break
        before = _random_state()
    random.setstate(first[0])
    np.random.set_state(first[1])  # noqa: NPY002
    raise TracingError(
        f"{type(own).__name__}: forward draws random numbers of Python's or NumPy's, which tracing "
        f"would freeze. Repair: use nn.Dropout, or add the noise outside the model"
    )


def _recording(own: nn.Module, name: str) -> _Recording:
    tracer = Tracer(own)
    try:
        graph = tracer.record(name)
    except Exception as error:
        tracer.forget_constants()
        if tracer.refusal is None and not isinstance(error, TypeError):
            raise
        with wrapped_functions(own):
            tracer = Tracer(own)
            graph = tracer.record(name)
    return _Recording(graph, tracer.forget_constants())


@contextmanager
def _ambient(*, gradients: bool, autocast: bool) -> Iterator[None]:
    """What forward may ask PyTorch for, set for this thread, and put back."""
    before = {device: torch.is_autocast_enabled(device) for device in AUTOCAST_DEVICES}
    with torch.inference_mode(False), torch.set_grad_enabled(gradients):
        try:
            for device in before:
                torch.set_autocast_enabled(device, autocast)
            yield
        finally:
            for device, enabled in before.items():
                torch.set_autocast_enabled(device, enabled)


def _random_state() -> tuple[Any, Any]:
    """Where Python's and NumPy's random numbers stand; they belong to all threads."""
    return random.getstate(), np.random.get_state(legacy=True)  # noqa: NPY002


def _same_state(one: tuple[Any, Any], other: tuple[Any, Any]) -> bool:
    return one[0] == other[0] and all(map(np.array_equal, one[1], other[1]))


@contextmanager
def _all_need_gradients(own: nn.Module) -> Iterator[None]:
    """Every parameter and buffer with gradients, so that what is computed of them shows it."""
    frozen = [
        tensor
        for tensor in (*own.parameters(), *own.buffers())
        if (tensor.is_floating_point() or tensor.is_complex()) and not tensor.requires_grad
    ]
    for tensor in frozen:
        tensor.requires_grad_(True)
    try:
        yield
    finally:
        for tensor in frozen:
            tensor.requires_grad_(False)


def _input_name(own: nn.Module) -> str:
    """What forward calls its one input; its optional arguments stay at their defaults."""
    parameters = list(inspect.signature(own.forward).parameters.values())
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    required = [p.name for p in parameters[1:] if p.default is p.empty and p.kind not in several]
    if not parameters or parameters[0].kind in several or required:
        raise TracingError(
            f"{type(own).__name__}.forward: expected one input tensor, got the signature "
            f"{inspect.signature(own.forward)}. Repair: wrap the model in a module whose forward "
            f"takes one tensor"
        )
    alone = len(parameters) == 1 and "forward" not in vars(own)
    return parameters[0].name if alone else "x"


def _refuse_state(own: nn.Module, changes: list[tuple[str, Any, Any]]) -> None:
    if changes:
        path, old, new = changes[0]
        raise TracingError(
            f"{type(own).__name__}: each call of forward changes {path} (from {_short(old)} to "
            f"{_short(new)}), and converted networks hold no state. Repair: keep count outside "
            f"the model, or return the value"
        )


def _counts(old: Any, new: Any) -> bool:
    """Whether a number was set, or a tensor changed, where other values may be made but once."""
    return type(new) in (int, float) or isinstance(old, Tensor)


def _short(value: Any) -> str:
    return type(value).__name__ if isinstance(value, Tensor) else repr(value)[:40]


def _same_graph(one: _Recording, other: _Recording) -> bool:
    if _calls(one.graph) != _calls(other.graph) or one.constants.keys() != other.constants.keys():
        return False
    return all(
        tensor.dtype != (again := other.constants[name]).dtype  # autocast rounds
        or (tensor.shape == again.shape and tensor.allclose(again, equal_nan=True))
        for name, tensor in one.constants.items()
    )


def _calls(graph: fx.Graph) -> list[tuple[Any, ...]]:
    """What the graph calls with what; where it reads a parameter first does not matter."""
    calls = [node for node in graph.nodes if node.op != "get_attr"]
    names = {node: f"%{k}" for k, node in enumerate(calls)}
    return [_told(node, lambda source: names.get(source, f"%{source.target}")) for node in calls]


def _told(node: fx.Node, name: Callable[[fx.Node], str]) -> tuple[Any, ...]:
    """What a node calls with what, the values of other nodes by these names."""
    arguments: Any = fx.map_arg((node.args, node.kwargs), name)
    return (node.op, node.target, *map(str, arguments))


def _refuse_another(
    own: nn.Module, evaluation: _Recording, again: _Recording, once_more: _Recording
) -> None:
    calls = [node for node in evaluation.graph.nodes if node.op != "get_attr"]
    pairs = zip(calls, _calls(evaluation.graph), _calls(again.graph), strict=False)
    found = next((node for node, one, other in pairs if one != other), None)
    same = _same_graph(evaluation, once_more)
    _graph_network(own, evaluation)  # owns the graph, of which a message names a module
    where = f"{describe(found)}: " if found is not None and found.op.startswith("call") else ""
    if same:
        raise TracingError(
            f"{where}forward does another thing when gradients are off or autocast is on "
            f"(torch.is_grad_enabled(), torch.is_autocast_enabled()), and a traced network does "
            f"one. Repair: take the branch out of forward"
        )
    raise TracingError(
        f"{where}forward does another thing each time it is called: it depends on what an earlier "
        f"call has left, on the time, or on random numbers. Repair: use nn.Dropout for noise, and "
        f"keep what changes outside forward"
    )


def _refuse_contexts(graph: fx.Graph) -> None:
    for node in graph.nodes:
        if not node.op.startswith("call"):
            continue
        if not node.meta["grad"]:
            raise TracingError(
                f"{describe(node)}: it runs under torch.no_grad(), which a traced network cannot "
                f"carry. Repair: use .detach() on the value, or freeze parameters by requires_grad"
            )
        if any(node.meta["autocast"]):
            raise TracingError(
                f"{describe(node)}: it runs under torch.autocast, whose rounding a traced network "
                f"cannot carry. Repair: call the network under torch.autocast, or use .to(dtype)"
            )


def _warn_of_full_precision(graph: fx.Graph) -> None:
    """Say that a part which forward computes without autocast would be computed with it."""
    found = [n for n in graph.nodes if n.op.startswith("call") and not all(n.meta["autocast"])]
    if found:
        warnings.warn(
            f"{describe(found[0])}: forward switches autocast off here, which is not carried "
            f"over: under autocast the converted network runs it in low precision",
            DualviewWarning,
            stacklevel=5,
        )


def _reconcile_modes(module: fx.GraphModule, training: fx.Graph, modes: dict[str, bool]) -> None:
    """Turn functional dropout that follows the mode into modules; refuse any other difference.

    Raises:
        UnfollowedError: a functional batch norm follows the mode; a layer in its place must be for
            values of its number of axes, which only shapes tell.
        TracingError: the modes differ in more than dropout.
    """
    evaluation = list(module.graph.nodes)
    other = list(training.nodes)
    if any(_follows_as_batch_norm(node) for node in other):
        raise UnfollowedError(
            "forward calls a functional batch norm that follows the mode. Repair: pass an "
            "example_input, whose shapes tell which layer it stands for; or use nn.BatchNorm "
            "modules"
        )
    for node, twin in zip(evaluation, other, strict=False):
        if _told(node, _own_name) == _told(twin, _own_name):
            continue
        if node.target in _DROPOUTS and _differ_in_training_only(node, twin):
            _use_dropout_module(module, node, modes)
            continue
        raise TracingError(
            f"{describe(node)}: forward does another thing in training mode than in evaluation "
            f"mode. Expected one graph for both. Repair: mode='evaluation' takes the model as it "
            f"is in evaluation mode; or use nn.Dropout and nn.BatchNorm modules, which follow the "
            f"mode, and return the same outputs in both modes"
        )
    if len(evaluation) != len(other):
        raise TracingError(
            f"forward runs {len(other)} operations in training mode and {len(evaluation)} in "
            f"evaluation mode. Repair: mode='evaluation' takes the model as it is in evaluation "
            f"mode; or return the same outputs in both modes"
        )


def _follows_as_batch_norm(node: fx.Node) -> bool:
    if node.target is not F.batch_norm:
        return False
    return bool(node.kwargs.get("training", node.args[5] if len(node.args) > 5 else False))


def _dropout_options(node: fx.Node) -> dict[str, Any]:
    names = ("input", "p", "training", "inplace")
    defaults = {"p": 0.5, "training": True, "inplace": False}
    return {**defaults, **dict(zip(names, node.args, strict=False)), **node.kwargs}


def _differ_in_training_only(node: fx.Node, twin: fx.Node) -> bool:
    """Whether a dropout is off in evaluation mode, on in training mode, and else the same."""
    if twin.target is not node.target:
        return False
    off, on = _dropout_options(node), _dropout_options(twin)
    return (off.pop("training"), on.pop("training")) == (False, True) and (
        str(fx.map_arg(off, lambda n: n.name)) == str(fx.map_arg(on, lambda n: n.name))
    )


def _own_name(node: fx.Node) -> str:
    return f"%{node.name}"


def _use_dropout_module(module: fx.GraphModule, node: fx.Node, modes: dict[str, bool]) -> None:
    options = _dropout_options(node)
    kind = _DROPOUTS[node.target]
    dropout = kind(options["p"], inplace=options["inplace"])
    name = f"functional_{node.name}"
    owners = [path for path, _ in node.meta.get("nn_module_stack", {}).values()]
    module.add_submodule(name, dropout.train(modes[owners[-1] if owners else ""]))
    source = options["input"]
    node.op, node.target, node.args, node.kwargs = "call_module", name, (source,), {}
