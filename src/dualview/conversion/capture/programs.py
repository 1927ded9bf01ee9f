"""A model -> the program that `torch.export` captures -> a graph over the model's own parts."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram, export
from torch.export.graph_signature import InputKind, InputSpec, OutputKind
from torch.utils import _pytree as pytree

from dualview.conversion.capture.calls import call_of, written
from dualview.conversion.capture.constants import constants_of
from dualview.conversion.capture.layers import Layers
from dualview.conversion.example_input import Example
from dualview.conversion.graph_network import GraphNetwork
from dualview.conversion.layer_tensors import TURNED
from dualview.conversion.modes import evaluation_mode
from dualview.conversion.recording.target_names import rename, root_of
from dualview.conversion.source_lines import users_frame, users_line
from dualview.errors import TracingError

CHECKS = frozenset({"_assert_tensor_metadata", "_assert_scalar", "_assert_async"})
"""Operations that only check what the capture has passed already."""


def captured(own: nn.Module, example: Example, *, evaluation_only: bool = False) -> fx.GraphModule:
    """The graph of `own` as it is in evaluation mode; dropout and batch norm follow the mode.

    Args:
        own: a private copy of the model. Layers that stand for functional calls are added to it.
        example: the model's inputs.
        evaluation_only: let training mode be what it is.

    Raises:
        TracingError: `torch.export` cannot follow the forward, or the forward does another thing in
            training mode than in evaluation mode, dropout and batch norm aside.
    """
    batch = example.of_several()
    following: dict[str, float] = {}
    with evaluation_mode(own), _buffers_kept(own):
        _refuse_own_backwards(own, batch)
        with _reads_of_the_mode(own) as reads:
            program = _program(own, batch)
        if reads and not evaluation_only:
            following = _dropouts_that_follow(program, own, batch)
    return network_of(own, program, following)


def _program(own: nn.Module, batch: Example) -> ExportedProgram:
    try:
        with warnings.catch_warnings(), torch.enable_grad():
            warnings.simplefilter("ignore")
            return export(
                own,
                batch.args,
                batch.kwargs,
                dynamic_shapes=batch.free_batch(own.forward),
                strict=False,
            )
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        raise TracingError(
            f"{type(own).__name__}: neither symbolic tracing nor torch.export can follow "
            f"{users_line(error.__traceback__)} ({reason}). Expected a forward whose steps do not "
            f"depend on the values of its input, or on the number of examples. Repair: replace "
            f"`if`, `while` and item assignment on tensors by tensor operations; switch off what "
            f"is not needed (use_cache=False of a language model); or convert the part of the "
            f"model before or after that line"
        ) from error


def _refuse_own_backwards(own: nn.Module, batch: Example) -> None:
    """Refuse an autograd function of the user's: of it the capture keeps the forward alone.

    Raises:
        TracingError: the outputs come from one.
    """
    frozen = [p for p in own.parameters() if p.is_floating_point() and not p.requires_grad]
    inputs = batch.copied().followed()
    for parameter in frozen:
        parameter.requires_grad_(True)
    try:
        with torch.enable_grad():
            outputs = own(*inputs.args, **inputs.kwargs)
    except Exception:  # that is told where the operation that fails is known
        return
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)
    leaves = [leaf for leaf in pytree.tree_leaves(outputs) if isinstance(leaf, Tensor)]
    waiting, seen = [leaf.grad_fn for leaf in leaves], set()
    while waiting:
        step = waiting.pop()
        if step is None or step in seen:
            continue
        seen.add(step)
        if isinstance(step, torch.autograd.function.BackwardCFunction):
            name = type(step).__name__.removesuffix("Backward")
            raise TracingError(
                f"{type(own).__name__}: forward calls {name}, a torch.autograd.Function with a "
                f"backward of its own, which no graph keeps. Repair: write it with PyTorch's own "
                f"operations (checkpoint: use_reentrant=False)"
            )
        waiting += [following for following, _ in step.next_functions]


@contextmanager
def _buffers_kept(own: nn.Module) -> Iterator[None]:
    """The statistics of batch norm, and other buffers, come back."""
    buffers = {name: value.clone() for name, value in own.named_buffers()}
    try:
        yield
    finally:
        for name, value in own.named_buffers():
            if name in buffers:
                value.copy_(buffers[name])


@contextmanager
def _reads_of_the_mode(own: nn.Module) -> Iterator[list[nn.Module]]:
    """Modules of the user's whose `training` is read inside the block, in evaluation mode.

    PyTorch's own layers read it too: dropout and batch norm, which are known.
    """
    reads: list[nn.Module] = []
    classes = {m: type(m) for m in own.modules() if not type(m).__module__.startswith("torch.")}

    def training(module: nn.Module) -> bool:
        reads.append(module)
        return False

    for module, kind in classes.items():
        module.__class__ = type(kind.__name__, (kind,), {"training": property(training)})
    try:
        yield reads
    finally:
        for module, kind in classes.items():
            module.__class__ = kind


def _dropouts_that_follow(
    evaluation: ExportedProgram, own: nn.Module, batch: Example
) -> dict[str, float]:
    """Name of each call with a dropout that is on in training mode alone -> its probability.

    Raises:
        TracingError: training mode differs in more than dropout and batch norm.
    """
    own.train()
    training = _program(own, batch)
    nodes, twins = _computing(evaluation), _computing(training)
    for node, twin in zip(nodes.values(), twins.values(), strict=False):
        if _without_mode(node, nodes) != _without_mode(twin, twins):
            raise _mode_error(own, node, twin)
    if len(nodes) != len(twins):
        raise _mode_error(own, None, None)
    found = {}
    for (name, node), twin in zip(nodes.items(), twins.values(), strict=True):
        off, on = _dropout_of(node), _dropout_of(twin)
        if on is not None and on > 0 and off == 0:
            found[name] = on
    return found


def _mode_error(own: nn.Module, node: fx.Node | None, twin: fx.Node | None) -> TracingError:
    where = ""
    if node is not None and twin is not None:
        frame = users_frame(twin.stack_trace) or users_frame(node.stack_trace) or ""
        where = f" ({node.target} becomes {twin.target}; {' '.join(frame.split())})"
    return TracingError(
        f"{type(own).__name__}: forward does another thing in training mode than in evaluation "
        f"mode{where}. Expected one graph for both, dropout and batch norm aside. Repair: "
        f"mode='evaluation' takes the model as it is in evaluation mode"
    )


_UNCHANGED = ("aten.contiguous.", "aten.alias.", "aten.detach.", "aten.clone.")
"""Operations that only say how a value lies in memory, which can follow the mode."""


def _computing(program: ExportedProgram) -> dict[str, fx.Node]:
    """The operations of a program by name, the counting of batches left out."""
    return {
        node.name: node
        for node in program.graph.nodes
        if node.op == "call_function"
        and "num_batches_tracked" not in str(node.args)
        and not str(node.target).startswith(_UNCHANGED)
    }


def _dropout_of(node: fx.Node) -> float | None:
    """With which probability the call at `node` drops entries; None: it never does."""
    name = str(node.target)
    if "scaled_dot_product_attention" in name:
        given: Any = node.args[4] if len(node.args) > 4 else node.kwargs.get("dropout_p", 0.0)
        return float(given)
    if "dropout" in name:
        given = node.args[1] if node.args[2] else 0.0
        return float(given)
    return None


def _without_mode(node: fx.Node, nodes: dict[str, fx.Node]) -> str:
    """What `node` computes, the options that follow the mode left out."""
    order = {name: f"%{number}" for number, name in enumerate(nodes)}

    def called(source: fx.Node) -> str:
        while str(source.target).startswith(_UNCHANGED):
            source = source.args[0]  # type: ignore[assignment]
        return order.get(source.name, source.name)

    given: Any = fx.map_arg((node.args, node.kwargs), called)
    args, kwargs = list(given[0]), dict(given[1])
    name = str(node.target)
    if "scaled_dot_product_attention" in name:
        kwargs.pop("dropout_p", None)
        args[3:] = [args[3] if len(args) > 3 else None, *args[5:]]
    elif "dropout" in name:
        args = args[:1]
    elif "batch_norm" in name:
        del args[5]
    return f"{name} {args} {kwargs}"


def network_of(
    own: nn.Module, program: ExportedProgram, following: Mapping[str, float], name: str = ""
) -> fx.GraphModule:
    """The program as a graph over the parts of `own`.

    Args:
        own: has the parameters and buffers of the program; layers are added to it.
        program: in evaluation mode.
        following: name of a captured node -> the probability with which it drops entries in
            training mode alone.
        name: what to call it. Default: as `own`.
    """
    graph = fx.Graph()
    layers = Layers(own, following)
    inputs = {spec.arg.name: spec for spec in program.graph_signature.input_specs}
    values: dict[fx.Node, Any] = {}
    constants, computed = constants_of(program)
    for node in program.graph.nodes:
        if node in computed:
            continue
        for source in (source for source in node.all_input_nodes if source in computed):
            values[source] = _constant(graph, own, source, constants[node, source])
        if node.op == "placeholder":
            values[node] = _input(graph, node, inputs[node.name])
        elif node.op == "call_function":
            values[node] = _operation(graph, layers, node, values)
        elif node.op == "output":
            graph.output(_outputs(program, node, values))
    for node in list(graph.nodes):  # parameters that a layer has now
        if node.op == "get_attr" and not node.users:
            graph.erase_node(node)
    root = root_of(own, graph)
    rename(graph)
    module = GraphNetwork(root, graph, class_name=name or type(own).__name__)
    module.training = own.training
    module.meta[TURNED] = layers.turned
    return module


def _constant(graph: fx.Graph, own: nn.Module, node: fx.Node, value: Any) -> Any:
    """A node that reads `value`, which the program computes at `node`."""
    if not isinstance(value, Tensor):
        return value
    number, name = 0, f"constant_{node.name}"
    while hasattr(own, name):
        number, name = number + 1, f"constant_{node.name}_{number + 1}"
    own.register_buffer(name, value, persistent=False)
    return graph.get_attr(name)


def _input(graph: fx.Graph, node: fx.Node, spec: InputSpec) -> fx.Node | None:
    if spec.kind is InputKind.USER_INPUT:
        return graph.placeholder(node.name) if isinstance(node.meta["val"], Tensor) else None
    if spec.target is None or spec.kind not in (InputKind.PARAMETER, InputKind.BUFFER):
        return None
    return graph.get_attr(spec.target)


def _operation(graph: fx.Graph, layers: Layers, node: fx.Node, values: dict[fx.Node, Any]) -> Any:
    args, kwargs = fx.map_arg((node.args, node.kwargs), values.__getitem__)
    if not hasattr(node.target, "_schema"):  # an operator on sizes
        new: Any = graph.call_function(node.target, args, kwargs)  # type: ignore[arg-type]
    else:
        call = call_of(node, args, kwargs, graph)
        if call.name in CHECKS or call.name.startswith("sym_constrain"):
            return None
        layer = layers.call(call)
        new = written(call) if layer is None else layer
    if isinstance(new, fx.Node):
        new.stack_trace = new.stack_trace or users_frame(node.stack_trace)
        new.meta["grad"] = True
    return new


def _outputs(program: ExportedProgram, node: fx.Node, values: dict[fx.Node, Any]) -> Any:
    """What the model returns: a dictionary in place of the data classes that libraries make."""
    specs = program.graph_signature.output_specs
    (given,) = node.args
    found: Any = fx.map_arg(given, values.__getitem__)
    leaves = [
        v for v, spec in zip(found, specs, strict=True) if spec.kind is OutputKind.USER_OUTPUT
    ]
    structure = program.call_spec.out_spec
    assert structure is not None
    if structure.type in (tuple, list, dict) or structure.is_leaf():
        return pytree.tree_unflatten(leaves, structure)
    names: Any = structure.context
    while isinstance(names[0], list | tuple):  # beside the fields that are None
        names = names[0]
    parts = structure.children()
    values_of = iter(leaves)
    return {
        name: pytree.tree_unflatten([next(values_of) for _ in range(part.num_leaves)], part)
        for name, part in zip(names, parts, strict=True)
    }
