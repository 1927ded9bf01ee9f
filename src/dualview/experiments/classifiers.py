"""Jobs that train classifiers: what the comparison and several experiments are made of.

A `Variant` is one way to build the network of a setting; each is trained with every seed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from dualview.datasets import Dataset
from dualview.experiments.experiment import data_config
from dualview.experiments.jobs import Job, cost, training_config, training_job
from dualview.experiments.naming import architecture_name
from dualview.experiments.networks import build_network, count_parameters, structure_digest
from dualview.experiments.recipes import Setting
from dualview.experiments.seeds import seed_numbers
from dualview.experiments.settings import ComparisonSettings
from dualview.experiments.summary import kind_name
from dualview.files.foreign_text import file_name
from dualview.files.user_code import is_place, own_name
from dualview.training import TrainSettings, on_this_machine

STRUCTURE = "structure"
"""Of a config: what a network of the user's own is, its numbers aside."""


@dataclass(frozen=True)
class Variant:
    """One way to build the network of a setting."""

    name: str
    """Of its folders: "dlgn-order-2013"."""
    kind: str
    """As records keep it."""
    title: str
    """As progress shows it."""
    build: Callable[[int], nn.Module]
    """The untrained network of a seed."""
    cost: float
    """Of a training step, in steps of the DNN."""
    options: dict[str, Any] = field(default_factory=dict)
    """What sets it apart from others of its kind, for the config."""
    measure: Callable[[nn.Module], dict[str, Any]] | None = None
    """Taken from the trained network."""


def of_kind(settings: ComparisonSettings, kind: str, data: Dataset) -> Variant:
    """The plain network of a kind."""
    build = partial(build_network, settings, kind, data=data)
    return Variant(kind, kind, kind_name(kind), build, cost(kind))


def setting_jobs(
    one: Setting,
    variants: Sequence[Variant],
    out: Path,
    *,
    seeds: Sequence[int] | None = None,
    titled: bool = False,
) -> list[Job]:
    """`classifier_jobs` of a setting: folders name its architecture, configs how its data is made.

    Args:
        one: what is trained on what.
        variants: what to train.
        out: the experiment's folder.
        seeds: those of the setting if None.
        titled: whether titles name the architecture, too.
    """
    arch = one.comparison.arch
    name = f"{architecture_name(arch)}, " if titled else ""
    named = [
        replace(v, title=name + v.title, options={**v.options, **one.options}) for v in variants
    ]
    prefix = f"{own_name(arch)}-"
    return classifier_jobs(
        one.comparison, named, out, one.data, seeds=seeds, prefix=prefix, scale=one.scale
    )


def classifier_jobs(
    settings: ComparisonSettings,
    variants: Sequence[Variant],
    out: Path,
    data: Dataset,
    *,
    seeds: Sequence[int] | None = None,
    prefix: str = "",
    scale: float = 1.0,
) -> list[Job]:
    """Every variant with every seed, seed by seed.

    Builds each variant once, so that what cannot be built is refused before hours of training.

    Args:
        settings: of the networks and their training; `kinds` is not looked at.
        variants: what to train.
        out: the jobs' folders are `out/PREFIX + NAME-seedN`.
        data: what it is trained on.
        seeds: those of the settings if None.
        prefix: of the folders' names.
        scale: how long an epoch of the setting's DNN takes, in those of other settings.

    Raises:
        SettingsError, ConversionError: a network cannot be built so.
    """
    nets = [variant.build(0) for variant in variants]
    parameters = [count_parameters(net) for net in nets]
    if is_place(settings.arch):  # whose file may be another one when an interrupted run goes on
        variants = [
            replace(variant, options={**variant.options, STRUCTURE: structure_digest(net, data)})
            for variant, net in zip(variants, nets, strict=True)
        ]
    of_data = data_config(data)
    here = on_this_machine(settings.training)
    jobs = []
    for seed in seed_numbers(settings.seeds) if seeds is None else seeds:
        training = replace(here, seed=seed).resolved(len(data.train))
        for variant, count in zip(variants, parameters, strict=True):
            jobs.append(
                training_job(
                    variant.kind,
                    seed,
                    out / f"{prefix and file_name(prefix)}{variant.name}-seed{seed}",
                    _config(settings, variant, training, of_data),
                    title=f"{variant.title}, seed {seed}",
                    cost=variant.cost * scale,
                    parameters=count,
                    build=partial(variant.build, seed),
                    data=data,
                    training=training,
                    measure=variant.measure,
                )
            )
    return jobs


def _config(
    settings: ComparisonSettings,
    variant: Variant,
    training: TrainSettings,
    of_data: dict[str, Any],
) -> dict[str, Any]:
    """Every option that a run's numbers depend on, flat. The data's path is none of them."""
    gated = not variant.kind.startswith("dnn")
    return {
        "experiment": settings.experiment,
        **of_data,
        "arch": own_name(settings.arch),
        "width": settings.width,
        "batch_norm": settings.batch_norm,
        "kind": variant.kind,
        "beta": settings.beta if gated else None,
        "max_pool": settings.max_pool if gated else None,
        # Without it there is no entry, as before there was the choice: earlier runs go on.
        **({"weights": "copied"} if gated and settings.weights == "copied" else {}),
        **variant.options,
        **training_config(training),
    }
