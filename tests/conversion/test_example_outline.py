"""An example input as plain values.

- Inputs made of a description have the structure, shapes, types and plain values of the example;
  floating-point ones the model's type. One floating-point tensor needs no description.
- What only code makes again has the empty description.
- A JSON value is a description exactly if it could be one: of known types, sizes above 0, plain
  values, not too deep, not too many.
"""

import json

import pytest
import torch
from torch.utils import _pytree as pytree

from dualview.conversion.example_input import Example
from dualview.conversion.example_outline import (
    DEEPEST,
    DTYPES,
    described,
    inputs_from,
    is_description,
    numbers_in,
)

X, TOKENS = torch.randn(3, 2, 4), torch.randint(0, 9, (3, 5))
EXAMPLES = {
    "two": (X, torch.randn(3, 7)),
    "by name": {"x": X, "tokens": TOKENS, "scale": 2.5, "mode": "mean", "mask": None},
    "nested": (X, [TOKENS, (X, {"a": X[:, 0]})], True),
    "no example axis": (X, torch.tensor(3)),
    "one for each": (X, torch.tensor([1, 2, 3])),
    "tokens": (TOKENS,),
    "truth": (X, torch.tensor([[True, False]] * 3)),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_inputs_made_again(name):
    given = EXAMPLES[name]
    description = described(Example.of(given))
    assert is_description(json.loads(json.dumps(description)))
    made = inputs_from(description, torch.zeros((), dtype=torch.float64))
    assert pytree.tree_structure(made) == pytree.tree_structure(given)
    for new, old in zip(pytree.tree_leaves(made), pytree.tree_leaves(given), strict=True):
        if not isinstance(old, torch.Tensor):
            assert new == old
            continue
        assert new.shape == (1, *old.shape[1:]) if old.dim() else new.shape == ()
        assert new.dtype == (torch.float64 if old.is_floating_point() else old.dtype)
        assert bool((new == (new.dtype == torch.bool)).all())
    leaves = [leaf for leaf in pytree.tree_leaves(made) if isinstance(leaf, torch.Tensor)]
    assert numbers_in(description) == sum(leaf.numel() for leaf in leaves)


@pytest.mark.parametrize("dtype", [name for name in DTYPES if name not in ("float", "bool")])
def test_every_type(dtype):
    x = torch.zeros(2, 3, dtype=DTYPES[dtype])
    made = inputs_from(described(Example.of(x)), X)
    assert made[0].dtype == x.dtype


def test_one_tensor_needs_none():
    assert described(Example.of(X)) is None


class Foreign:
    pass


@pytest.mark.parametrize("part", [Foreign(), torch.complex(X, X), {1: X}, float("inf"), "a" * 999])
def test_what_only_code_makes_again(part):
    assert described(Example.of((X, part))) == {}


def nested(depth):
    value = {"value": 0}
    for _ in range(depth):
        value = {"tuple": [value]}
    return value


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        {"tensor": "object", "shape": [1]},
        {"tensor": [], "shape": [1]},
        {"tensor": "float", "shape": [0]},
        {"tensor": "float", "shape": [True]},
        {"tensor": "float", "shape": 3},
        {"tensor": "float"},
        {"value": [1]},
        {"value": 10**400},
        {"value": "a" * 999},
        {"tuple": {}},
        {"dict": [1]},
        {"dict": {"a b": {"value": 1}}},
        {"set": []},
        {"list": [], "tuple": []},
        {"list": [{"value": 1}] * 1000},
        nested(DEEPEST + 1),
    ],
    ids=lambda value: json.dumps(value)[:40],
)
def test_what_is_none(value):
    assert not is_description(value)


def test_depth():
    assert is_description(nested(DEEPEST))
