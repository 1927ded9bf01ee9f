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
