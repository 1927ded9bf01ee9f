"""What stands for a tensor, or a size, while a model's forward is recorded.

A symbolic trace is right only if forward takes the branch that it takes with real tensors. So a
stand-in says of itself what a tensor would say (`isinstance(x, Tensor)`, `hasattr(x, "shape")`),
and refuses what only a value could answer (`if x.sum() > 0`, `float(x)`). A refusal is kept by the
tracer, so that a forward which catches it does not go on to another branch unnoticed.
"""

from __future__ import annotations

import dis
import functools
import operator
import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, NoReturn

import torch
from torch import Tensor, fx, nn
from torch._functorch.utils import unwrap_dead_wrappers
from torch.autograd import Function

from dualview.conversion import operations as ops
from dualview.conversion.activations import GATE_OF_FUNCTION, GATE_OF_METHOD
from dualview.conversion.rewriting.in_place import AUGMENTED
from dualview.conversion.source_lines import is_users_file
from dualview.conversion.spellings import KEY_OF, functions_of, methods_of

_INTEGERS = frozenset(
    ["ndim", "dim", "ndimension", "numel", "nelement", "get_device", "element_size", "itemsize"]
)
_CLASS_OF_ATTRIBUTE: dict[str, type] = {
    "shape": torch.Size,
    "device": torch.device,
    "dtype": torch.dtype,
    "layout": torch.layout,
    **dict.fromkeys(["T", "mT", "H", "mH", "data", "real"], Tensor),
    **dict.fromkeys(["is_cuda", "requires_grad", "is_leaf", "is_meta", "is_sparse"], bool),
    **dict.fromkeys(_INTEGERS, int),
}
_TENSORS = ops.TENSOR_KEYS - ops.SEVERAL
_TENSOR_FUNCTIONS: frozenset[Any] = frozenset(
    function
    for function in functions_of(_TENSORS) | set(GATE_OF_FUNCTION)
    if function.__module__ != "_operator"
)
_TENSOR_METHODS = methods_of(_TENSORS) | set(GATE_OF_METHOD)
_WHOLE = frozenset(
    {
        *(operator.add, operator.sub, operator.mul, operator.floordiv, operator.mod),
        *(operator.neg, operator.pos, operator.abs),
        *(operator.iadd, operator.isub, operator.imul),
    }
)
"""What makes whole numbers of whole numbers."""
_COUNTING = frozenset({"range", "int", "bin", "hex", "oct", "chr", "divmod", "BINARY_SUBSCR"})
"""What needs a whole number in Python itself; BINARY_SUBSCR is `list[n]`."""
_COMPARISONS = frozenset(
    {operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge}
)
_OPERATORS = _WHOLE | _COMPARISONS | {operator.truediv, operator.itruediv, operator.matmul}
"""What makes a tensor where one is among the operands."""
_SEVERAL_OUTPUTS = (nn.MultiheadAttention, nn.RNNBase, nn.AdaptiveLogSoftmaxWithLoss)


class Refusal(fx.proxy.TraceError):
    """forward does what no graph can hold.

    Attributes:
        repair: empty where the usual ones apply.
        exported: whether `torch.export` may follow, for which it takes an example input.
    """

    def __init__(self, what: str, repair: str = "", exported: bool = False) -> None:
        super().__init__(what)
        self.repair = repair
        self.exported = exported


class StandIn(fx.Proxy):
    """Stands for the value of one node; records what is done with it."""

    tracer: Any  # dualview.conversion.recording.tracer.Tracer, which makes these

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        # PyTorch's own code in C asks this too, and would read a tensor's memory here if it were
        # told that there is one. So only a question of Python's gets the answer.
        frame = sys._getframe(1)
        if frame.f_code.co_filename == _UNWRAP:
            _refuse_custom_function(self, frame)
        while frame.f_code in _ASKING and frame.f_back is not None:
            frame = frame.f_back
        asked_by = frame.f_code
        setting = asked_by is nn.Module.__setattr__.__code__
        asked = frame is not sys._getframe(1) or _asks_for_class(asked_by, frame.f_lasti)
        if not (setting or (asked and is_users_file(asked_by.co_filename))):
            return type(self)
        found = self._kind()
        if found is None and not setting:
            self._refuse("asks for the type of a value that tracing does not know")
        return found or type(self)

    def __getattr__(self, name: str) -> Attribute:
        found = self._kind()
        if found is not None and not hasattr(found, name):
            raise AttributeError(f"{found.__name__!r} object has no attribute {name!r}")
        return Attribute(self, name)

    def _kind(self) -> type | None:
        """The class of the value; None where it is not known."""
        return kind_of(self.node, self.tracer)

    def _refuse(self, what: str, repair: str = "") -> NoReturn:
        raise self.tracer.refused(what, repair)

    @property
    def keys(self) -> fx.Proxy:
        """Not there, as on a tensor, whatever torch.fx's own stand-ins have."""
        raise AttributeError("'Tensor' object has no attribute 'keys'")

    def _text(self) -> str:
        if self._kind() in (torch.device, torch.dtype, torch.layout) and is_users_file(
            sys._getframe(2).f_code.co_filename
        ):
            self._refuse("takes the text of a device or dtype, on which its branches may depend")
        return f"<{self.node.name}>"

    def __str__(self) -> str:
        return self._text()

    def __repr__(self) -> str:
        return self._text()

    def __format__(self, spec: str) -> str:
        return self._text()

    def __index__(self) -> NoReturn:
        # PyTorch's own code in C asks this of every size that it is given, and takes a no.
        frame = sys._getframe(1)
        if is_users_file(frame.f_code.co_filename):
            asking = _running(frame.f_code, frame.f_lasti)
            if asking in _COUNTING:
                self._refuse(f"counts by a value or size of its input ({asking})")
        raise TypeError("a stand-in is no whole number")


