"""`nn.Module` -> torch.fx graph in which every activation call site is known, or a refusal.

The steps: copy the model, trace the copy in training and in evaluation mode, write attention
modules out, make in-place operations out-of-place, drop dead code, verify that the signal path is
affine between activations and max pools (given its multipliers), and (given an example input) note
every value's shape. The user's model is only read.
"""

from __future__ import annotations

import copy
import functools
import inspect
import operator
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.utils import prune
from torch.utils import _pytree as pytree

from dualview.conversion import operations as ops
from dualview.conversion.activations import GATE_OF_FUNCTION, GATE_OF_METHOD, GATE_OF_MODULE
from dualview.conversion.gates import Gate
from dualview.conversion.graph_network import GraphNetwork
from dualview.conversion.operations import DROPOUT_FUNCTIONS
from dualview.conversion.pooling import MaxPool, max_pool_of_function, max_pool_of_module
from dualview.conversion.rewriting.in_place import AUGMENTED, make_out_of_place
from dualview.conversion.rewriting.last_squash import cut_off_squash
from dualview.conversion.rewriting.maxima import has_maxima, write_maxima_as_pools
from dualview.conversion.rewriting.multihead_attention import write_out_attention
from dualview.conversion.rewriting.spelled_activations import name_spelled_activations
from dualview.conversion.rewriting.writing_out import write_out
from dualview.conversion.signal_path import multipliers_on, signal_path
from dualview.conversion.source_lines import describe, module_of, stack_trace_here, users_line
from dualview.conversion.verification import (
    is_activation,
    is_max_pool,
    value_kinds,
    verify,
    verify_examples_apart,
)
from dualview.errors import (
    DualviewWarning,
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
    expected = None if example_input is None else _outputs_of(own, example_input)
    module = _traced_or_captured(own, example_input)
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
    signal = [node for node in module.graph.nodes if node in on_path]
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


def _traced_or_captured(own: nn.Module, example: Tensor | None) -> fx.GraphModule:
    try:
        return _trace_both_modes(own)
    except TracingError:
        if example is None:
            raise
    from dualview.conversion.capture import captured

    return captured(own, example)


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


def private_copy(model: nn.Module) -> nn.Module:
    """A deep copy without hooks. Hooks that change the output would be lost silently, so warn.

    Raises:
        TracingError: `model` cannot be copied, or is wrapped or compiled.
    """
    if not isinstance(model, nn.Module):
        raise TracingError(f"expected a torch.nn.Module, got {type(model).__name__}")
    _refuse_wrappers(model)
    for module in model.modules():
        _refuse_weight_hooks(module)
    try:
        own = copy.deepcopy(model)
    except Exception as error:
        raise TracingError(
            f"{type(model).__name__} cannot be copied ({error}), and the original is never "
            f"changed. Repair: keep only parameters, buffers and plain values as attributes"
        ) from error
    _refuse_shared(model, own)
    _warn_about_train(own)
    hooked = [name or "the model itself" for name, m in own.named_modules() if _drop_hooks(m)]
    if hooked:
        warnings.warn(
            f"hooks on {', '.join(hooked)} are not carried over: converted networks run none. "
            f"If a hook changes values, write it into forward instead",
            DualviewWarning,
            stacklevel=3,
        )
    return own


def _refuse_shared(model: nn.Module, own: nn.Module) -> None:
    """The copy must share nothing with the model, whatever its `__deepcopy__` does."""
    theirs = {id(part) for part in (*model.modules(), *model.parameters(), *model.buffers())}
    if any(id(part) in theirs for part in (*own.modules(), *own.parameters(), *own.buffers())):
        raise TracingError(
            f"{type(model).__name__}: copy.deepcopy of it shares modules or parameters with it, "
            f"and the original is never changed. Repair: let __deepcopy__ make a real copy"
        )


def _warn_about_train(own: nn.Module) -> None:
    names = [n or "the model itself" for n, m in own.named_modules() if _train_is_overridden(m)]
    if names:
        warnings.warn(
            f"the train method of {', '.join(names)} is not carried over: converted networks "
            f"switch all their modules between training and evaluation mode alike",
            DualviewWarning,
            stacklevel=4,
        )


def _train_is_overridden(module: nn.Module) -> bool:
    of_torch = type(module).__module__.startswith("torch.")
    return not of_torch and type(module).train is not nn.Module.train


def _refuse_names(own: nn.Module) -> None:
    taken = [
        name
        for name in (*own._modules, *own._parameters, *own._buffers)
        if hasattr(fx.GraphModule, name)
    ]
    if taken:
        raise TracingError(
            f"{type(own).__name__}.{taken[0]}: torch.fx uses this name itself. Repair: rename the "
            f"attribute"
        )


def _refuse_wrappers(model: nn.Module) -> None:
    wrappers = (nn.DataParallel, nn.parallel.DistributedDataParallel, torch.jit.ScriptModule)
    if isinstance(model, wrappers) or hasattr(model, "_orig_mod"):
        raise TracingError(
            f"{type(model).__name__} wraps a network. Repair: pass the network inside it "
            f"(.module, ._orig_mod, or the module before scripting) and wrap the result"
        )
    lazy = [n for n, p in model.named_parameters() if isinstance(p, nn.UninitializedParameter)]
    if lazy:
        raise TracingError(
            f"parameter '{lazy[0]}' has no shape yet (a lazy module). Repair: run the model once"
        )


def _refuse_weight_hooks(module: nn.Module) -> None:
    if hasattr(module, "parametrizations"):
        raise TracingError(
            f"{type(module).__name__} has a parametrized weight, which is made anew at each call. "
            f"Repair: torch.nn.utils.parametrize.remove_parametrizations(layer, 'weight')"
        )
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, prune.BasePruningMethod):
            raise TracingError(
                f"{type(module).__name__} is pruned by a hook that masks its weight at each call. "
                f"Repair: torch.nn.utils.prune.remove(layer, 'weight') makes pruning permanent"
            )
        if type(hook).__name__ in ("WeightNorm", "SpectralNorm"):
            raise TracingError(
                f"{type(hook).__name__} on {type(module).__name__} is a hook that makes a weight "
                f"anew at each call. Repair: remove it (torch.nn.utils.remove_weight_norm, "
                f"remove_spectral_norm)"
            )


