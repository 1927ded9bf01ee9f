"""The shared checks of arguments.

- each check takes what it says, in every spelling of the value, and gives back Python's own type;
- each refuses everything else with the error of its caller, in words that say what was expected and
  what was found;
- a message is short and printable, whatever the value and its `repr` are;
- `takes` leaves a function's signature, documentation and Python's own errors as they are.
"""

from __future__ import annotations

import contextlib
import inspect
import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dualview import arguments
from dualview.arguments import (
    LARGEST_COUNT,
    calling,
    number,
    offering,
    one_of,
    optional,
    require,
    require_fields,
    said,
    several,
    shape,
    takes,
    whole,
)
from dualview.errors import SHOWN, ConversionError, PathKernelError


class Odd:
    """An object that raises whatever is asked of it."""

    def __repr__(self):
        raise RuntimeError("no")

    def __index__(self):
        raise RuntimeError("no")

    def __iter__(self):
        raise RuntimeError("no")


NOTHING = [None, object(), Odd(), lambda: 0, [], {}, float("nan"), torch.empty(2, device="meta")]

TAKEN = [
    (arguments.flag, True, True),
    (arguments.flag, np.bool_(False), False),
    (arguments.flag, torch.tensor(True), True),
    (whole(1), 3, 3),
    (whole(1), np.int16(3), 3),
    (whole(1), torch.tensor(3), 3),
    (whole(1), np.array(3), 3),
    (number(above=0), 2, 2.0),
    (number(above=0), np.float32(0.5), 0.5),
    (number(above=0), Fraction(1, 2), 0.5),
    (number(above=0), torch.tensor(0.5), 0.5),
    (arguments.seed_number, np.uint32(7), 7),
    (arguments.byte_count, 1e6, 1e6),
    (arguments.fraction, 0.5, 0.5),
    (arguments.text_value, "a", "a"),
    (arguments.file_path, "a/b", Path("a/b")),
    (arguments.file_path, Path("a"), Path("a")),
    (arguments.file_path, "caf\udce9", Path("caf\udce9")),  # a name in Latin-1
    (arguments.torch_device, "cpu", torch.device("cpu")),
    (calling(1), len, len),
    (offering("append"), [1], [1]),
    (one_of("model", "hard"), "hard", "hard"),
    (one_of("model", "hard"), np.str_("hard"), "hard"),
    (optional(whole(1)), None, None),
    (several(whole(0), "numbers"), np.array([2, 0]), (2, 0)),
    (several(whole(0), "numbers"), torch.tensor([2, 0]), (2, 0)),
    (several(whole(0), "numbers"), range(2), (0, 1)),
    (several(whole(0), "numbers", empty=True), [], ()),
    (shape(), torch.Size([3, 4]), (3, 4)),
]

REFUSED = [
    (arguments.flag, ["no", "", 0, 1, "True", np.int64(1), torch.ones(2), *NOTHING]),
    (whole(1), [0, -1, True, np.bool_(True), 2.0, "3", 10**30, 10**6000, *NOTHING]),
    (whole(0, 5), [6, -1]),
    (number(above=0), [0, -1.0, math.inf, "1", True, 1j, 10**400, "nan", *NOTHING]),
    (number(least=0, below=1), [-0.1, 1]),
    (arguments.seed_number, [-1, 1.5, 2**64, "0", True, *NOTHING]),
    (arguments.byte_count, [0, -1, math.inf, "1GB", True, *NOTHING]),
    (arguments.fraction, [0, 1, *NOTHING]),
    (arguments.text_value, ["", b"a", 1, "\udc80", *NOTHING]),
    (arguments.file_path, ["", b"a", 1, "a\0b", "\ud800", *NOTHING]),
    (arguments.torch_device, ["", "tpu", "cpu:x", "meta", 0, b"cpu", "cuda:1000", *NOTHING]),
    (calling(1), [1, "f", None, lambda: 0, lambda x, y: 0]),
    (offering("append"), [1, "f", (), {}]),
    (one_of("model", "hard"), ["heard", "", 0, True, b"hard", ["hard"], *NOTHING]),
    (optional(whole(1)), [0, "", False]),
    (
        several(whole(0), "numbers"),
        [{0: 1, 1: 0}, {0, 1}, "01", b"01", [0.0], [True], [[0]], 1, torch.tensor(1), *NOTHING],
    ),
    (several(whole(0), "two numbers", length=2), [[1], [1, 2, 3]]),
    (shape(3), [(3, 4), (3, 4, 0), "345", {3: 1, 4: 1, 5: 1}]),
]


@pytest.mark.parametrize(("check", "value", "plain"), TAKEN)
def test_what_is_meant_comes_back_in_its_plain_type(check, value, plain):
    found = require("option", value, check, PathKernelError)
    assert found == plain
    assert type(found) is type(plain)


PAIRS = [(check, value) for check, values in REFUSED for value in values]


@pytest.mark.parametrize(("check", "value"), PAIRS, ids=range(len(PAIRS)))
def test_what_is_not_meant_is_refused_in_words(check, value):
    with pytest.raises(PathKernelError, match=r"^option: expected .+, got .+") as refusal:
        require("option", value, check, PathKernelError)
    message = str(refusal.value)
    message.encode()
    assert refusal.value.__suppress_context__  # the traceback is of the caller's error alone
    assert len(message) < 200 + SHOWN


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.sets(st.integers()),
        max_leaves=5,
    )
)
def test_any_plain_value_is_taken_or_refused(value):
    for check, _ in REFUSED:
        with contextlib.suppress(ConversionError):
            require("option", value, check, ConversionError)


def test_the_nearest_name_is_offered():
    with pytest.raises(PathKernelError, match=r"'identity' or 'scale', got 'scales'; did you mean"):
        require("batch_norm", "scales", one_of("identity", "scale"), PathKernelError)


def test_a_large_number_is_told_its_bound():
    with pytest.raises(PathKernelError, match=f"up to {LARGEST_COUNT:,}"):
        require("n", 2**31, whole(1), PathKernelError)


def test_values_are_said_shortly():
    assert said(torch.zeros(2, 3)) == "torch.float32 (2, 3)"
    assert said(np.zeros(2)) == "an array of float64 (2,)"
    assert said(dict) == "the class dict"
    assert said(Odd()) == "Odd"
    assert said([Odd()]) == "list"
    assert len(said("x" * 1000)) == SHOWN
    assert said(2**200) == "a number of 201 bits"


def test_fields_of_a_frozen_record_are_checked_and_made_plain():
    @dataclass(frozen=True)
    class Record:
        size: int

        def __post_init__(self):
            require_fields(self, ConversionError, size=whole(1))

    assert type(Record(np.int64(2)).size) is int
    with pytest.raises(ConversionError, match="size: expected"):
        Record("2")


def test_a_decorated_function_is_as_it_was():
    def cut(size: int, *, shuffle: bool = False) -> tuple[int, bool]:
        """Cut."""
        return size, shuffle

    checked = takes(ConversionError, size=whole(1), shuffle=arguments.flag)(cut)
    assert inspect.signature(checked) == inspect.signature(cut)
    assert checked.__doc__ == "Cut."
    assert checked(np.int8(3), shuffle=np.bool_(True)) == (3, True)
    with pytest.raises(TypeError, match="cut"):
        checked()
    with pytest.raises(TypeError, match="colour"):
        checked(1, colour=2)


def test_a_check_of_no_argument_is_found_at_once():
    with pytest.raises(AssertionError, match="shufle"):
        takes(ConversionError, shufle=arguments.flag)(lambda shuffle: shuffle)
