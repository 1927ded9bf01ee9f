"""Data sets and their statistics.

- Mean and standard deviation equal the ones that NumPy computes in float64, for uint8 images in the
  scale where 255 is 1 and for float images as they are, over more images than one chunk.
- Shapes and class counts follow from the tensors.
"""

import numpy as np
import pytest
import torch

from dualview.datasets import Dataset, Split
from dualview.datasets.dataset import CHUNK, channel_statistics


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("channels", [1, 3])
def test_channel_statistics(dtype, channels):
    images = torch.randint(0, 256, (CHUNK + 7, channels, 2, 3), dtype=torch.uint8)
    images[:, 0] //= 2
    images = images if dtype == torch.uint8 else images / 7 - 3
    values = images.numpy().astype(np.float64) / (255 if dtype == torch.uint8 else 1)
    mean, std = channel_statistics(images)
    np.testing.assert_allclose(mean, values.mean(axis=(0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(std, values.std(axis=(0, 2, 3)), rtol=1e-12)


def test_properties():
    split = Split(torch.zeros(4, 3, 6, 5, dtype=torch.uint8), torch.arange(4))
    data = Dataset(split, split, split, tuple("abcd"), (0.0,) * 3, (1.0,) * 3, "toy")
    assert (data.n_classes, data.input_shape, len(data.train)) == (4, (3, 6, 5), 4)
