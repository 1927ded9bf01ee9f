"""Questions of a forward that no stand-in can answer: `type(x) is Tensor`, `h is x`.

Python compares objects and their types without asking them. So the code of a forward, and of what
it calls, is read for such questions about its values. Where there is one, only running the model on
an example shows whether the recorded branch is the one that runs.
"""

from __future__ import annotations

import dis
from collections.abc import Iterator
from types import CodeType, FunctionType, MethodType
from typing import Any

from torch import fx, nn

from dualview.conversion.source_lines import is_users_file, line_of, operation_name
from dualview.errors import TracingError

_COMPARING = frozenset({"IS_OP", "COMPARE_OP", "CONTAINS_OP"})
_CONTAINERS = frozenset({"list", "dict", "set", "str"})
_SEVERAL = frozenset(
    ["chunk", "split", "unbind", "tensor_split", "max", "min", "topk", "sort", "MultiheadAttention"]
)
"""What gives several tensors in a tuple, by name."""
_SINGLE = (None, True, False, ...)
"""Objects of which there is one, so that `is` asks nothing of a tensor."""


def refuse_identity(own: nn.Module, graph: fx.Graph) -> None:
    """Refuse a forward that asks whether its values are one object, or of what exact type they are.

    Whether a value is a list or a tuple is no question, unless an operation of `graph` gives
    several tensors: neither a tensor nor what stands for it is one.

    Raises:
        TracingError: it does, or a function that it calls.
    """
    calls = {operation_name(node) for node in graph.nodes if node.op.startswith("call")}
    known = _CONTAINERS | (set() if calls & _SEVERAL else {"tuple"})
    for code, line in _questions(own, known):
        raise TracingError(
            f"{type(own).__name__}: forward asks for the exact type or identity of a value, at "
            f"{line_of(code.co_filename, line)}, which a trace cannot answer. Repair: ask "
            f"isinstance(x, Tensor), or pass example_input, on which the model and its trace are "
            f"then compared"
        )


def _questions(own: nn.Module, known: frozenset[str]) -> Iterator[tuple[CodeType, int]]:
    waiting = [found for module in own.modules() for found in _methods(module)]
    seen: set[CodeType] = set()
    while waiting:
        function, module, me = waiting.pop()
        if function.__code__ in seen:
            continue
        seen.add(function.__code__)
        for code in _nested(function.__code__):
            yield from ((code, line) for line in _asking_lines(code, me, known))
            waiting += _called_by(code, function, module)


_Found = tuple[FunctionType, nn.Module, str]  # a function, the module it is of, that module's name


def _methods(module: nn.Module) -> list[_Found]:
    """The forward of a module that is not PyTorch's, and functions that it holds."""
    if type(module).__module__.startswith("torch."):
        return []
    held = [getattr(type(module), "forward", None), *vars(module).values()]
    held = [h.__func__ if isinstance(h, MethodType) else h for h in held]
    return [(h, module, _first(h)) for h in held if _is_users(h)]


def _first(function: Any) -> str:
    names = function.__code__.co_varnames
    return names[0] if names else ""


def _is_users(function: Any) -> bool:
    return isinstance(function, FunctionType) and is_users_file(function.__code__.co_filename)


def _called_by(code: CodeType, function: FunctionType, module: nn.Module) -> Iterator[_Found]:
    """What `code` may call, by the names that it uses: methods, and functions of its file."""
    for name in code.co_names:
        method: Any = getattr(type(module), name, None)
        free: Any = function.__globals__.get(name)
        if _is_users(method):
            yield method, module, _first(method)
        if _is_users(free):
            yield free, module, ""


def _nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _nested(constant)


def _asking_lines(code: CodeType, me: str, known: frozenset[str]) -> Iterator[int]:
    """Lines of `code` that ask for an identity or an exact type of a local value but `me`."""
    steps = list(dis.get_instructions(code))
    line = code.co_firstlineno
    for k, step in enumerate(steps):
        line = (step.positions and step.positions.lineno) or line
        if step.opname not in _COMPARING and not _calls_issubclass(steps, k):
            continue
        operands = _operands(steps, k)
        last = operands[-1]
        if last.opname == "LOAD_CONST" and any(last.argval is single for single in _SINGLE):
            continue
        named = {o.argval for o in operands if o.opname == "LOAD_GLOBAL"}
        of_types = "type" in named
        if of_types and named - {"type"} and named - {"type"} <= known:
            continue
        if (step.opname == "IS_OP" or of_types) and any(_is_local(o, me) for o in operands):
            yield line


def _calls_issubclass(steps: list[dis.Instruction], k: int) -> bool:
    return steps[k].opname == "CALL" and any(
        o.opname == "LOAD_GLOBAL" and o.argval == "issubclass" for o in _operands(steps, k)
    )


def _operands(steps: list[dis.Instruction], k: int) -> list[dis.Instruction]:
    """The steps that make what step `k` takes off the stack: two values, or a call's arguments."""
    wanted = 2 + (steps[k].arg or 0 if steps[k].opname == "CALL" else 0)
    depth, first = 0, k
    while depth < wanted and first > 0:
        first -= 1
        step = steps[first]
        depth += 0 if step.opname == "PRECALL" else _effect(step)
        if step.opname == "CALL" and steps[first - 1].opname == "PRECALL":
            depth += _effect(steps[first - 1])
            first -= 1
    return steps[first:k]


def _effect(step: dis.Instruction) -> int:
    return dis.stack_effect(step.opcode, step.arg, jump=False)


def _is_local(step: dis.Instruction, me: str) -> bool:
    """Whether the step reads a local value, of this function or of one around it."""
    if not step.opname.startswith(("LOAD_FAST", "LOAD_DEREF")):
        return False
    names = step.argval if isinstance(step.argval, tuple) else (step.argval,)
    return any(name not in (me, "self", "__class__") for name in names)
