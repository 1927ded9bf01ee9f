"""The options of a comparison, with their checks. No torch here, so that they are known at once."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from dualview.arguments import (
    file_path,
    flag,
    fraction,
    instance_of,
    number,
    optional,
    require_fields,
    seed_number,
    several,
    text_value,
    whole,
)
from dualview.experiments.seeds import Seeds, as_given, seeds_value
from dualview.training import SettingsError, TrainSettings, choose
from dualview.training.settings import CHOICES, READ

ONES = "-ones"
"""Ending of a kind whose weights network reads the constant 1."""

KINDS = ("dnn", "dgn", "dlgn", "dlgn-sf", "dgn-ones", "dlgn-ones", "dlgn-sf-ones")
"""What can be compared; "dnn" is the architecture itself, as it is."""

ENLARGED = "enlarged"
"""Of a run's config: how often each pixel of the data was repeated in both directions."""

MAX_POOLING = ("average", "switch")
WEIGHTS = ("fresh", "copied")


def _source(value: Any) -> str:
    """A name or a path, as text."""
    file_path(value)
    return str(value)


@dataclass(frozen=True)
class DataSettings:
    """Which data, and how it is read; see `dualview.datasets.load`.

    Attributes:
        source: "digits" (built in), a folder of Parquet files as the Hugging Face hub has them, a
            folder of images (class/*.png or train/class/*.png), an .npz file with x and y, or the
            name of a data set of the hub.
        validation: share of the train split to validate on, where the data has no validation split.
        test: share of the train split to test on, where the data has no test split.
        split_seed: of those cuts; all runs of a comparison share them.
        image_column: column of images in Parquet and hub data. Default: found by type.
        label_column: column of labels. Default: found by name and metadata.
        subset: configuration of data that has several.
        cache: keep decoded images on disk for the next time.
    """

    source: str = "digits"
    validation: float = 0.1
    test: float = 0.2
    split_seed: int = 0
    image_column: str | None = None
    label_column: str | None = None
    subset: str | None = None
    cache: bool = True

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        name = optional(text_value)
        require_fields(
            self,
            SettingsError,
            source=_source,
            validation=fraction,
            test=fraction,
            split_seed=seed_number,
            image_column=name,
            label_column=name,
            subset=name,
            cache=flag,
        )


@dataclass(frozen=True)
class ComparisonSettings:
    """Kinds of one architecture to train on one data set, with some seeds each.

    Attributes:
        data: which data.
        arch: one of `dualview.architectures.NAMES`; or your own: module:factory or
            ./mine.py:factory, called with those of num_classes, input_shape, width and batch_norm
            that it takes.
        width: units or channels of the first layer; others scale with it. Default: as in the
            papers.
        batch_norm: batch norm before convolutional activations. Default: as in the papers.
        kinds: any of `KINDS`; recovered accuracy needs "dnn" among them.
        seeds: runs of each kind: 3 stands for the seeds 0, 1 and 2; "3-5" for 3, 4 and 5; "0,2,7"
            or (0, 2, 7) for these.
        beta: steepness of the soft gate, sigmoid(beta q), where gates are learnt.
        max_pool: what takes the place of max pooling in the weights network: "average" of the same
            window, or "switch", the gating network's choice of position. Default: switch for dgn,
            average for dlgn.
        weights: what the weights networks start from: "fresh", a draw of their own, or "copied",
            the architecture's own parameters, for one of yours that comes trained. Default: fresh.
        training: how each network is trained; its seed is replaced by the run's.
        experiment: name of the comparison in records and reports.
    """

    data: DataSettings = field(default_factory=DataSettings)
    arch: str = "fc"
    width: int | None = None
    batch_norm: bool | None = None
    kinds: tuple[str, ...] = ("dnn", "dgn", "dlgn", "dlgn-ones")
    seeds: Seeds = field(default=3, metadata={READ: as_given})
    beta: float = 4.0
    max_pool: str | None = field(default=None, metadata={CHOICES: MAX_POOLING})
    weights: str | None = field(default=None, metadata={CHOICES: WEIGHTS})
    training: TrainSettings = field(default_factory=TrainSettings)
    experiment: str = "compare"

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        require_fields(
            self,
            SettingsError,
            data=instance_of(DataSettings),
            arch=text_value,
            width=optional(whole(1)),
            seeds=seeds_value,
            beta=number(above=0),
            batch_norm=optional(flag),
            kinds=several(text_value, f"some of {', '.join(KINDS)}", empty=True),
            training=instance_of(TrainSettings),
            experiment=text_value,
        )
        if not self.kinds:
            raise SettingsError(f"kinds: expected at least one of {', '.join(KINDS)}, got none")
        for kind in self.kinds:
            _check_kind(kind)
        if len(set(self.kinds)) < len(self.kinds):
            raise SettingsError(f"kinds: expected each once, got {' '.join(self.kinds)}")
        if self.max_pool is not None:
            choose("max_pool", self.max_pool, MAX_POOLING)
        if self.weights is not None:
            choose("weights", self.weights, WEIGHTS)

    def seeded(self, seed: int) -> TrainSettings:
        """The training settings of the runs with this seed."""
        return dataclasses.replace(self.training, seed=seed)


def _check_kind(kind: str) -> None:
    if kind == "dnn" + ONES:
        raise SettingsError(
            "kinds: 'dnn-ones' has no meaning: the DNN's own gates and weights are one network, "
            "which reads the data. Repair: 'dgn-ones' or 'dlgn-ones'"
        )
    choose("kinds", kind, KINDS)


def split_kind(kind: str) -> tuple[str, str]:
    """A kind's name as `disentangle` takes it: kind, weights input.

    >>> split_kind("dlgn-ones"), split_kind("dgn")
    (('dlgn', 'ones'), ('dgn', 'data'))
    """
    base = kind.removesuffix(ONES)
    return base, "ones" if base != kind else "data"
