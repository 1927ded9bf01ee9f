"""Data as experiments take it: loaded as the settings say, and told apart by its content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

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


def first_examples(data: Dataset, at_most: Mapping[str, int]) -> Dataset:
    """The data with at most so many examples of each split that is named, the first ones."""
    cut: dict[str, Any] = {
        name: part.at(slice(most))
        for name, most in at_most.items()
        for part in (getattr(data, name),)
    }
    return replace(data, **cut)


def enlarged(data: Dataset, factor: int) -> Dataset:
    """Every pixel repeated `factor` times in both directions, for networks that halve often.

    >>> enlarged(load("digits"), 2).input_shape
    (1, 16, 16)
    """

    def grown(split: Split) -> Split:
        wide = split.images.repeat_interleave(factor, 3)
        return Split(wide.repeat_interleave(factor, 2), split.labels)

    train, validation, test = map(grown, (data.train, data.validation, data.test))
    return replace(data, train=train, validation=validation, test=test)
