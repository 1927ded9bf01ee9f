"""The embedded digits.

- All 1,797 images, with exactly scikit-learn's pixels and labels.
"""

import numpy as np
from sklearn.datasets import load_digits

from dualview.datasets.digits import read_digits


def test_exact():
    source, original = read_digits(), load_digits()
    examples = source.splits["train"]
    assert examples.images.shape == (1797, 1, 8, 8)
    assert examples.images.dtype == np.float32
    np.testing.assert_array_equal(examples.images[:, 0].astype(np.float64) * 16, original.images)
    np.testing.assert_array_equal(examples.labels, original.target)
    assert source.class_names == tuple("0123456789")
