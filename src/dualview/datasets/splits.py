"""Stratified, seeded splits: every class gets its share of each split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from dualview.datasets.dataset import (
    SPLIT_NAMES,
    Dataset,
    Examples,
    Source,
    Split,
    channel_statistics,
)
from dualview.datasets.decode import shape_name
from dualview.errors import DataError


def stratified_counts(sizes: np.ndarray, fraction: float) -> np.ndarray:
    """How many examples of each class go into a split of `fraction` of the data.

    Each class gets its exact share rounded down or up, and at least one; which shares are rounded
    up follows from the largest remainders, so that the sum is `round(fraction * sizes.sum())`
    unless the at-least-one rule needs more.

    Args:
        sizes: (k,) examples of each class; a class without examples gets none.
        fraction: between 0 and 1.

    >>> stratified_counts(np.array([10, 10, 5]), 0.25)
    array([3, 2, 1])
    """
    shares = sizes * fraction
    counts = np.where(sizes > 0, np.maximum(np.floor(shares), 1), 0).astype(np.int64)
    remainders = shares - counts
    missing = round(float(shares.sum())) - int(counts.sum())
    order = np.argsort(-remainders, kind="stable")
    round_up = order[: max(missing, 0)]
    round_up = round_up[remainders[round_up] > 0]
    counts[round_up] += 1
    return counts


def stratified_split(
    labels: np.ndarray,
    fractions: dict[str, float],
    seed: int,
    class_names: Sequence[str],
    where: str,
) -> dict[str, np.ndarray]:
    """Cut the examples into "train" and one part for each of `fractions`.

    Args:
        labels: (n,) int64, inside the classes.
        fractions: share of all n examples for each split to cut, each between 0 and 1.
        seed: the draw depends on this and the labels alone.
        class_names: name of each class, for messages.
        where: file for messages.

    Returns:
        Row numbers of each split, ascending; together every row once.

    Raises:
        DataError: a fraction that is no share, or a class too small for one example in each split.

    >>> parts = stratified_split(np.array([0, 1] * 10), {"test": 0.2}, 0, ("a", "b"), "x.npz")
    >>> {name: len(rows) for name, rows in parts.items()}
    {'test': 4, 'train': 16}
    """
    for name, fraction in fractions.items():
        if not 0 < fraction < 1:
            raise DataError(f"{name}={fraction}: expected a share of the data between 0 and 1")
    sizes = np.bincount(labels, minlength=len(class_names))
    counts = {name: stratified_counts(sizes, fraction) for name, fraction in fractions.items()}
    left = sizes - sum(counts.values(), start=np.zeros_like(sizes))
    small = np.flatnonzero((left < 1) & (sizes > 0))
    if len(small):
        label = int(small[0])
        wanted = ", ".join(f"{name}={fraction}" for name, fraction in fractions.items())
        raise DataError(
            f"{where}: class {class_names[label]!r} has {sizes[label]} example(s), too few for "
            f"{wanted} with at least one left to train on; add examples, make the shares smaller, "
            "or provide the splits"
        )
    rows: dict[str, list[np.ndarray]] = {name: [] for name in (*fractions, "train")}
    for label in np.flatnonzero(sizes).tolist():
        shuffled = np.random.default_rng([seed, label]).permutation(np.flatnonzero(labels == label))
        start = 0
        for name, count in counts.items():
            rows[name].append(shuffled[start : start + count[label]])
            start += count[label]
        rows["train"].append(shuffled[start:])
    return {name: np.sort(np.concatenate(parts)) for name, parts in rows.items()}


def completed(
    source: Source, fractions: Mapping[str, float], seed: int, where: str, description: str
) -> Dataset:
    """The data set, with the splits that are missing cut from the train split.

    Args:
        source: what a reader found.
        fractions: of the train split, for "validation" and "test" where they are missing.
        seed: of the cuts.
        where: a file or name, for messages.
        description: how reports name the data.

    Raises:
        DataError: the splits' images differ in shape or type, or there are too few examples.
    """
    splits = dict(source.splits)
    _expect_one_shape(splits, where)
    missing = {name: share for name, share in fractions.items() if name not in splits}
    if missing:
        train = splits["train"]
        rows = stratified_split(train.labels, missing, seed, source.class_names, where)
        for name, chosen in rows.items():
            splits[name] = Examples(train.images[chosen], train.labels[chosen])
    tensors = {
        name: Split(torch.from_numpy(splits[name].images), torch.from_numpy(splits[name].labels))
        for name in SPLIT_NAMES
    }
    mean, std = channel_statistics(tensors["train"].images)
    return Dataset(
        **tensors, class_names=source.class_names, mean=mean, std=std, description=description
    )


def _expect_one_shape(splits: dict[str, Examples], where: str) -> None:
    expected = splits["train"].images
    for name, examples in splits.items():
        found = examples.images
        if found.shape[1:] != expected.shape[1:] or found.dtype != expected.dtype:
            raise DataError(
                f"{where}: the {name} split holds {shape_name(found.shape[1:])} ({found.dtype}), "
                f"the train split {shape_name(expected.shape[1:])} ({expected.dtype}); "
                "convert all images to one size and kind"
            )
