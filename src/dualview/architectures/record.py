"""Which factory made a network, and with which options: enough to build its like again."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ParamSpec

from torch import nn

Options = ParamSpec("Options")

ATTRIBUTE = "architecture"


@dataclass(frozen=True)
class Architecture:
    """A factory's name in `dualview.architectures.ARCHITECTURES`, and every option it was given."""

    name: str
    options: Mapping[str, Any]


def recorded(factory: Callable[Options, nn.Module]) -> Callable[Options, nn.Module]:
    """`factory`, whose networks say what made them.

    >>> made = recorded(lambda width=3: nn.Linear(width, 1))(width=4)
    >>> architecture_of(made).options
    {'width': 4}
    """

    @functools.wraps(factory)
    def made(*args: Options.args, **kwargs: Options.kwargs) -> nn.Module:
        call = inspect.signature(factory).bind(*args, **kwargs)
        call.apply_defaults()
        model = factory(*args, **kwargs)
        setattr(model, ATTRIBUTE, Architecture(factory.__name__, dict(call.arguments)))
        return model

    return made


def architecture_of(model: nn.Module) -> Architecture | None:
    """What made `model`, if a recorded factory did; its layers may have been changed since."""
    made = getattr(model, ATTRIBUTE, None)
    return made if isinstance(made, Architecture) else None
