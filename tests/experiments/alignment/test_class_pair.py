"""Properties proved here.

1. The pair holds exactly the examples of the two classes, in their order, labelled by position; the
   other way round the labels swap.
2. Pixels are brought to 0 to 1 and not normalised.
3. Classes that are not in the data, twice the same, or absent from a split are refused.
4. The examples to measure on are the first of each class, as float64; too few are refused.
"""

import dataclasses

import pytest
import torch

from dualview.datasets import Batches, Split
from dualview.errors import DataError
from dualview.experiments.alignment.class_pair import class_pair, first_of_each
from tests.training.tiny import tiny_data

DATA = tiny_data(n_train=40, n_other=12)


@pytest.mark.parametrize("names", [("a", "c"), ("c", "a"), ("b", "c")])
def test_examples_of_two_classes(names):
    pair = class_pair(DATA, names)
    assert (pair.class_names, pair.n_classes) == (names, 2)
    for split in ("train", "validation", "test"):
        whole, part = getattr(DATA, split), getattr(pair, split)
        expected = [
            (image, names.index(DATA.class_names[label]))
            for image, label in zip(whole.images, whole.labels.tolist(), strict=True)
            if DATA.class_names[label] in names
        ]
        assert part.labels.tolist() == [label for _, label in expected]
        assert torch.equal(part.images, torch.stack([image for image, _ in expected]))
    assert pair.description == f"stripes, {names[0]} against {names[1]}"


def test_pixels_are_not_normalised():
    pair = class_pair(DATA, ("a", "b"))
    ((images, _),) = Batches(pair.train, 100, mean=pair.mean, std=pair.std)
    torch.testing.assert_close(images, pair.train.images / 255)


@pytest.mark.parametrize(
    ("names", "match"),
    [(("a", "x"), "expected two of a, b, c .* got 'x'"), (("b", "b"), "two different")],
)
def test_wrong_names(names, match):
    with pytest.raises(DataError, match=match):
        class_pair(DATA, names)


def test_class_without_examples_in_a_split():
    keep = DATA.test.labels != 1
    lacking = Split(DATA.test.images[keep], DATA.test.labels[keep])
    with pytest.raises(DataError, match="'b' in the test split, got none"):
        class_pair(dataclasses.replace(DATA, test=lacking), ("a", "b"))


def test_first_of_each():
    images, labels = first_of_each(class_pair(DATA, ("a", "c")).train, 3)
    assert labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert images.dtype == torch.float64
    firsts = torch.tensor([0, 3, 6, 2, 5, 8])  # labels go 0, 1, 2, 0, 1, 2, ...
    torch.testing.assert_close(images * 255, DATA.train.images[firsts].double())


def test_too_few():
    with pytest.raises(DataError, match=r"at least 14 .* got 13 of class 1"):
        first_of_each(class_pair(DATA, ("a", "c")).train, 14)
