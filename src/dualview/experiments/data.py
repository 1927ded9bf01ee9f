"""Data as experiments take it: loaded as the settings say, and told apart by its content."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from dualview.datasets import Dataset, Split, load
from dualview.experiments.settings import DataSettings


def load_settings(options: DataSettings) -> Dataset:
    """The data that the settings name."""
    return load(
        options.source,
        validation=options.validation,
        test=options.test,
        seed=options.split_seed,
        image_column=options.image_column,
        label_column=options.label_column,
        config=options.subset,
        cache=options.cache,
    )


def data_fingerprint(data: Dataset) -> str:
    """A short hash of all images and labels: changed data must not pass for the same."""
    digest = hashlib.blake2b(digest_size=8)
    for split in (data.train, data.validation, data.test):
        for tensor in (split.images, split.labels):
            digest.update(repr((tuple(tensor.shape), tensor.dtype)).encode())
            digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()


def enlarged(data: Dataset, factor: int) -> Dataset:
    """Every pixel repeated `factor` times in both directions, for networks that halve often.

    >>> enlarged(load("digits"), 2).input_shape
    (1, 16, 16)
    """

    def grown(split: Split) -> Split:
        wide = split.images.repeat_interleave(factor, 3)
        return Split(wide.repeat_interleave(factor, 2), split.labels)

    splits = (grown(split) for split in (data.train, data.validation, data.test))
    train, validation, test = splits
    return replace(data, train=train, validation=validation, test=test)
