"""Tensors and arrays of one's own as a data set.

- Images and labels are those given, in memory of their own; statistics are the train split's; what
  is missing is cut as `load` cuts it from the same numbers in a file; what is given stays whole.
- Wrong shapes, types, labels, names and shares are refused.
"""

import numpy as np
import pytest
import torch

from dualview.datasets import from_arrays, load
from dualview.errors import DataError

X, Y = torch.rand(60, 3, 4, 5), torch.arange(60) % 3


def test_like_a_file(tmp_path):
    np.savez(tmp_path / "pets.npz", x=X.numpy(), y=Y.numpy())
    ours, theirs = from_arrays(X, Y, name="pets"), load(tmp_path / "pets.npz")
    for split in ("train", "validation", "test"):
        one, other = getattr(ours, split), getattr(theirs, split)
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.labels, other.labels)
    assert (ours.mean, ours.std, ours.class_names) == (theirs.mean, theirs.std, theirs.class_names)
    assert ours.description == theirs.description == "pets"


@pytest.mark.parametrize("kind", ["tensor", "array", "double", "pixels", "bfloat16", "grey"])
def test_types(kind):
    x = {
        "tensor": X,
        "array": X.numpy(),
        "double": X.double(),
        "pixels": (X * 255).to(torch.uint8),
        "bfloat16": X.bfloat16(),
        "grey": X[:, 0],
    }[kind]
    data = from_arrays(x, Y.numpy() if kind == "array" else Y, validation=(x, Y), test=(x, Y))
    images = torch.as_tensor(x)
    images = images[:, None] if kind == "grey" else images
    expected = images if kind == "pixels" else images.float()
    assert torch.equal(data.train.images, expected)
    assert len(data.validation) == len(data.test) == 60
    pixels = data.train.pixels.double()
    torch.testing.assert_close(
        torch.tensor(data.mean, dtype=torch.float64), pixels.mean((0, 2, 3)), rtol=1e-5, atol=1e-6
    )


def test_memory_of_its_own():
    x = torch.rand(60, 1, 2, 2)
    data = from_arrays(x, Y, validation=(x, Y), test=(x, Y))
    x.zero_()
    assert data.train.images.sum() > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": X[:, :, 0, 0]}, r"\(n, c, h, w\)"),
        ({"x": X[:0]}, "at least one image"),
        ({"x": X.long()}, "uint8 pixels"),
        ({"x": X / 0}, "finite"),
        ({"x": "images"}, "a tensor or array of numbers"),
        ({"x": X.to_sparse()}, "a tensor or array of numbers"),
        ({"x": X.to("meta")}, "a tensor or array of numbers"),
        ({"y": Y[:-1]}, "a label for each of 60 images, got 59"),
        ({"y": Y.double()}, "integer labels"),
        ({"y": Y + 1}, "without gaps"),
        ({"class_names": ["a", "b"]}, "outside the classes"),
        ({"test": 1.5}, "test: expected a share"),
        ({"test": (X, "labels")}, "test: expected a tensor or array"),
        ({"test": (X[:, :1], Y)}, "the test split holds"),
    ],
)
def test_refused(change, message):
    given = {"x": X, "y": Y, **change}
    with pytest.raises(DataError, match=message):
        from_arrays(given.pop("x"), given.pop("y"), **given)
