"""Arguments by position, whichever way the model gives them.

`torch.chunk(h, 2, 1)`, `torch.chunk(h, chunks=2, dim=1)` and with `input=h` too are one operation.
After this it is written in one way, where what reads the graph looks for it.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx

from dualview.conversion import operations as ops
from dualview.conversion.activations import GATE_OF_FUNCTION, GATE_OF_METHOD
from dualview.conversion.spellings import NUMPYS_NAMES, functions_of, methods_of

_KNOWN = functions_of(ops.TENSOR_KEYS | {"amax", "max"}) | set(GATE_OF_FUNCTION)
_FUNCTIONS = frozenset(
    f
    for f in _KNOWN
    if not (isinstance(f, types.FunctionType) and f.__module__ == "torch.nn.functional")
)
"""Those that PyTorch writes in Python hand their arguments on in one way, whatever they are given,
and would again when a pickled network is traced anew."""
_METHODS = methods_of(ops.TENSOR_KEYS | {"amax", "max", "size"}) | set(GATE_OF_METHOD)


def make_positional(graph: fx.Graph) -> None:
    """Move keyword arguments into their positions, from the first on, until one is left out.

    What can be given by keyword alone, and what follows an argument that is left out, stays.
    """
    for node in graph.nodes:
        if not node.kwargs:
            continue
        if node.op == "call_function" and node.target in _FUNCTIONS:
            _make_positional(node, _parameters_of_function(node.target))
        elif node.op == "call_method" and node.target in _METHODS:
            _make_positional(node, _parameters_of_method(str(node.target)))


Signature = tuple[tuple[tuple[str, ...], frozenset[str]], ...]
"""For each way to call an operation: names by position, and those by keyword alone."""


def _make_positional(node: fx.Node, ways: Signature) -> None:
    given = {NUMPYS_NAMES.get(name, name): value for name, value in node.kwargs.items()}
    for names, by_keyword in ways:
        if given.keys() <= {*names[len(node.args) :], *by_keyword}:
            args = list(node.args)
            for name in names[len(args) :]:
                if name not in given:
                    break
                args.append(given.pop(name))
            node.args, node.kwargs = tuple(args), given
            return


@functools.cache
def _parameters_of_function(function: Callable[..., Any]) -> Signature:
    return _python_parameters(function) or _schemas(function.__name__)


@functools.cache
def _parameters_of_method(name: str) -> Signature:
    return _python_parameters(getattr(Tensor, name)) or _schemas(name)


def _python_parameters(function: Callable[..., Any]) -> Signature:
    """Of a function that is written in Python; none of others."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:
        return ()
    if any(p.kind in (p.VAR_POSITIONAL, p.POSITIONAL_ONLY) for p in parameters):
        return ()
    names = [NUMPYS_NAMES.get(p.name, p.name) for p in parameters if p.kind is not p.KEYWORD_ONLY]
    return ((tuple(names), frozenset(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)),)


def _schemas(name: str) -> Signature:
    """Of an operation that PyTorch has in C++, as its own declarations say."""
    return tuple(
        (
            tuple(NUMPYS_NAMES.get(a.name, a.name) for a in schema.arguments if not a.kwarg_only),
            frozenset(a.name for a in schema.arguments if a.kwarg_only),
        )
        for schema in torch._C._jit_get_schemas_for_operator(f"aten::{name}")
    )
