"""A program of `torch.export` -> a module of ordinary layers."""

from __future__ import annotations

from typing import Any

from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from dualview.conversion.capture.programs import network_of
from dualview.errors import TracingError

_TAKES_SIZES = frozenset(
    {"view", "reshape", "_unsafe_view", "expand", "unflatten", "full", "zeros"}
)
"""Operations that are given all sizes of their result, the number of examples first."""


def module_of_program(program: ExportedProgram) -> fx.GraphModule:
    """The module that `program` was exported from, its parameters shared, in evaluation mode.

    Raises:
        TracingError: the program is one for its own number of examples alone.
    """
    _refuse_one_number(program)
    own = nn.Module()
    for spec in program.graph_signature.input_specs:
        if spec.kind in (InputKind.PARAMETER, InputKind.BUFFER) and spec.target is not None:
            stored = program.state_dict if spec.target in program.state_dict else program.constants
            value: Any = stored[spec.target]
            _put(own, spec.target, value, parameter=spec.kind is InputKind.PARAMETER)
    return network_of(own.eval(), program, {}, name="ExportedProgram").eval()


def example_of(program: ExportedProgram) -> Any:
    """The inputs that it was exported with, as an example input; None where it has none."""
    if program.example_inputs is None:
        return None
    args, kwargs = program.example_inputs
    if args and kwargs:
        return None
    return kwargs or (args[0] if len(args) == 1 else args)


def _put(own: nn.Module, path: str, value: Tensor, *, parameter: bool) -> None:
    owner, names = own, path.split(".")
    for name in names[:-1]:
        if name not in owner._modules:
            owner.add_module(name, nn.Module())
        owner = owner.get_submodule(name)
    if parameter:
        owner.register_parameter(names[-1], nn.Parameter(value, value.requires_grad))
    else:
        owner.register_buffer(names[-1], value)


def _refuse_one_number(program: ExportedProgram) -> None:
    """Only sizes that are written out tie a program to the number of examples it was made with."""
    inputs = {
        s.arg.name for s in program.graph_signature.input_specs if s.kind is InputKind.USER_INPUT
    }
    shapes = [
        node.meta["val"].shape
        for node in program.graph.nodes
        if node.op == "placeholder" and node.name in inputs and _has_shape(node)
    ]
    written = {shape[0] for shape in shapes if isinstance(shape[0], int)}
    for node in program.graph.nodes:
        name = node.target._schema.name.split("::")[1] if hasattr(node.target, "_schema") else ""
        sizes = [arg for arg in node.args if isinstance(arg, list | tuple) and arg]
        if name in _TAKES_SIZES and any(arg[0] in written for arg in sizes):
            number = next(arg[0] for arg in sizes if arg[0] in written)
            raise TracingError(
                f"ExportedProgram: '{node.name}' makes a value for {number} examples alone, since "
                f"the program was exported for so many. Repair: torch.export.export(model, (x,), "
                f"dynamic_shapes=({{0: torch.export.Dim.DYNAMIC}},))"
            )


def _has_shape(node: fx.Node) -> bool:
    return isinstance(node.meta["val"], Tensor) and node.meta["val"].dim() > 0
