"""The package's exceptions. Each message says what was expected, what was found, and the repair.

Catch `DualviewError` to catch them all. Those that a wrong value causes are `ValueError`s too. Two
things that messages need are here as well: the nearest name, and which extra brings a library.
"""

from __future__ import annotations

import importlib
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
    """The network has no activation, so there is no gate to take apart."""


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


class DualviewWarning(UserWarning):
    """Something that works as asked, and that is probably not what was meant."""


class DroppedWeightsWarning(DualviewWarning):
    """A model that looks trained is taken apart, and its weights are not kept."""


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
