"""Any change of an image, a label or a shape changes the fingerprint; equal data has one."""

from dataclasses import replace

import pytest

from dualview.datasets.fingerprint import data_fingerprint
from tests.training.tiny import tiny_data

DATA = tiny_data()


def changed(split, field):
    part = getattr(DATA, split)
    values = getattr(part, field).clone()
    values.view(-1)[0] += 1
    return replace(DATA, **{split: replace(part, **{field: values})})


def test_equal_data():
    assert data_fingerprint(DATA) == data_fingerprint(tiny_data())


@pytest.mark.parametrize("split", ["train", "validation", "test"])
@pytest.mark.parametrize("field", ["images", "labels"])
def test_one_number_more(split, field):
    assert data_fingerprint(changed(split, field)) != data_fingerprint(DATA)


def test_the_same_bytes_in_another_shape():
    parts = {}
    for split in ("train", "validation", "test"):
        part = getattr(DATA, split)
        images = part.images.reshape(len(part.images), 1, 1, -1)
        parts[split] = replace(part, images=images)
    assert data_fingerprint(replace(DATA, **parts)) != data_fingerprint(DATA)
