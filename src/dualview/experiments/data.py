"""Data as experiments take it: loaded as the settings say, and told apart by its content."""

from __future__ import annotations

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
