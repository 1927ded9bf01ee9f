"""Properties proved here.

1. Fingerprints see every image and label of every split.
2. Cutting keeps the first examples of the splits that are named, and what is smaller as it is.
3. Enlarged images repeat each pixel in both directions; labels, statistics and name stay.
"""

from __future__ import annotations

import torch

from dualview.datasets.fingerprint import data_fingerprint
from dualview.experiments.data import enlarged, first_examples, load_settings
from dualview.experiments.settings import DataSettings
from tests.training.tiny import tiny_data


def test_fingerprints_see_every_part():
    expected = data_fingerprint(tiny_data())
    assert expected == data_fingerprint(tiny_data())
    for split in ("train", "validation", "test"):
        for part in ("images", "labels"):
            data = tiny_data()
            tensor = getattr(getattr(data, split), part)
            tensor.view(-1)[-1] = (tensor.view(-1)[-1] + 1) % 3
            assert data_fingerprint(data) != expected


def test_larger_data_are_cut_and_smaller_kept():
    data = tiny_data()
    cut = first_examples(data, {"train": 5, "validation": 10**6})
    assert torch.equal(cut.train.images, data.train.images[:5])
    assert torch.equal(cut.train.labels, data.train.labels[:5])
    assert len(cut.validation) == len(data.validation)
    assert len(cut.test) == len(data.test)


def test_enlarged():
    small, large = tiny_data(), enlarged(tiny_data(), 3)
    assert large.input_shape == (1, 12, 12)
    for name in ("train", "validation", "test"):
        before, after = getattr(small, name), getattr(large, name)
        kron = torch.kron(before.images, torch.ones(3, 3, dtype=torch.uint8))
        assert torch.equal(after.images, kron)
        assert torch.equal(after.labels, before.labels)
    assert (large.mean, large.std, large.description) == (small.mean, small.std, "stripes")


def test_settings_name_the_data():
    data = load_settings(DataSettings("digits", validation=0.2, test=0.3, split_seed=1))
    assert (data.description, len(data.test) > 500) == ("digits", True)
