"""Which factory made a network, and with which options: enough to build its like again."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ParamSpec

from torch import nn

from dualview.arguments import Check, flag, optional, several, shape, takes, whole
from dualview.errors import ArchitectureError

Options = ParamSpec("Options")

ATTRIBUTE = "architecture"

CHECKS: Mapping[str, Check] = MappingProxyType(
    {
        "num_classes": whole(1),
        "input_shape": shape(3),
        "width": optional(whole(1)),
        "widths": optional(several(whole(1), "a width, from 1 on, for each convolution")),
        "depth": whole(1),
        "batch_norm": flag,
        "bias": flag,
        "gelu": flag,
    }
)
"""What the options that factories share may be."""


@dataclass(frozen=True)
class Architecture:
    """A factory's name in `dualview.architectures.ARCHITECTURES`, and every option it was given."""

    name: str
    options: Mapping[str, Any]


def recorded(factory: Callable[Options, nn.Module]) -> Callable[Options, nn.Module]:
    """`factory`, whose options are checked, and whose networks say what made them.

    Raises:
        ArchitectureError: an option is not what it should be, or the network does not fit into
            memory.

    >>> made = recorded(lambda width=3: nn.Linear(width, 1))(width=4)
    >>> architecture_of(made).options
    {'width': 4}
    """
    options = inspect.signature(factory).parameters

    @takes(ArchitectureError, **{name: CHECKS[name] for name in options if name in CHECKS})
    @functools.wraps(factory)
    def made(*args: Options.args, **kwargs: Options.kwargs) -> nn.Module:
        call = inspect.signature(factory).bind(*args, **kwargs)
        call.apply_defaults()
        try:
            model = factory(*args, **kwargs)
        except (RuntimeError, MemoryError, OverflowError) as error:  # PyTorch's, of large sizes
            raise ArchitectureError(
                f"{factory.__name__}: expected a network that fits into memory, got {error}. "
                f"Repair: a smaller width or input_shape"
            ) from error
        setattr(model, ATTRIBUTE, Architecture(factory.__name__, dict(call.arguments)))
        return model

    return made


def architecture_of(model: nn.Module) -> Architecture | None:
    """What made `model`, if a recorded factory did; its layers may have been changed since."""
    made = getattr(model, ATTRIBUTE, None)
    return made if isinstance(made, Architecture) else None
