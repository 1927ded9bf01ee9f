"""The jobs of the experiment `gating`: one for each change and seed."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from torch import nn

from dualview.conversion.pooling import max_pool_of_module
from dualview.datasets import Dataset
from dualview.experiments.classifiers import Variant, setting_jobs
from dualview.experiments.data import first_examples
from dualview.experiments.experiment import Request, chosen_kinds, is_small
from dualview.experiments.gating.changes import BASE, CHANGES, Change
from dualview.experiments.jobs import Job, cost
from dualview.experiments.networks import build_network
from dualview.experiments.recipes import Setting, setting
from dualview.experiments.settings import ComparisonSettings

NAME = "gating"
ARCHITECTURE, IN_PAPER = "c6white", "vgg16"
"""Both have max pools; C6WHITE is in none of the papers."""

LATE = {"c6white": "c6late"}
"""Architecture -> the same with its pools behind activations; others have them there."""

LARGE_WIDTH, LARGE_EPOCHS = 16, 5
"""In the cpu preset on large data: many networks, so small ones, for a short time."""
EXAMPLES_AT_MOST = {"train": 20_000, "validation": 5_000, "test": 1_000}
"""Examples of each split there; the test split chooses nothing, and is hardly looked at."""

AVERAGES: dict[type[nn.Module], type[nn.Module]] = {
    nn.MaxPool2d: nn.AvgPool2d,
    nn.AdaptiveMaxPool2d: nn.AdaptiveAvgPool2d,
}


def plan(request: Request, data: Dataset, out: Path) -> list[Job]:
    """Every change that changes anything of the architecture and its recipe, seed by seed."""
    chosen = chosen_kinds(request, tuple(CHANGES))
    epochs = None
    if request.preset == "cpu" and not is_small(data):
        request = replace(request, width=request.width or LARGE_WIDTH)
        data, epochs = first_examples(data, EXAMPLES_AT_MOST), LARGE_EPOCHS
    arch = request.arch or (IN_PAPER if request.preset == "paper" else ARCHITECTURE)
    one = _resolved(setting(NAME, arch, request, data, epochs=epochs))
    jobs = []
    for name in chosen:
        changed = settings_of(one.comparison, CHANGES[name])
        if name == BASE or _changes(one, name, changed):
            variant = _variant(one, name, changed)
            jobs += setting_jobs(replace(one, comparison=changed), [variant], out, titled=True)
    return sorted(jobs, key=lambda job: job.seed)


def _resolved(one: Setting) -> Setting:
    """The setting with every number of its training, so that it can be multiplied."""
    training = one.comparison.training.resolved(len(one.data.train))
    return replace(one, comparison=replace(one.comparison, training=training))


def settings_of(base: ComparisonSettings, change: Change) -> ComparisonSettings:
    """The preset's settings with what the change names."""
    training = base.training
    times = {name: factor * getattr(training, name) for name, factor in change.times.items()}
    training = replace(training, **{**change.training, **times})
    return replace(base, training=training, **change.network)


def _changes(one: Setting, name: str, changed: ComparisonSettings) -> bool:
    """Whether there is anything to compare: another network, or the same trained otherwise."""
    change = CHANGES[name]
    if change.late_pools and one.comparison.arch not in LATE:
        return False
    of_pools = change.average_pools or "max_pool" in change.network
    if of_pools and not _has_max_pools(build_network(one.comparison, "dnn", 0, one.data)):
        return False
    return of_pools or change.late_pools or change.kind != BASE or changed != one.comparison


def _variant(one: Setting, name: str, changed: ComparisonSettings) -> Variant:
    change = CHANGES[name]
    made = replace(changed, arch=LATE[changed.arch]) if change.late_pools else changed
    plain = partial(build_network, made, change.kind, data=one.data)
    return Variant(
        name,
        name,
        change.title,
        partial(_with_average_pools, one, change.kind) if change.average_pools else plain,
        cost(change.kind),
    )


def _with_average_pools(one: Setting, kind: str, seed: int) -> nn.Module:
    """The kind's network of an architecture whose max pools have become average pools."""

    def averaged() -> nn.Module:
        return average_pooled(build_network(one.comparison, "dnn", seed, one.data))

    return build_network(one.comparison, kind, seed, one.data, maker=averaged)


def _has_max_pools(model: nn.Module) -> bool:
    return any(type(module) in AVERAGES for module in model.modules())


def average_pooled(model: nn.Module) -> nn.Module:
    """The model, its modules that take maxima changed into averages of the same windows, in place.

    >>> average_pooled(nn.Sequential(nn.MaxPool2d(2), nn.AdaptiveMaxPool2d(1)))
    Sequential(
      (0): AvgPool2d(kernel_size=2, stride=2, padding=0)
      (1): AdaptiveAvgPool2d(output_size=1)
    )
    """
    for name, module in list(model.named_modules()):
        if type(module) in AVERAGES:
            options = max_pool_of_module(module).average_options
            owner, _, last = name.rpartition(".")
            setattr(model.get_submodule(owner), last, AVERAGES[type(module)](**options))
    return model
