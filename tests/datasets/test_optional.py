"""Optional libraries.

- What is installed is imported; what is missing is refused with the extra to install.
"""

import math

import pytest

from dualview.datasets.optional import need
from dualview.errors import MissingExtraError


def test_installed():
    assert need("math", "train") is math


def test_missing_names_the_extra():
    with pytest.raises(MissingExtraError, match=r"'no_such'.*dualview\[hub\]"):
        need("no_such.library", "hub")


def test_what_needs_it_is_named():
    with pytest.raises(MissingExtraError, match=r"^saving a network needs 'no_such_library'"):
        need("no_such_library", "hub", "saving a network")
