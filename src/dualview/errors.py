"""The package's exceptions. Each message says what was expected, what was found, and the repair.

Catch `DualviewError` to catch them all. Those that a wrong value causes are `ValueError`s too. What
messages need is here as well: a value in short, the nearest name, which extra brings a library.
"""

from __future__ import annotations

import importlib
import numbers
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from difflib import SequenceMatcher
from itertools import takewhile
from typing import Any


class DualviewError(Exception):
    """Base class of every error that this package raises on purpose."""


class ConversionError(DualviewError, ValueError):
    """A network, or an option, that cannot be taken apart exactly: node, line, reason, repair."""


class TracingError(ConversionError):
    """torch.fx cannot follow the network's forward (data-dependent control flow and the like)."""


class UnsupportedOperationError(ConversionError):
    """An operation that is neither linear nor self-gated, or that has no rule."""


class NoActivationError(ConversionError):
    """The network has no activation and no multiplier, so there is nothing to take apart."""


class GateOrderError(ConversionError):
    """A gate order that is no permutation, or that joins gates of different shapes."""


class ExampleInputError(ConversionError):
    """An example input that the network cannot take, or that is needed and missing."""


class ArchitectureError(DualviewError, ValueError):
    """A reference architecture that does not exist, or options that it cannot take."""


class DataError(DualviewError, ValueError):
    """A data set that is missing, damaged or inconsistent; the message names the file."""


class MissingExtraError(DualviewError, ImportError):
    """A feature needs an optional dependency; the message names the extra to install."""


class RunError(DualviewError, RuntimeError):
    """A run folder that cannot be used: other settings, not a run, locked, or unreadable."""


class SavedNetworkError(DualviewError, ValueError):
    """A saved network that is damaged, unfit or not one at all, or one that cannot be saved."""


class DivergenceError(DualviewError, ArithmeticError):
    """Training produced a loss that is not finite."""


class PathKernelError(DualviewError, ValueError):
    """A kernel that has no exact rule, or a request that the path kernel cannot serve."""


class TooManyPathsError(PathKernelError):
    """Enumeration would visit more paths than the limit allows; the message gives the count."""


class PrimalFilterError(DualviewError, ValueError):
    """Gates that have no one linear filter, or a request that primal filters cannot serve."""


class TableError(DualviewError, ValueError):
    """Data, an option or a file that an estimator of tables cannot use, or a tree that it lacks."""


class DualviewWarning(UserWarning):
    """Something that works as asked, and that is probably not what was meant."""


class DroppedWeightsWarning(DualviewWarning):
    """A model that looks trained is taken apart, and its weights are not kept."""


SHOWN = 80
"""Characters of a value that a message shows."""

ALIKE = 0.5
"""Names that are less alike (difflib's ratio) are not worth a hint."""


def did_you_mean(value: object, choices: Collection[str]) -> str:
    """A hint at the nearest choice, to append to a message; empty if none is near.

    First those of the same letters in another order, then by likeness; of choices as alike, the one
    that begins alike is meant.

    >>> did_you_mean("resnet21", ["resnet20", "resnet32", "vgg16"])
    "; did you mean 'resnet20'?"
    >>> did_you_mean("xyz", ["resnet20"])
    ''
    """
    if not isinstance(value, str):
        return ""
    given = value.lower()

    def likeness(choice: str) -> tuple[bool, float, int]:
        ratio = SequenceMatcher(None, choice, given).ratio()
        same = takewhile(lambda pair: pair[0] == pair[1], zip(choice, given, strict=False))
        return sorted(choice) == sorted(given), ratio, len(list(same))

    near = max(choices, key=likeness, default=None)
    if near is None or likeness(near)[1] < ALIKE:
        return ""
    return f"; did you mean {near!r}?"


def said(value: Any) -> str:
    """A value in a message: short, whatever it is.

    >>> said("no"), said([1, 2]), said(print)
    ("'no'", '[1, 2]', 'builtin_function_or_method')
    """
    if value is None or isinstance(value, bool | float | str | bytes | list | tuple | dict | set):
        return _short(value)
    if isinstance(value, int):
        return str(value) if abs(value) < 10**40 else f"a number of {value.bit_length()} bits"
    dtype, shape = getattr(value, "dtype", None), getattr(value, "shape", None)
    if dtype is not None and shape is not None:
        try:
            of_torch = str(dtype).startswith("torch.")
            return f"{'' if of_torch else 'an array of '}{dtype} {tuple(shape)}"
        except Exception:  # a foreign type with such names
            return type(value).__name__
    if isinstance(value, os.PathLike | range | numbers.Number):
        return _short(value)
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:  # an entry's own repr may raise anything; so does a number of 5,000 digits
        return type(value).__name__
    text = text.encode("utf-8", "backslashreplace").decode()  # a lone surrogate cannot be printed
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def need(module: str, extra: str, what: str = "this data") -> Any:
    """Import `module`, or say which extra of the package brings it, and what needs it.

    Raises:
        MissingExtraError: the library is not installed.

    >>> need("math", "train").sqrt(4.0)
    2.0
    """
    with needs(extra, what):
        return importlib.import_module(module)


@contextmanager
def needs(extra: str, what: str) -> Iterator[None]:
    """Around imports of libraries that an extra brings; `what` needs them.

    Raises:
        MissingExtraError: one is not installed.

    >>> with needs("train", "drawing a sheep"):  # doctest: +ELLIPSIS
    ...     import sheep
    Traceback (most recent call last):
    ...
    dualview.errors.MissingExtraError: drawing a sheep needs 'sheep', which is not installed: ...
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{what} needs {error.name!r}, which is not installed: pip install 'dualview[{extra}]'"
        ) from error
