"""Scikit-learn's handwritten digits: 1,797 grey 8×8 images that need no download."""

from __future__ import annotations

import numpy as np

from dualview.datasets.dataset import Examples, Source
from dualview.errors import need


def read_digits() -> Source:
    """All digits in their original order; pixels 0..16 become float32 k / 16, which is exact."""
    data = need("sklearn.datasets", "train").load_digits()
    images = (data.images / 16).astype(np.float32)[:, None]  # (n, 1, 8, 8)
    examples = Examples(images, data.target.astype(np.int64))
    return Source({"train": examples}, tuple(str(name) for name in data.target_names))
