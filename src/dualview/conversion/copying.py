"""Copies of modules, in about half the time of `copy.deepcopy`."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, TypeVar

from torch import nn

_Module = TypeVar("_Module", bound=nn.Module)


def copied(module: _Module, shared: Mapping[int, Any] | None = None) -> _Module:
    """`copy.deepcopy(module)`: a module holds a dozen tables of hooks, and most are empty.

    Args:
        module: what is copied, with all it holds.
        shared: id of an object -> what stands in its place in the copy, as `copy.deepcopy` takes
            it; default: nothing is shared.

    >>> layer = nn.Linear(2, 1)
    >>> own = copied(layer)
    >>> own.weight is layer.weight, bool((own.weight == layer.weight).all())
    (False, True)
    """
    memo: dict[int, Any] = {
        id(value): OrderedDict()
        for part in module.modules()
        for value in vars(part).values()
        if type(value) is OrderedDict and not value
    }
    return copy.deepcopy(module, memo | dict(shared or {}))
