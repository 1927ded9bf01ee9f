"""Properties proved here.

1. Values that cannot be meant are refused, with the option's name.
"""

import pytest

from dualview.errors import TableError
from dualview.tabular.comparing.settings import TableSettings


@pytest.mark.parametrize(
    "bad",
    [
        {"task": "class"},
        {"folds": 1},
        {"others": ("tree",)},
        {"test": 1.0},
        {"leave_out": "age"},
        {"seed": -1},
    ],
)
def test_refused(bad):
    with pytest.raises(TableError, match=f"{next(iter(bad))}: expected"):
        TableSettings(**bad)
