"""What an experiment is: `Request` (what was asked), `Experiment` (what it is made of).

An experiment is an `EXPERIMENT`, in the face of a folder here (`registry` lists it) or in a file of
the user's (`registry.find`). Its `plan` turns a request into jobs; its `tables` and `figures` turn
the jobs' records into tables and figures. It describes itself without torch, which only plans need.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from dualview.arguments import (
    calling,
    flag,
    instance_of,
    named,
    one_of,
    optional,
    require_fields,
    several,
    text_value,
    whole,
    words,
)
from dualview.experiments.claims import Claim
from dualview.experiments.jobs import Job
from dualview.experiments.records import RunRecord
from dualview.experiments.seeds import Seeds, as_given, seeds_value
from dualview.experiments.settings import DataSettings
from dualview.experiments.tables import Table
from dualview.training import (
    OPTIMIZERS,
    SettingsError,
    TrainSettings,
    choose,
    on_this_machine,
)
from dualview.training.settings import CHOICES, READ

if TYPE_CHECKING:
    from dualview.datasets import Dataset

PRESETS = ("cpu", "paper")
Preset = TypeVar("Preset")

SMALL_NUMBERS = 10_000_000
"""Numbers in the train images from which on data is not small: the digits have 80,000, MNIST has
42 million, CIFAR-10 has 138 million."""


@dataclass(frozen=True)
class Machine:
    """Where networks are trained; fields as in `TrainSettings`."""

    accelerator: str = "auto"
    devices: int | str = 1
    precision: str | None = None
    """None: the preset's."""
    compile: bool = False
    threads: int | None = None

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        for field_ in dataclasses.fields(self):
            value = getattr(self, field_.name)
            if value is not None or field_.name != "precision":
                TrainSettings(**{field_.name: value})


@dataclass(frozen=True)
class Request:
    """What `dualview reproduce NAME` was asked for; None stands for the preset's own choice.

    Attributes:
        preset: "cpu", sized for two cores, by the size of the data; or "paper", the papers' sizes
            and settings, for a GPU.
        data: which data. Default: the experiment's `default_data`.
        arch: one of `dualview.architectures.NAMES`; in architectures and shallow your own, too:
            module:factory or ./mine.py:factory, called with those of num_classes, input_shape and
            width that it takes. Default: all of the experiment's.
        width: units or channels of the first layer, for all architectures. Default: the preset's.
        optimizer: one optimiser. Default: all of the experiment's.
        kinds: some kinds of network, or regimes. Default: all of the experiment's.
        seeds: runs of each: 3 stands for the seeds 0, 1 and 2; "3-5" for 3, 4 and 5; "0,2,7" or
            (0, 2, 7) for these. Default: the preset's.
        epochs: of each run. Default: the preset's.
        machine: where it is trained.
    """

    preset: str = field(default="cpu", metadata={CHOICES: PRESETS})
    data: DataSettings | None = None
    arch: str | None = None
    width: int | None = None
    optimizer: str | None = field(default=None, metadata={CHOICES: OPTIMIZERS})
    kinds: tuple[str, ...] | None = None
    seeds: Seeds | None = field(default=None, metadata={READ: as_given})
    epochs: int | None = None
    machine: Machine = field(default_factory=Machine)

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        choose("preset", self.preset, PRESETS)
        require_fields(
            self,
            SettingsError,
            data=optional(instance_of(DataSettings)),
            arch=optional(text_value),
            width=optional(whole(1)),
            seeds=optional(seeds_value),
            epochs=optional(whole(1, 10**6)),
            optimizer=optional(text_value),
            kinds=optional(several(text_value, "names, each once", empty=True)),
            machine=instance_of(Machine),
        )
        kinds = self.kinds
        if kinds is not None and (not kinds or len(set(kinds)) < len(kinds)):
            raise SettingsError(f"kinds: expected some, each once, got {' '.join(kinds) or 'none'}")

    def applied(self, preset: TrainSettings) -> TrainSettings:
        """The preset's training with the epochs and the machine that were asked for."""
        machine = dataclasses.asdict(self.machine)
        for name in ("threads", "precision"):
            machine[name] = machine[name] or getattr(preset, name)
        return dataclasses.replace(preset, epochs=self.epochs or preset.epochs, **machine)

    def training(self, preset: TrainSettings, seed: int, n_train: int) -> TrainSettings:
        """How one run is trained: `applied`, resolved, with the run's seed.

        The number of threads is set, since the last bits of the numbers depend on it.
        """
        settings = dataclasses.replace(self.applied(preset), seed=seed).resolved(n_train)
        return on_this_machine(settings)


