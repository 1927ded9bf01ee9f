"""An example input as plain values, and inputs made of them again: shapes and types, no numbers.

What a conversion was given is kept with the network, so that a saved one can be made again. One
tensor of floating-point numbers is its shape alone (`Recipe.example_shape`). Anything else is
described here: several inputs, by position or by name, tokens and other whole numbers, nested
tuples, lists and dictionaries, and the plain values among them.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from dualview.conversion.example_input import Example

DTYPES: dict[str, torch.dtype] = {
    "float": torch.float32,
    "bool": torch.bool,
    "uint8": torch.uint8,
    "int8": torch.int8,
    "int16": torch.int16,
    "int32": torch.int32,
    "int64": torch.int64,
}
"""Types of inputs; "float" is the model's own floating-point type."""

NESTS: dict[str, type[tuple[Any, ...]] | type[list[Any]]] = {"tuple": tuple, "list": list}
DEEPEST, MOST_PARTS, MOST_LETTERS = 4, 256, 200


def described(example: Example) -> dict[str, Any] | None:
    """The example as JSON has it; empty where it holds what only code makes again.

    None: one tensor of floating-point numbers, whose shape says all.

    >>> described(Example.of(torch.zeros(2, 3)))
    >>> described(Example.of((torch.zeros(2, 3), torch.zeros(2, 5, dtype=torch.long))))
    {'tuple': [{'tensor': 'float', 'shape': [3]}, {'tensor': 'int64', 'shape': [5]}]}
    """
    if len(example.args) == 1 and not example.kwargs and isinstance(example.args[0], Tensor):
        tensor = example.args[0]
        return None if tensor.is_floating_point() else {"tuple": [_part(tensor)]}
    try:
        return _part(example.kwargs or example.args)
    except TypeError:
        return {}


def inputs_from(description: Mapping[str, Any], like: Tensor) -> Any:
    """One example as `disentangle` takes it, of zeros (ones for truth values), where `like` is.

    Args:
        description: of `described`, checked by `is_description`.
        like: floating-point, of the model's type.

    >>> inputs_from({"tuple": [{"tensor": "int64", "shape": [2]}, {"value": None}]}, torch.zeros(1))
    (tensor([[0, 0]]), None)
    """
    if "tensor" in description:
        return _tensor(description, like)
    if "value" in description:
        return description["value"]
    if "dict" in description:
        return {name: inputs_from(part, like) for name, part in description["dict"].items()}
    ((nest, parts),) = description.items()
    return NESTS[nest](inputs_from(part, like) for part in parts)


def is_description(value: Any, depth: int = 0) -> bool:
    """Whether a JSON value is what `described` gives."""
    if not isinstance(value, dict) or depth > DEEPEST:
        return False
    if set(value) == {"tensor", "shape"}:
        shape = value["shape"]
        whole = shape is None or (isinstance(shape, list) and all(map(is_size, shape)))
        return isinstance(value["tensor"], str) and value["tensor"] in DTYPES and whole
    if set(value) == {"value"}:
        return _is_plain(value["value"])
    parts: Any = None
    if set(value) == {"dict"} and isinstance(value["dict"], dict):
        parts = value["dict"].values() if all(map(_is_name, value["dict"])) else None
    elif len(value) == 1 and next(iter(value)) in NESTS:
        parts = next(iter(value.values()))
        parts = parts if isinstance(parts, list) else None
    return (
        parts is not None
        and len(parts) <= MOST_PARTS
        and all(is_description(part, depth + 1) for part in parts)
    )


def numbers_in(description: Mapping[str, Any]) -> int:
    """How many numbers one example has."""
    return sum(math.prod(shape) for shape in _shapes(description))


def _shapes(description: Mapping[str, Any]) -> Iterator[list[int]]:
    if "tensor" in description:
        yield description["shape"] or []
    elif "value" not in description:
        (parts,) = description.values()
        for part in parts.values() if isinstance(parts, Mapping) else parts:
            yield from _shapes(part)


def _part(value: Any) -> dict[str, Any]:
    """One part of an example.

    Raises:
        TypeError: no plain value describes it.
    """
    if isinstance(value, Tensor):
        name = "float" if value.is_floating_point() else str(value.dtype).removeprefix("torch.")
        if name not in DTYPES:
            raise TypeError(name)
        return {"tensor": name, "shape": list(value.shape[1:]) if value.dim() else None}
    if isinstance(value, dict) and all(map(_is_name, value)):
        return {"dict": {name: _part(part) for name, part in value.items()}}
    for name, kind in NESTS.items():
        if type(value) is kind:  # no named tuple
            return {name: [_part(part) for part in value]}
    if not _is_plain(value):
        raise TypeError(type(value).__name__)
    return {"value": value}


def _tensor(description: Mapping[str, Any], like: Tensor) -> Tensor:
    shape, name = description["shape"], description["tensor"]
    size = () if shape is None else (1, *shape)
    dtype = like.dtype if name == "float" else DTYPES[name]
    # A mask of ones hides nothing; zero is a token of every vocabulary.
    made: Tensor = like.detach().new_ones(size, dtype=dtype)
    return made if name == "bool" else made.zero_()


def _is_plain(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= MOST_LETTERS
    number = isinstance(value, int | float) and abs(value) <= sys.float_info.max
    return value is None or number


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and value.isidentifier() and len(value) <= MOST_LETTERS


def is_size(value: Any) -> bool:
    """Whether a JSON value is a whole number above 0."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
