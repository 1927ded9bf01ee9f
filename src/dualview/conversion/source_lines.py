"""Where a node of a traced graph stands in the user's code, for messages."""

from __future__ import annotations

import linecache
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import torch
from torch import fx, nn

_TORCH = torch.__path__[0]


_HERE = Path(__file__).parent
_TRACER = str(_HERE / "recording" / "tracer.py")
_TRACING = tuple(str(_HERE / name) for name in ("recording", "capture", "tracing.py"))


def is_users_file(file: str) -> bool:
    """Whether `file` is neither PyTorch's nor what traces in this package."""
    return not file.startswith((_TORCH, "<", *_TRACING))


def operation_name(node: fx.Node) -> str:
    """The plain name of what `node` calls: `softmax`, `Conv2d`, `view`."""
    if node.op == "call_module":
        return type(module_of(node)).__name__
    if node.op == "call_function":
        name = getattr(node.target, "__name__", str(node.target))
        # F.max_pool2d and its like are wrappers that are all called "fn".
        return node.name.rstrip("_0123456789") + "d" if name == "fn" else name
    return str(node.target)


def module_of(node: fx.Node) -> nn.Module:
    """The module that a `call_module` node calls."""
    found: Any = node.graph.owning_module
    for name in str(node.target).split("."):
        found = found._modules[name]  # a third of the time of get_submodule, and it is often asked
    return found


def module_said(module: nn.Module, path: str) -> str:
    """A module of a model as messages call it: its path, or the model itself, and its type."""
    return f"{f'module {path!r}' if path else 'the model'} ({type(module).__name__})"


def attribute_of(node: fx.Node) -> Any:
    """The parameter, buffer or constant that a `get_attr` node reads."""
    return attrgetter(str(node.target))(node.graph.owning_module)


def called(node: fx.Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """What a call of a function, a method or a module makes of other arguments than its own."""
    if node.op == "get_attr":
        return attribute_of(node)
    if node.op == "call_module":
        return module_of(node)(*args, **kwargs)
    if node.op == "call_method":
        return getattr(args[0], str(node.target))(*args[1:], **kwargs)
    function: Any = node.target
    return function(*args, **kwargs)


def describe(node: fx.Node) -> str:
    """Operation, module path and source line of `node`, for the head of an error message."""
    if node.op == "call_module":
        what = f"{operation_name(node)} (module '{node.target}')"
    elif node.op == "call_method":
        what = f"method .{node.target}()"
    elif node.target is getattr:
        what = f"attribute .{node.args[1]}"
    else:
        what = operation_name(node)
    line = source_line(node)
    return f"{what} at {line}" if line else what


def stack_trace_here() -> str | None:
    """The innermost of the user's frames below the tracer's `record`, as Python prints it.

    PyTorch records whole stacks, and imports its compiler to write them down.
    """
    for frame in _frames_below_record():
        file, number = frame.f_code.co_filename, frame.f_lineno
        if is_users_file(file):
            code = linecache.getline(file, number, frame.f_globals).strip()
            return f'File "{file}", line {number}, in {frame.f_code.co_name}\n    {code}'
    return None


def is_under(file: str, function: str) -> bool:
    """Whether `function` of `file` is running, between the caller and the tracer's `record`."""
    codes = (frame.f_code for frame in _frames_below_record())
    return any(c.co_filename == file and c.co_qualname.startswith(function) for c in codes)


def _frames_below_record() -> Iterator[FrameType]:
    """What is running, from the function that asks outwards to the tracer's `record`."""
    frame: FrameType | None = sys._getframe(2)
    while frame and not (frame.f_code.co_name == "record" and frame.f_code.co_filename == _TRACER):
        yield frame
        frame = frame.f_back


def source_line(node: fx.Node) -> str:
    """`file:line: code` of the user's line that made `node`; "" where none is known."""
    if not node.stack_trace:
        return ""
    place, code = node.stack_trace.split("\n")
    _, file, position = place.split('"')
    return f"{file}:{position.split('line ')[1].split(',')[0]}: {code.strip()}"


def line_of(file: str, number: int) -> str:
    """`file:line: code` of a line of a file."""
    return f"{file}:{number}: {linecache.getline(file, number).strip()}"


def users_line(trace: TracebackType | None) -> str:
    """`file:line: code` of the innermost of the user's lines in an exception's traceback."""
    frames = [f for f in traceback.extract_tb(trace) if is_users_file(f.filename)]
    if not frames:
        return "a line of the model's forward"
    return f"{frames[-1].filename}:{frames[-1].lineno}: {frames[-1].line}"


def as_nodes(value: Any) -> list[fx.Node]:
    """Every node inside an argument, in order."""
    found: list[fx.Node] = []

    def note(node: fx.Node) -> fx.Node:
        found.append(node)
        return node

    fx.map_arg(value, note)
    return found


def users_frame(stack: str | None) -> str | None:
    """The innermost of the user's frames in a printed stack, as `describe` reads it."""
    for frame in reversed((stack or "").split('File "')[1:]):
        file, _, rest = frame.partition('"')
        if is_users_file(file):
            head, _, code = rest.partition("\n")
            line = code.strip().split("\n")[0]
            return f'File "{file}"{head}\n    {line}'
    return None