def _drop_hooks(module: nn.Module) -> bool:
    """Remove every hook of `module`; say whether there was one that a user set."""
    names = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    found = False
    for name in names:
        hooks = getattr(module, name)
        found = found or bool(hooks)
        hooks.clear()
    return found


class _InPlaceProxy(fx.Proxy):
    """A proxy that records `x += y` as the in-place operation that it is on tensors."""

    def _augmented(self, function: Callable[..., Any], other: Any) -> fx.Proxy:
        return self.tracer.create_proxy("call_function", function, (self, other), {})

    def __iadd__(self, other: Any) -> fx.Proxy:
        return self._augmented(operator.iadd, other)

    def __isub__(self, other: Any) -> fx.Proxy:
        return self._augmented(operator.isub, other)

    def __imul__(self, other: Any) -> fx.Proxy:
        return self._augmented(operator.imul, other)

    def __itruediv__(self, other: Any) -> fx.Proxy:
        return self._augmented(operator.itruediv, other)


assert set(AUGMENTED) == {operator.iadd, operator.isub, operator.imul, operator.itruediv}


class _Tracer(fx.Tracer):
    proxy_buffer_attributes = True  # else a buffer changed in forward would change while tracing

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _InPlaceProxy(node, self)

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        node = super().create_node(*args, **kwargs)
        node.stack_trace = stack_trace_here()
        node.meta["grad"] = torch.is_grad_enabled()
        return node


def _trace_both_modes(own: nn.Module) -> fx.GraphModule:
    """Trace in training and evaluation mode; they may differ in functional dropout only."""
    modes = {module: module.training for module in own.modules()}
    paths = {name: module.training for name, module in own.named_modules()}
    attributes = set(vars(own))
    try:
        own.train()
        training = _trace_once(own)
        for name in set(vars(own)) - attributes:  # tensors made in forward, made again below
            delattr(own, name)
        own.eval()
        evaluation = _trace_once(own)
    finally:
        for module, mode in modes.items():
            module.training = mode
    module = GraphNetwork(own, evaluation, class_name=type(own).__name__)
    _refuse_no_grad(module.graph)
    _reconcile_modes(module, training, paths)
    return module


