"""The jobs of the experiment `kernel-learner`: a network is trained, then the kernel machine."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualview.conversion.gated_network import GatedNetwork
from dualview.datasets import Split
from dualview.experiments.classifiers import Variant, classifier_jobs, of_kind
from dualview.experiments.experiment import Request, chosen_kinds, is_small
from dualview.experiments.jobs import Job
from dualview.experiments.kernel_learner.machine import measured
from dualview.experiments.kernel_learner.tables import LEARNT, ON_GATES
from dualview.experiments.networks import build_network
from dualview.experiments.npk_paper import FrozenGates
from dualview.experiments.recipes import Setting, setting

if TYPE_CHECKING:
    from torch import nn

    from dualview.datasets import Dataset

NAME = "kernel-learner"
EXAMPLES_AT_MOST = {"train": 2000, "validation": 250, "test": 1000}
"""Examples of each split, of larger data: the kernel takes all pairs with the train split."""


def plan(request: Request, data: Dataset, out: Path) -> list[Job]:
    """FC and C4GAP on small data, C4GAP alone on large, seed by seed.

    Raises:
        SettingsError: an unknown kind or architecture.
        MissingExtraError: the kernel machine's libraries are not installed.
    """
    import dualview.path_kernel.ridge  # noqa: F401  (missing libraries are told of at once)

    architectures = ("fc", "c4gap") if is_small(data) else ("c4gap",)
    kinds = chosen_kinds(request, tuple(ON_GATES))
    return [
        job
        for arch in ((request.arch,) if request.arch else architectures)
        for job in _jobs(setting(NAME, arch, request, first_examples(data)), arch, kinds, out)
    ]


def first_examples(data: Dataset) -> Dataset:
    """The data with at most `EXAMPLES_AT_MOST` examples of each split, the first ones."""
    cut: dict[str, Any] = {
        name: Split(part.images[:most], part.labels[:most])
        for name, most in EXAMPLES_AT_MOST.items()
        for part in (getattr(data, name),)
    }
    return replace(data, **cut)


def _jobs(one: Setting, arch: str, kinds: tuple[str, ...], out: Path) -> list[Job]:
    variants = {kind: _variant(one, kind) for kind in kinds}
    trained = classifier_jobs(
        one.comparison, list(variants.values()), out, one.data, prefix=f"{arch}-", scale=one.scale
    )
    return [
        replace(job, perform=partial(measured, job, variants[job.kind].build, one.data))
        for job in trained
    ]


def _variant(one: Setting, kind: str) -> Variant:
    made = replace(
        of_kind(one.comparison, LEARNT, one.data), title=ON_GATES[kind], options=one.options
    )
    if kind == LEARNT:
        return made
    return replace(made, name=kind, kind=kind, build=partial(_drawn_gates, one))


def _drawn_gates(one: Setting, seed: int) -> nn.Module:
    """The DLGN that the seed draws, of which only the weights network is trained."""
    net = build_network(one.comparison, LEARNT, seed, one.data)
    assert isinstance(net, GatedNetwork), "a DLGN is one"
    return FrozenGates(net).train()