PlanFunction = Callable[[Request, Any, Path], list[Job]]
"""(request, data or None, folder of the experiment) -> its jobs."""


def plan_in(module: str) -> PlanFunction:
    """The function `plan` of a module that is imported when it is called, since it needs torch."""

    def plan(request: Request, data: Any, out: Path) -> list[Job]:
        planned: list[Job] = importlib.import_module(module).plan(request, data, out)
        return planned

    return plan


Figures = Callable[[Sequence[RunRecord]], Mapping[str, Any]]
"""Records of one call -> name -> matplotlib figure."""


def no_figures(records: Sequence[RunRecord]) -> Mapping[str, Any]:
    """None at all."""
    return {}


@dataclass(frozen=True)
class Experiment:
    """One table or figure of the papers, as a command.

    Attributes:
        name: as `dualview reproduce` takes it.
        title: a heading.
        question: what it asks, in plain words.
        source: paper, and table or figure there.
        duration: how long the cpu preset takes on two cores, by data.
        default_data: as `dualview.datasets.load` takes it.
        plan: makes the jobs; raises SettingsError, DataError or ConversionError for what does not
            fit, before anything is trained.
        tables: of the records of one call, published numbers beside the measured ones.
        figures: of the same records; a name is that of a file.
        captions: name of a figure -> how to read it; where there is one for each architecture, as
            in "c4gap-curves", the name without it.
        needs_data: False: `plan` takes None for data where none was asked for.
        options: which of "arch", "width", "optimizer" and "kinds" it understands.
        claims: what the papers say that it tries; the results page gives a verdict on each.
    """

    name: str
    title: str
    question: str
    source: str
    duration: str
    default_data: str
    plan: PlanFunction
    tables: Callable[[Sequence[RunRecord]], list[Table]]
    figures: Figures = no_figures
    captions: Mapping[str, str] = field(default_factory=dict)
    needs_data: bool = True
    options: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        said = ("title", "question", "source", "duration", "default_data")
        known = one_of("arch", "width", "optimizer", "kinds")
        require_fields(
            self,
            SettingsError,
            name=text_value,
            **dict.fromkeys(said, words),
            plan=calling(3),
            tables=calling(1),
            figures=calling(1),
            captions=named(text_value, "texts by the names of figures"),
            needs_data=flag,
            options=several(known, "some of 'arch', 'width', 'optimizer', 'kinds'", empty=True),
            claims=several(instance_of(Claim), "claims", empty=True),
        )


def check_options(experiment: Experiment, request: Request) -> None:
    """Refuse options that the experiment does not understand.

    Raises:
        SettingsError: one is given.
    """
    for name in ("arch", "width", "optimizer", "kinds"):
        if getattr(request, name) is not None and name not in experiment.options:
            known = ", ".join(f"--{option}" for option in experiment.options) or "none of its kind"
            raise SettingsError(
                f"--{name}: {experiment.name} has no such choice; leave it out (it takes {known})"
            )


def chosen_kinds(request: Request, kinds: Sequence[str]) -> tuple[str, ...]:
    """The kinds asked for, in the experiment's order; all of them if none were.

    Raises:
        SettingsError: one is none of the experiment's.
    """
    for kind in request.kinds or ():
        choose("kinds", kind, kinds)
    return tuple(kind for kind in kinds if request.kinds is None or kind in request.kinds)


def preset_of(
    request: Request, data: Dataset, paper: Preset, small: Preset, large: Preset
) -> Preset:
    """What the preset asked for has: the paper's, or that of the cpu on data of this size."""
    if request.preset == "paper":
        return paper
    return small if is_small(data) else large


def is_small(data: Dataset) -> bool:
    """Whether the data is as small as the digits, so that networks train on it in seconds."""
    return data.train.images.numel() < SMALL_NUMBERS


def data_config(data: Dataset) -> dict[str, Any]:
    """What a job's config says of the data; its path is no part of it."""
    from dualview.datasets.fingerprint import data_fingerprint

    return {
        "data": data.description,
        "data_fingerprint": data_fingerprint(data),
        "n_train": len(data.train),
        "n_validation": len(data.validation),
        "n_test": len(data.test),
        "classes": data.n_classes,
    }
