"""What an argument may be: the checks that all public functions share. Knows nothing of torch.

A check takes a value and gives it back in its plain type (`np.int64(3)` as 3), or raises
`UnfitError`, which says what was expected. `takes` puts checks before a function, `require` makes
one. Both turn `UnfitError` into the error of their caller's room:
"name: expected ..., got .... Repair: ...".
"""

from __future__ import annotations

import functools
import inspect
import math
import numbers
import operator
import os
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from dualview.errors import DualviewError, did_you_mean, said

Check = Callable[[Any], Any]
"""A value -> the same in its plain type; raises `UnfitError`."""

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

LARGEST_SEED = 2**64 - 1
"""PyTorch's generators take no larger one."""

LARGEST_COUNT = 2**31 - 1
"""Of examples, units, features: beyond, sizes in bytes overflow."""


class UnfitError(Exception):
    """A value is not what a check wants.

    Args:
        expected: what it wants, in words.
        repair: what to do, if more can be said.
        got: what it found; default: the value itself.
    """

    def __init__(self, expected: str, repair: str = "", got: str = "") -> None:
        super().__init__(expected)
        self.expected = expected
        self.repair = repair
        self.got = got


def takes(
    error: type[DualviewError], **checks: Check
) -> Callable[[Callable[Parameters, Result]], Callable[Parameters, Result]]:
    """Decorate a function: its arguments pass these checks first, and arrive in their plain types.

    >>> @takes(DualviewError, size=whole(1), shuffle=flag)
    ... def cut(size, shuffle=False):
    ...     return size, shuffle
    >>> cut(2)
    (2, False)
    >>> cut(2, shuffle="no")
    Traceback (most recent call last):
    ...
    dualview.errors.DualviewError: shuffle: expected True or False, got 'no'
    """

    def decorate(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        signature = inspect.signature(function)
        unknown = checks.keys() - signature.parameters
        assert not unknown, f"{function.__qualname__} has no {unknown}"

        @functools.wraps(function)
        def checked(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
            try:
                call = signature.bind(*args, **kwargs)
            except TypeError:  # Python's own words, which name the function
                return function(*args, **kwargs)
            for name in checks.keys() & call.arguments.keys():
                call.arguments[name] = require(name, call.arguments[name], checks[name], error)
            return function(*call.args, **call.kwargs)

        return checked

    return decorate


def require(name: str, value: Any, check: Check, error: type[DualviewError]) -> Any:
    """The value in its plain type.

    Raises:
        DualviewError: of the class given; the value does not pass the check.

    >>> require("width", True, whole(1), DualviewError)
    Traceback (most recent call last):
    ...
    dualview.errors.DualviewError: width: expected a whole number from 1 on, got True
    """
    try:
        return check(value)
    except UnfitError as unfit:
        repair = f". Repair: {unfit.repair}" if unfit.repair else ""
        got = unfit.got or said(value)
        raise error(f"{name}: expected {unfit.expected}, got {got}{repair}") from None


def require_fields(record: Any, error: type[DualviewError], **checks: Check) -> None:
    """Check fields of a frozen dataclass in its `__post_init__`, and put in their plain types."""
    for name, check in checks.items():
        object.__setattr__(record, name, require(name, getattr(record, name), check, error))


# Checks without options ---------------------------------------------------------------------------


def flag(value: Any) -> bool:
    """True or False, not what Python counts as such: 'no' is true."""
    plain = _plain(value)
    if not isinstance(plain, bool):
        raise UnfitError("True or False")
    return plain


def seed_number(value: Any) -> int:
    """A seed of random numbers."""
    return _whole_of(value, 0, LARGEST_SEED)


def byte_count(value: Any) -> float:
    """A bound in bytes."""
    return _number_of(value, "a positive number of bytes", lambda v: v > 0)


def fraction(value: Any) -> float:
    """A share, strictly between 0 and 1."""
    return _number_of(value, "a number between 0 and 1", lambda v: 0 < v < 1)


def text_value(value: Any) -> str:
    """A text that is not empty and can be written as UTF-8."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise UnfitError("a text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UnfitError("a text that UTF-8 can write") from None
    return str(value)


def words(value: Any) -> str:
    """A text, or none at all: ""."""
    return "" if isinstance(value, str) and not value else text_value(value)


def class_labels(value: Any) -> Any:
    """The class of each of some examples, as a NumPy array (n,): all numbers, or all texts."""
    import numpy as np

    wanted = "the class of each example, all of them numbers or all of them texts"
    try:
        entries = [_plain(entry) for entry in sequence(value)]
    except UnfitError:
        raise UnfitError(wanted) from None
    number = all(isinstance(entry, int | float) and entry == entry for entry in entries)  # no NaN
    if not number and not all(isinstance(entry, str) for entry in entries):
        raise UnfitError(wanted)
    found = np.asarray(entries)
    if found.dtype.kind not in "biufU":  # a number of 100 digits
        raise UnfitError(wanted)
    return found


def file_path(value: Any) -> Path:
    """The path of a file or folder."""
    try:
        given = os.fspath(value)
    except TypeError:
        raise UnfitError("a path, as str or pathlib.Path") from None
    if isinstance(given, bytes):
        raise UnfitError("a path, as str or pathlib.Path", "os.fsdecode(path)")
    if not given or "\0" in given:
        raise UnfitError("a path, not empty and without the character 0")
    try:
        os.fsencode(given)
    except UnicodeEncodeError:
        raise UnfitError("a path that the system can write") from None
    return Path(given)


def torch_device(value: Any) -> Any:
    """A device of PyTorch that holds numbers and is there, by name or as `torch.device`."""
    import torch

    example = "a device such as 'cpu' or 'cuda:0'"
    if not isinstance(value, str | torch.device):
        raise UnfitError(example)
    try:
        found = torch.device(value)
        torch.empty(0, device=found)
    # PyTorch's builds without a device raise any of these.
    except (RuntimeError, AssertionError, ValueError, NotImplementedError, ImportError) as error:
        raise UnfitError(
            f"{example} that is there", got=f"{said(value)} ({_first_line(error)})"
        ) from None
    if found.type == "meta":
        raise UnfitError(f"{example}, which holds numbers")
    return found


def sequence(value: Any) -> list[Any]:
    """Entries in an order: no dict and no set, which have none, and no text."""
    if isinstance(value, Mapping | Set | str | bytes | bytearray):
        raise UnfitError("a sequence")
    try:
        return list(value)
    except Exception:  # not iterable, or what its iterator raises
        raise UnfitError("a sequence") from None


def array(value: Any) -> Any:
    """Real numbers as a NumPy array of float64: a list, an array or a tensor of them."""
    import numpy as np

    if hasattr(value, "detach"):  # a tensor, wherever it lies
        try:
            value = value.detach().cpu()
            value = value.numpy() if value.is_complex() else value.double().numpy()
        except Exception:  # sparse, quantised, or without numbers
            raise UnfitError("an array of real numbers") from None
    try:
        found = np.asarray(value)
        if found.dtype.kind not in "biuf":
            raise UnfitError("an array of real numbers")
        return found.astype(np.float64)
    except (ValueError, TypeError, OverflowError, RuntimeError):
        raise UnfitError("an array of real numbers") from None


# Checks with options ------------------------------------------------------------------------------


def one_of(*choices: str) -> Check:
    """One of some names; the message offers the nearest.

    >>> require("gates", "heard", one_of("model", "hard"), DualviewError)
    Traceback (most recent call last):
    ...
    dualview.errors.DualviewError: gates: expected 'model' or 'hard', got 'heard'; did you mean \
'hard'?
    """

    def check(value: Any) -> str:
        if isinstance(value, str) and value in choices:
            return str(value)
        names = [repr(choice) for choice in choices]
        wanted = " or ".join(names) if len(names) < 4 else f"one of {', '.join(names)}"
        raise UnfitError(wanted, got=f"{said(value)}{did_you_mean(value, choices)}")

    return check


def whole(lowest: float = 0, highest: float = LARGEST_COUNT) -> Check:
    """A whole number within bounds: Python's, NumPy's, or one of PyTorch, but no True and no 2.0.

    >>> require("k", 2.0, whole(1), DualviewError)
    Traceback (most recent call last):
    ...
    dualview.errors.DualviewError: k: expected a whole number from 1 on, got 2.0
    """
    return lambda value: _whole_of(value, lowest, highest)


def gated_layer(count: int, *, from_end: bool = False) -> Check:
    """Which of a network's gated layers; with `from_end` -1 is the last one.

    >>> require("layer", 0, gated_layer(0), DualviewError)
    Traceback (most recent call last):
    ...
    dualview.errors.DualviewError: layer: expected a gated layer, of which the network has none, \
got 0
    """
    if not count:
        return _no_gated_layer
    return whole(-count if from_end else 0, count - 1)


def _no_gated_layer(value: Any) -> Any:
    raise UnfitError("a gated layer, of which the network has none")


def number(
    *,
    above: float = -math.inf,
    least: float = -math.inf,
    below: float = math.inf,
    most: float = math.inf,
) -> Check:
    """A finite real number within bounds.

    >>> require("beta", float("nan"), number(above=0), DualviewError)
    Traceback (most recent call last):
    ...
    dualview.errors.DualviewError: beta: expected a finite number above 0, got nan
    """
    words = {"above": above, "from": least, "below": below, "up to": most}
    bounds = [f"{word} {bound:g}" for word, bound in words.items() if math.isfinite(bound)]
    if bounds == [f"from {least:g}"]:
        bounds = [f"from {least:g} on"]
    wanted = " ".join(["a finite number", " and ".join(bounds)]).strip()

    def within(value: float) -> bool:
        return above < value < below and least <= value <= most

    return lambda value: _number_of(value, wanted, within)


def optional(check: Check) -> Check:
    """None, or what the check takes."""

    def checked(value: Any) -> Any:
        if value is None:
            return None
        try:
            return check(value)
        except UnfitError as unfit:
            raise UnfitError(f"{unfit.expected}, or None", unfit.repair, unfit.got) from None

    return checked


def instance_of(*kinds: type, repair: str = "") -> Check:
    """An object of one of some classes."""

    def check(value: Any) -> Any:
        if not isinstance(value, kinds):
            names = " or ".join(_with_article(kind.__name__) for kind in kinds)
            raise UnfitError(names, repair)
        return value

    return check


def several(check: Check, what: str, *, length: int | None = None, empty: bool = False) -> Check:
    """A sequence whose entries pass a check, as a tuple.

    Its order counts, so that a dict or a set is none; nor is a text, whose entries are letters.

    Args:
        check: of each entry.
        what: the sequence in words, as in "the numbers of two layers".
        length: how many entries; None: any number.
        empty: whether there may be none.

    >>> require("size", {3: 4}, several(whole(1), "two whole numbers", length=2), DualviewError)
    Traceback (most recent call last):
    ...
    dualview.errors.DualviewError: size: expected two whole numbers, got {3: 4}
    """

    def checked(value: Any) -> tuple[Any, ...]:
        try:
            entries = sequence(value)
            made = tuple(check(entry) for entry in entries)
        except UnfitError:
            raise UnfitError(what) from None
        if (not made and not empty) or length not in (None, len(made)):
            raise UnfitError(what)
        return made

    return checked


def named(check: Check, what: str) -> Check:
    """A mapping from names to values that pass a check, as a dict.

    >>> require("c", {"fc": -1}, named(number(above=0), "a scale by layer"), DualviewError)
    Traceback (most recent call last):
    ...
    dualview.errors.DualviewError: c: expected a scale by layer, got {'fc': -1}
    """

    def checked(value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
            raise UnfitError(what)
        try:
            return {name: check(one) for name, one in value.items()}
        except UnfitError:
            raise UnfitError(what) from None

    return checked


def calling(arguments: int) -> Check:
    """A function that takes so many arguments.

    >>> require("measure", lambda: 0, calling(2), DualviewError)
    Traceback (most recent call last):
    ...
    dualview.errors.DualviewError: measure: expected a function of 2 arguments, got function
    """

    def check(value: Any) -> Any:
        wanted = f"a function of {arguments} argument{'' if arguments == 1 else 's'}"
        if not callable(value):
            raise UnfitError(wanted)
        try:
            signature = inspect.signature(getattr(value, "forward", value))  # of a module its own
        except (TypeError, ValueError):  # of some built-in functions it is not known
            return value
        try:
            signature.bind(*[None] * arguments)
        except TypeError:
            raise UnfitError(wanted) from None
        return value

    return check


def offering(*methods: str) -> Check:
    """An object with some methods.

    >>> require("watcher", 3, offering("stepped"), DualviewError)
    Traceback (most recent call last):
    ...
    dualview.errors.DualviewError: watcher: expected an object with the methods stepped, got 3
    """

    def check(value: Any) -> Any:
        if not all(callable(getattr(value, method, None)) for method in methods):
            raise UnfitError(f"an object with the methods {', '.join(methods)}")
        return value

    return check


def shape(axes: int | None = None) -> Check:
    """The shape of one example: positive sizes."""
    example = "(3, 32, 32)" if axes in (None, 3) else str(tuple(range(2, 2 + (axes or 0))))
    return several(whole(1), f"positive sizes such as {example}", length=axes)


# What scikit-learn says ---------------------------------------------------------------------------


@contextmanager
def refused_data(
    name: str, error: type[DualviewError], type_error: type[DualviewError]
) -> Iterator[None]:
    """What scikit-learn, NumPy or PyTorch say of data that they cannot take, as a room's error.

    Args:
        name: of the data.
        error: raised for values.
        type_error: raised for types; scikit-learn promises a TypeError, so that it is one too.

    >>> with refused_data("X", DualviewError, DualviewError):
    ...     raise ValueError("Input contains NaN.")
    Traceback (most recent call last):
    ...
    dualview.errors.DualviewError: X: expected examples as numbers, got: Input contains NaN.
    """
    try:
        yield
    except DualviewError:
        raise
    except TypeError as problem:
        raise type_error(f"{name}: expected examples as numbers, got: {problem}") from problem
    except (ValueError, RuntimeError, OverflowError) as problem:
        raise error(f"{name}: expected examples as numbers, got: {problem}") from problem


def expect_fitted(estimator: Any, error: type[DualviewError]) -> None:
    """Refuse an estimator of scikit-learn's kind that was not fitted.

    Args:
        estimator: whose attributes that end in "_" tell.
        error: raised; scikit-learn promises its `NotFittedError`, so that it is one too.
    """
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(estimator)
    except NotFittedError as problem:
        raise error(f"{problem} Repair: fit(X, y)") from problem


def random_seed(random_state: Any, error: type[DualviewError]) -> int:
    """A seed for PyTorch: a whole number as it is, else drawn as scikit-learn does.

    Raises:
        DualviewError: of the class given; it is no `random_state`.

    >>> random_seed(3, DualviewError)
    3
    """
    import numpy as np
    from sklearn.utils import check_random_state

    try:
        if isinstance(random_state, bool | np.bool_):
            raise ValueError("a boolean")
        state = check_random_state(random_state)
    except Exception as problem:  # scikit-learn's, or of its message's making
        raise error(
            f"random_state: expected a whole number from 0 to {2**32 - 1}, a "
            f"numpy.random.RandomState or None, got {said(random_state)}"
        ) from problem
    if isinstance(random_state, numbers.Integral):
        return int(random_state)
    return int(state.randint(2**31 - 1))


# --------------------------------------------------------------------------------------------------


def _whole_of(value: Any, lowest: float, highest: float) -> int:
    unbounded = highest >= LARGEST_COUNT
    wanted = f"a whole number from {lowest} {'on' if unbounded else f'to {highest}'}"
    plain = _plain(value)
    if isinstance(plain, bool):
        raise UnfitError(wanted)
    try:
        found = operator.index(plain)
    except Exception:  # of a foreign type, whatever its __index__ raises
        raise UnfitError(wanted) from None
    if not lowest <= found <= highest:
        too_large = unbounded and found > highest
        raise UnfitError(f"{wanted}, and up to {highest:,}" if too_large else wanted)
    return found


def _number_of(value: Any, wanted: str, within: Callable[[float], bool]) -> float:
    plain = _plain(value)
    if isinstance(plain, bool) or not isinstance(plain, numbers.Real):
        raise UnfitError(wanted)
    try:
        found = float(plain)
    except (OverflowError, ValueError):
        raise UnfitError(wanted) from None
    if not (math.isfinite(found) and within(found)):
        raise UnfitError(wanted)
    return found


def _plain(value: Any) -> Any:
    """A scalar of NumPy, or an array or a tensor of no axes, as Python's own; else the value."""
    if isinstance(value, int | float | str) or not hasattr(value, "item"):
        return value
    try:
        return value.item() if not getattr(value, "shape", (1,)) else value
    except Exception:  # a tensor without numbers (meta, fake)
        return value


def _with_article(name: str) -> str:
    return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
