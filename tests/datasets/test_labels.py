"""Labels.

- Every integer type becomes int64 with the same values.
- Other types and shapes, negative labels and labels past the last class are refused, with the row.
- Unnamed classes are numbered; a gap is refused.
"""

import numpy as np
import pytest

from dualview.datasets.labels import checked_labels, numbered_classes
from dualview.errors import DataError


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint64, np.int64])
def test_integer_types(dtype):
    labels = checked_labels(np.array([2, 0, 1], dtype=dtype), ("a", "b", "c"), "f")
    assert labels.dtype == np.int64
    assert labels.tolist() == [2, 0, 1]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0, -1], r"f, row 1: label -1 is outside the classes"),
        ([0, 1, 2], r"f, row 2: label 2 is outside .*0\.\.1, the 2 named classes"),
        ([0.0, 1.0], "integer labels, got float64"),
        ([True, False], "integer labels, got bool"),
        (["a", "b"], "integer labels, got <U1"),
        ([[0, 1], [1, 0]], r"shape \(n,\), got \(2, 2\)"),
    ],
)
def test_refusals(values, message):
    with pytest.raises(DataError, match=message):
        checked_labels(np.array(values), ("a", "b"), "f")


def test_label_past_int64_is_refused():
    with pytest.raises(DataError, match="row 0"):
        checked_labels(np.array([2**63], dtype=np.uint64), None, "f")


def test_numbered_classes():
    labels = {"train": np.array([0, 2]), "test": np.array([1, 1])}
    assert numbered_classes(labels, "f") == ("0", "1", "2")


@pytest.mark.parametrize("values", [[1, 2], [0, 2], [0, 2**62]])
def test_gaps_are_refused(values):
    with pytest.raises(DataError, match="no example has label"):
        numbered_classes({"train": np.array(values)}, "f")