def _trace_once(own: nn.Module) -> fx.Graph:
    _refuse_names(own)
    _take_one_input(own)
    try:
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            before = (torch.get_rng_state(), random.getstate())
            graph = _Tracer().trace(own)
            drawn = not torch.equal(before[0], torch.get_rng_state())
            drawn = drawn or before[1] != random.getstate()
            random.setstate(before[1])
    except Exception as error:
        name = type(own).__name__
        if type(own).__module__.startswith("torch.nn") and name.lower() in ops.REASONS:
            reason, repair = ops.REASONS[name.lower()]
            raise UnsupportedOperationError(f"{name}: {reason}. Repair: {repair}") from error
        line = users_line(error.__traceback__)
        raise TracingError(
            f"{type(own).__name__}: torch.fx cannot follow {line} ({error}). Expected a forward "
            f"whose steps depend neither on the values nor on the sizes of its input. Repair: "
            f"replace `if`, `while`, `assert`, `len()`, `int()` or item assignment on tensors by "
            f"tensor operations (x.shape[0] for len(x)); convert a network before it is compiled "
            f"or taken apart; or convert the part of the model before or after that line"
        ) from error
    if drawn:
        raise TracingError(
            f"{type(own).__name__}: forward draws random numbers, which tracing would freeze. "
            f"Repair: use nn.Dropout, or add the noise outside the model"
        )
    return graph


def _refuse_no_grad(graph: fx.Graph) -> None:
    for node in graph.nodes:
        if node.op.startswith("call") and not node.meta["grad"]:
            raise TracingError(
                f"{describe(node)}: it runs under torch.no_grad(), which a traced network cannot "
                f"carry. Repair: use .detach() on the value, or freeze parameters by requires_grad"
            )


class _NoSubclassHook:
    """First base of a class made here, so that the user's `__init_subclass__` is not run."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        return


def _take_one_input(own: nn.Module) -> None:
    """Fix forward's optional arguments at their defaults, so that one input is left."""
    parameters = list(inspect.signature(own.forward).parameters.values())
    fixed = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    required = [p.name for p in parameters[1:] if p.default is p.empty and p.kind not in fixed]
    if not parameters or parameters[0].kind in fixed or required:
        raise TracingError(
            f"{type(own).__name__}.forward: expected one input tensor, got the signature "
            f"{inspect.signature(own.forward)}. Repair: wrap the model in a module whose forward "
            f"takes one tensor"
        )
    if len(parameters) > 1 or "forward" in vars(own):
        original = type(own)
        # A forward set on the instance hides the class's, which is what torch.fx looks at.
        forward = vars(own).pop("forward", None) or functools.partial(original.forward, own)
        own.__class__ = type(
            original.__name__,
            (_NoSubclassHook, original),
            {"forward": lambda self, x: forward(x), "__module__": original.__module__},
        )


def _reconcile_modes(module: fx.GraphModule, training: fx.Graph, modes: dict[str, bool]) -> None:
    """Turn functional dropout that follows the mode into modules; refuse any other difference."""
    evaluation = list(module.graph.nodes)
    other = list(training.nodes)
    for node, twin in zip(evaluation, other, strict=False):
        if _same_call(node, twin):
            continue
        if node.target in DROPOUT_FUNCTIONS and _differ_in_training_only(node, twin):
            _use_dropout_module(module, node, modes)
            continue
        raise TracingError(
            f"{describe(node)}: forward does another thing in training mode than in evaluation "
            f"mode. Expected one graph for both. Repair: use nn.Dropout and nn.BatchNorm modules, "
            f"which follow the mode, and return the same outputs in both modes"
        )
    if len(evaluation) != len(other):
        raise TracingError(
            f"forward runs {len(other)} operations in training mode and {len(evaluation)} in "
            f"evaluation mode. Repair: return the same outputs in both modes"
        )


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


def _same_call(node: fx.Node, twin: fx.Node) -> bool:
    def names(argument: Any) -> Any:
        return fx.map_arg(argument, lambda n: f"%{n.name}")

    return (node.op, node.target, str(names(node.args)), str(names(node.kwargs))) == (
        twin.op,
        twin.target,
        str(names(twin.args)),
        str(names(twin.kwargs)),
    )


def _use_dropout_module(module: fx.GraphModule, node: fx.Node, modes: dict[str, bool]) -> None:
    options = _dropout_options(node)
    kind = DROPOUT_FUNCTIONS[node.target]  # type: ignore[index]
    dropout = kind(options["p"], inplace=options["inplace"])
    name = f"functional_{node.name}"
    owners = [path for path, _ in node.meta.get("nn_module_stack", {}).values()]
    module.add_submodule(name, dropout.train(modes[owners[-1] if owners else ""]))
    source = options["input"]
    node.op, node.target, node.args, node.kwargs = "call_module", name, (source,), {}


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
