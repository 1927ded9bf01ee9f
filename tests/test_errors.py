"""What messages are made of.

- The nearest of some names is offered, that which begins alike first, and none if none is near.
- A library that is installed is imported; one that is missing is refused with the extra to install.
"""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualview.architectures import ARCHITECTURES
from dualview.errors import MissingExtraError, did_you_mean, need


@pytest.mark.parametrize(
    ("value", "nearest"),
    [("resnet21", "resnet20"), ("ResNet110", "resnet110"), ("vgg", "vgg16"), ("c4", "c4gap")],
)
def test_nearest(value, nearest):
    assert did_you_mean(value, ARCHITECTURES) == f"; did you mean {nearest!r}?"


@pytest.mark.parametrize("value", ["", "zzz", None, 3])
def test_nothing_near(value):
    assert did_you_mean(value, ["resnet20", "vgg16"]) == ""
    assert did_you_mean(value, []) == ""


def test_swapped_letters_come_first():
    assert did_you_mean("dgln", ["dnn", "dgn", "dlgn"]) == "; did you mean 'dlgn'?"


@given(st.lists(st.text("abc1", min_size=1), min_size=1, unique=True), st.data())
def test_a_choice_is_nearest_to_itself(choices, data):
    chosen = data.draw(st.sampled_from(choices))
    assert did_you_mean(chosen, choices) == f"; did you mean {chosen!r}?"


def test_installed():
    assert need("math", "train") is math


def test_missing_names_the_extra():
    with pytest.raises(MissingExtraError, match=r"'no_such'.*dualview\[hub\]"):
        need("no_such.library", "hub")


def test_what_needs_it_is_named():
    with pytest.raises(MissingExtraError, match=r"^saving a network needs 'no_such_library'"):
        need("no_such_library", "hub", "saving a network")
