"""Architectures of the user's own: a factory in a file or module that the user names.

A factory returns a fresh `nn.Module` that maps images (n, channels, height, width) to logits
(n, classes). It is called with those of these options, by name, that it takes:

- `num_classes`: a whole number;
- `input_shape`: (channels, height, width) of the data's images;
- `width`: where one was asked for (`--width`);
- `batch_norm`: True or False, where it was asked for (`--batch-norm`, `--no-batch-norm`).

So a class is a factory, too, and one without options is called without any.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from dualview.errors import ArchitectureError, did_you_mean
from dualview.files.user_code import imported, is_place, own_name, parts

Factory = Callable[..., nn.Module]

OPTIONS = ("num_classes", "input_shape", "width", "batch_norm")
"""What a factory may take."""

REQUIRED = ("num_classes", "input_shape")
"""What is always known."""

EXAMPLE = "mine.py:make, with def make(num_classes, input_shape): ... in mine.py"


def own_factory(where: str) -> Factory:
    """The factory that a text names; the file or module is run.

    Args:
        where: "mine.py:make", "models/mine.py:Net", or "package.module:make".

    Raises:
        ArchitectureError: there is none, it cannot be imported, or it is no factory.
    """
    found = _named(where)
    if isinstance(found, nn.Module):
        raise ArchitectureError(
            f"{where}: expected a factory, which makes a fresh network at each call, got one "
            f"network, a {type(found).__name__}. Repair: {EXAMPLE}"
        )
    _check_call(where, found)
    factory: Factory = found
    return factory


def own_model(
    where: str,
    num_classes: int,
    input_shape: tuple[int, int, int],
    *,
    width: int | None = None,
    batch_norm: bool | None = None,
) -> nn.Module:
    """A network that a text names, made by a factory; of a network itself, a copy.

    Raises:
        ArchitectureError: as `own_factory`, or the factory fails.
    """
    found = _named(where)
    if isinstance(found, nn.Module):
        return copy.deepcopy(found)
    asked = {"width": width, "batch_norm": batch_norm}
    given: dict[str, Any] = {"num_classes": num_classes, "input_shape": input_shape}
    given |= {name: value for name, value in asked.items() if value is not None}
    return make(own_factory(where), where, given)


def make(factory: Factory, where: str, given: Mapping[str, Any]) -> nn.Module:
    """The factory's network.

    Args:
        factory: of `own_factory`.
        where: its name, for messages.
        given: options by name; "width" and "batch_norm" only where they were asked for.

    Raises:
        ArchitectureError: it takes no such option that was asked for, it fails, or what it gives
            is no network.

    >>> make(lambda num_classes: nn.Linear(4, num_classes), "mine.py:make", {"num_classes": 3})
    Linear(in_features=4, out_features=3, bias=True)
    """
    taken = options_of(factory)
    for name in given:
        if name not in taken and name not in REQUIRED:
            raise ArchitectureError(
                f"{name}: expected none, since {where} takes no option {name!r}, got "
                f"{given[name]!r}. Repair: leave it out, or give the factory such an option"
            )
    try:
        model = factory(**{name: value for name, value in given.items() if name in taken})
    except Exception as error:  # whatever the user's code raises
        raise ArchitectureError(
            f"{where}: expected a network, got {type(error).__name__}: {error}. Repair: mend the "
            f"factory; --debug shows where it was"
        ) from error
    if not isinstance(model, nn.Module):
        raise ArchitectureError(
            f"{where}: expected it to return a torch.nn.Module, got {type(model).__name__}. "
            f"Repair: {EXAMPLE}"
        )
    return model


def options_of(factory: Factory) -> tuple[str, ...]:
    """Those of `OPTIONS` that a factory takes.

    >>> options_of(lambda num_classes, width=3: nn.Linear(width, num_classes))
    ('num_classes', 'width')
    """
    found = _parameters(factory)
    if any(p.kind is p.VAR_KEYWORD for p in found):
        return OPTIONS
    names = [p.name for p in found if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return tuple(name for name in OPTIONS if name in names)


def _named(where: str) -> Any:
    """What a text names."""
    place, name = parts(where)
    if not is_place(where) or not place or not name:
        raise ArchitectureError(
            f"{where!r}: expected a file or module and a name in it, as in mine.py:make or "
            f"mine:make. Repair: {EXAMPLE}"
        )
    module = imported(place, "a factory of networks", ArchitectureError)
    if not hasattr(module, name):
        made = [n for n, value in vars(module).items() if callable(value) and n[:1] != "_"]
        near = did_you_mean(name, made)
        raise ArchitectureError(f"{place}: expected {name!r} in it, got no such name{near}")
    return getattr(module, name)


def _parameters(factory: Any) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(factory).parameters.values())
    except (TypeError, ValueError):  # written in C: what it takes cannot be asked
        return []


def _check_call(where: str, found: Any) -> None:
    if not callable(found):
        raise ArchitectureError(
            f"{where}: expected a factory, called as factory(num_classes, input_shape), got "
            f"{type(found).__name__}. Repair: {EXAMPLE}"
        )
    for option in _parameters(found):
        needed = option.default is option.empty and option.kind not in (
            option.VAR_KEYWORD,
            option.VAR_POSITIONAL,
        )
        if needed and (option.name not in REQUIRED or option.kind is option.POSITIONAL_ONLY):
            raise ArchitectureError(
                f"{where}: expected it to need no more than {' and '.join(REQUIRED)}, got "
                f"{option.name!r} without a default. Repair: give that a default, or write a "
                f"factory that calls it: {EXAMPLE}"
            )


__all__ = ["OPTIONS", "Factory", "make", "options_of", "own_factory", "own_model", "own_name"]
