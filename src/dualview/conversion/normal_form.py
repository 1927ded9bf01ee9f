"""The one normal form of a call: a key for the operation, and its arguments by name.

Every table of rules (kernel, paths, filters, the fast kernel) has one entry for one key of
`dualview.conversion.spellings`, or of the operations that conversion itself writes into a graph.
`normal_call` reads a node of a traced graph, which stays as the model wrote it.

Arguments that are left out have their defaults. What an argument holds is what the node holds: a
node of the graph, or a Python value.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

from dualview.conversion.gates import apply_gate
from dualview.conversion.input_transform import InputTransform
from dualview.conversion.multipliers import query_of_examples, replay_layer_norm, softmax_weights
from dualview.conversion.pooling import replay_switch
from dualview.conversion.products import as_multiplier
from dualview.conversion.source_lines import module_of, operation_name
from dualview.conversion.spellings import (
    ARGUMENT_NAMES,
    KEY_OF,
    OPERATIONS,
    REQUIRED,
    TURNED_ATTRIBUTES,
    Operation,
    Parameters,
    key_at,
    signature,
)
from dualview.conversion.weights_graph import one_row_of_ones, spread_over_batch


@dataclass(frozen=True)
class Call:
    """One call.

    Attributes:
        key: what is computed; one of `KEYS`, or the plain name of an operation that has none.
        arguments: by name. The first is what the operation is applied to.
        module: the module that is called, if one is.
    """

    key: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    module: nn.Module | None = None

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    def get(self, name: str, default: Any = None) -> Any:
        """An argument that not every spelling has."""
        return self.arguments.get(name, default)


_WRITTEN: dict[str, Operation] = {
    "marked": Operation(signature("input"), (as_multiplier, query_of_examples, softmax_weights)),
    "ones": Operation(signature("input"), (one_row_of_ones,)),
    "spread": Operation(signature("input", "examples"), (spread_over_batch,)),
    "gate": Operation(signature("input", "gate"), (apply_gate,)),
    "switch": Operation(signature("input", "switch", "dims"), (replay_switch,)),
    "replayed layer norm": Operation(
        signature("input", "scale", "normalised", weight=None, bias=None), (replay_layer_norm,)
    ),
    "input transform": Operation(signature("input"), (), (), (InputTransform,)),
}
"""What conversion itself writes into a graph."""

UNCHANGED = ("same", "copy", "dropout", "marked")
"""Keys of what leaves the numbers alone in evaluation mode."""

_WRITTEN_KEY_OF: dict[Any, str] = {
    spelling: key
    for key, operation in _WRITTEN.items()
    for spelling in (*operation.functions, *operation.modules)
}

_EVERY = ChainMap(OPERATIONS, _WRITTEN)

KEYS = frozenset(_EVERY)
"""Every key of a call that is known."""

_NAMES = ARGUMENT_NAMES | dict.fromkeys(("row", "factor", "query", "weights", "value"), "input")
"""Other names of an argument, where a key has no such argument itself."""

_IN_A_ROW = {
    "reshape": "shape",
    "permute": "dims",
    "expand": "size",
    "repeat": "repeats",
    "tile": "dims",
    "flip": "dims",
}
"""Methods that take a list as several arguments too -> its name."""


def key_of(target: Any) -> str:
    """The key of a function, of a method's name, or of a module's type.

    >>> key_of(torch.concat), key_of("swapaxes"), key_of(nn.Flatten)
    ('cat', 'transpose', 'flatten')
    """
    return KEY_OF[target] if target in KEY_OF else _WRITTEN_KEY_OF[target]


def spellings_of(key: str) -> tuple[Any, ...]:
    """Every function, method name and module type of a key.

    >>> spellings_of("neg")[1:]
    (<built-in method neg of type object at ...>, <built-in method negative of ...>, 'neg', ...)
    """
    operation = _EVERY[key]
    return (*operation.functions, *operation.methods, *operation.modules)


def normal_call(node: fx.Node) -> Call:
    """The call at a node of a traced graph.

    A module's options are its own attributes; the key of an operation that is not known here is
    its plain name, without arguments.

    >>> graph = fx.symbolic_trace(nn.Sequential(nn.Flatten())).graph
    >>> call = normal_call(list(graph.nodes)[1])
    >>> call.key, call["start_dim"]
    ('flatten', 1)
    """
    key = key_at(node) or _written_key(node)
    if not key:
        return Call(operation_name(node), {}, module_of(node) if _calls_module(node) else None)
    if _calls_module(node):
        module = module_of(node)
        given = (*node.args, *node.kwargs.values())
        extra = {"output_size": given[1]} if len(given) > 1 else {}
        options = {**_EVERY[key].options(module), **_dims(type(module)), **extra}
        return Call(key, {"input": given[0], **options}, module)
    if node.target is getattr and node.args[1] in TURNED_ATTRIBUTES:
        axes = {"dim0": -2, "dim1": -1} if key == "transpose" else {}
        return Call(key, {"input": node.args[0], **axes})
    if key == "einsum":
        equation, *operands = node.args
        if len(operands) == 1 and isinstance(operands[0], Sequence):
            operands = list(operands[0])
        return Call(key, {"equation": equation, "operands": operands})
    return Call(key, _bound(key, node.args, node.kwargs) | _dims(node.target))


def _calls_module(node: fx.Node) -> bool:
    return node.op == "call_module"


def _written_key(node: fx.Node) -> str:
    if _calls_module(node):
        return _WRITTEN_KEY_OF.get(type(module_of(node)), "")
    return _WRITTEN_KEY_OF.get(node.target, "") if node.op == "call_function" else ""


_DIMS: dict[Any, int] = {
    kind: dims
    for dims, kinds in {
        1: (nn.AvgPool1d, nn.AdaptiveAvgPool1d, F.avg_pool1d, F.adaptive_avg_pool1d),
        2: (nn.AvgPool2d, nn.AdaptiveAvgPool2d, F.avg_pool2d, F.adaptive_avg_pool2d),
        3: (nn.AvgPool3d, nn.AdaptiveAvgPool3d, F.avg_pool3d, F.adaptive_avg_pool3d),
    }.items()
    for kind in kinds
}


def _dims(target: Any) -> Parameters:
    """How many position axes a pool goes over."""
    return {"dims": _DIMS[target]} if target in _DIMS else {}


def _bound(key: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    parameters = _EVERY[key].parameters
    row = _IN_A_ROW.get(key)
    whole = len(args) == 2 and isinstance(args[1], tuple | list | fx.Node)  # a node: a whole shape
    if row is not None and len(args) > 1 and not whole:
        args = (args[0], tuple(args[1:]))
    named = {}
    for name, value in kwargs.items():
        known = name if name in parameters else _NAMES.get(name, name)
        if known not in parameters and row is not None and name in ("size", "shape", "sizes"):
            known = row
        named[known] = value
    rest = [name for name in parameters if name not in named]
    given = {**dict(zip(rest, args, strict=False)), **named}
    defaults = {name: value for name, value in parameters.items() if value is not REQUIRED}
    ordered = {name: given[name] for name in parameters if name in given}
    return {**defaults, **ordered, **given} if given else {**defaults}


def linear_call(
    call: Call, depends: Callable[[Any], bool], value: Callable[[Any], torch.Tensor]
) -> tuple[Call, int] | None:
    """A product with a constant matrix as the dense layer that it is, and the axis it sums over.

    `F.linear(h, W)`, `h @ W`, `W @ h`, `torch.mm`, and an einsum of two of which one is constant
    and has one letter that is summed, which becomes another. The axis counts from the last of the
    input, and the new features stand where it was.

    Args:
        call: of key linear, matmul or einsum.
        depends: whether an argument depends on the example.
        value: the value of an argument that does not.

    Returns:
        The call, whose weight is (outputs, inputs), and the axis; None where it is no such product.
    """
    if call.key == "linear":
        return (call, -1) if depends(call["input"]) and not depends(call["weight"]) else None
    if call.key == "matmul":
        return _matrix_product(call["input"], call["other"], depends, value)
    if call.key == "einsum" and len(call["operands"]) == 2:
        return _einsum(call["equation"], call["operands"], depends, value)
    return None


def _dense(data: Any, weight: torch.Tensor, axis: int) -> tuple[Call, int]:
    return Call("linear", {"input": data, "weight": weight, "bias": None}), axis


def _matrix_product(
    left: Any, right: Any, depends: Callable[[Any], bool], value: Callable[[Any], torch.Tensor]
) -> tuple[Call, int] | None:
    if depends(left) == depends(right):
        return None
    matrix = value(right if depends(left) else left)
    if matrix.dim() != 2:
        return None
    return _dense(left, matrix.mT, -1) if depends(left) else _dense(right, matrix, -2)


def _einsum(
    equation: str,
    operands: Sequence[Any],
    depends: Callable[[Any], bool],
    value: Callable[[Any], torch.Tensor],
) -> tuple[Call, int] | None:
    """The dense layer that an equation of data and one matrix is; None where it is another."""
    terms, _, result = equation.replace(" ", "").replace("...", "*").partition("->")
    names = terms.split(",")
    data = [depends(operand) for operand in operands]
    if sum(data) != 1 or not result:
        return None
    (one, two), (data_name, matrix_name) = (
        (operands, names) if data[0] else (tuple(operands)[::-1], names[::-1])
    )
    if len(matrix_name) != 2 or "*" in matrix_name or len(set(data_name)) < len(data_name):
        return None
    summed = [c for c in matrix_name if c in data_name and c not in result]
    made = [c for c in matrix_name if c not in data_name and c in result]
    if len(summed) != 1 or len(made) != 1:
        return None
    if data_name.replace(summed[0], made[0]) != result:
        return None
    matrix = value(two)
    weight = matrix if matrix_name == made[0] + summed[0] else matrix.mT
    behind = data_name[data_name.index(summed[0]) :]
    if "*" in behind:
        return None
    return _dense(one, weight, -len(behind))
