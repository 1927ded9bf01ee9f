"""Functions that stay one call whenever torch.fx traces a graph that calls them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from torch import fx

Function = TypeVar("Function", bound=Callable[..., Any])


def leaf(function: Function) -> Function:
    """Decorate a function of tensors: traced, it becomes one node and is not looked into.

    torch.load traces a saved graph anew. `torch.fx.wrap` serves functions called by a module's name
    only; in generated code each copy of a graph would leave an entry that is never given back, and
    all of them are visited at every later trace.

    >>> @leaf
    ... def double(x):
    ...     return x + x
    >>> [node.op for node in fx.symbolic_trace(lambda x: double(x)).graph.nodes]
    ['placeholder', 'call_function', 'output']
    """

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        for value in (*args, *kwargs.values()):
            if isinstance(value, fx.Proxy):
                return value.tracer.create_proxy("call_function", called, args, kwargs)
        return function(*args, **kwargs)

    # Its arguments and result are the function's, which a type variable for it cannot say.
    return called  # type: ignore[return-value]