def _augmented(function: Callable[..., Any]) -> Callable[..., Any]:
    def recorded(self: StandIn, other: Any) -> fx.Proxy:
        return self.tracer.create_proxy("call_function", function, (self, other), {})

    return recorded


for _function in AUGMENTED:  # `x += y` is recorded as the in-place operation that it is on tensors
    setattr(StandIn, f"__{_function.__name__}__", _augmented(_function))


def _number(name: str) -> Callable[..., Any]:
    def asked(self: StandIn, *args: Any) -> NoReturn:
        self._refuse(f"takes {name}() of a value or size of its input")

    return asked


for _name in ("int", "float", "complex", "len", "round", "trunc", "floor", "ceil"):
    setattr(StandIn, f"__{_name}__", _number(_name))


class Attribute(StandIn, fx.proxy.Attribute):
    """An attribute of a stand-in, or, once it is called, a method; recorded when it is used."""

    def __init__(self, root: StandIn, attr: str) -> None:
        fx.proxy.Attribute.__init__(self, root, attr)

    def _kind(self) -> type | None:
        return _CLASS_OF_ATTRIBUTE.get(self.attr)


def kind_of(node: fx.Node, tracer: Any) -> type | None:
    """The class of the value of `node` when the model runs; None where it is not known."""
    if node.op == "placeholder":
        return Tensor
    if node.op == "get_attr":
        return nn.Parameter if tracer.is_parameter(str(node.target)) else Tensor
    if node.op == "call_module":
        module = tracer.module(str(node.target))
        several = isinstance(module, _SEVERAL_OUTPUTS) or getattr(module, "return_indices", False)
        return None if several else Tensor
    if node.op == "call_method":
        return _kind_of_method(node)
    return _kind_of_function(node, tracer) if node.op == "call_function" else None


def _kind_of_method(node: fx.Node) -> type | None:
    name = str(node.target)
    if name == "size":
        return int if len(node.args) > 1 or node.kwargs else torch.Size
    if name in _INTEGERS:
        return int
    if KEY_OF.get(name) in ops.SEVERAL:
        return tuple
    return Tensor if name in _TENSOR_METHODS or name.rstrip("_") in _TENSOR_METHODS else None


def _kind_of_function(node: fx.Node, tracer: Any) -> type | None:
    """Class of what a function makes of its arguments; None where it cannot be told."""
    target: Any = node.target
    if target is getattr:
        return _CLASS_OF_ATTRIBUTE.get(str(node.args[1]))
    if target is operator.getitem:
        return _kind_of_item(node, tracer)
    if target in _TENSOR_FUNCTIONS:
        return Tensor
    if KEY_OF.get(target) in ops.SEVERAL:
        return tuple
    kinds = {kind_of(source, tracer) for source in node.all_input_nodes}
    if target in _OPERATORS and kinds & {Tensor, nn.Parameter}:
        return Tensor
    if kinds != {int} or any(isinstance(number, float) for number in node.args):
        return None
    if target in _COMPARISONS:
        return bool
    return int if target in _WHOLE else float if target is operator.truediv else None


def _kind_of_item(node: fx.Node, tracer: Any) -> type | None:
    source, index = node.args
    kind = kind_of(source, tracer) if isinstance(source, fx.Node) else None
    if kind is torch.Size:
        return torch.Size if isinstance(index, slice) else int
    if kind in (Tensor, nn.Parameter) or (kind is tuple and isinstance(index, int)):
        return Tensor
    return kind if kind is tuple else None


def _asks_for_class(code: CodeType, position: int) -> bool:
    """Whether the instruction at `position` calls isinstance, matches or reads a class."""
    named = {"isinstance", "__class__"}.intersection(code.co_names)
    if not named and dis.opmap["MATCH_CLASS"] not in code.co_code[::2]:
        return False
    return _running(code, position) in ("isinstance", "__class__", "MATCH_CLASS")


@functools.lru_cache(maxsize=1024)
def _running(code: CodeType, position: int) -> str:
    """What the instruction at `position` does: the built-in function or attribute it names, or it.

    Functions and attributes of other objects are not told apart.
    """
    before = [i for i in dis.get_instructions(code) if i.offset <= position]
    call = before.pop()
    if call.opname == "LOAD_ATTR":
        return str(call.argval)
    if call.opname not in ("PRECALL", "CALL"):
        return call.opname
    if call.opname == "CALL" and before[-1].opname == "PRECALL":
        before.pop()
    depth = 0
    for step in reversed(before):  # back to what was pushed before the arguments: the function
        depth += dis.stack_effect(step.opcode, step.arg, jump=False)
        if depth > (call.arg or 0):
            return str(step.argval) if step.opname == "LOAD_GLOBAL" else call.opname
    return call.opname


_ASKING = frozenset({torch.is_tensor.__code__, type(nn.Parameter).__instancecheck__.__code__})
"""PyTorch's functions in Python that ask of a value whether it is a tensor, and no more."""
_UNWRAP = unwrap_dead_wrappers.__code__.co_filename
"""Where PyTorch looks at what a custom function is given."""
_APPLY = Function.apply.__func__.__code__  # type: ignore[attr-defined]


def _refuse_custom_function(value: StandIn, frame: FrameType | None) -> NoReturn:
    """A function with a backward of its own would lose it."""
    while frame is not None and frame.f_code is not _APPLY:
        frame = frame.f_back
    name = getattr(frame and frame.f_locals.get("cls"), "__name__", "a function")
    value._refuse(
        f"calls {name}, a torch.autograd.Function with a backward of its own, which no graph keeps",
        "write it with PyTorch's own operations (checkpoint: use_reentrant=False)",
    )
