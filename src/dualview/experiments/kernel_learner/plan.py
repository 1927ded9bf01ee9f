"""The jobs of the experiment `kernel-learner`: a network is trained, then the kernel machine."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from torch import nn

from dualview.conversion.gated_network import GatedNetwork
from dualview.datasets import Dataset
from dualview.experiments.classifiers import Variant, of_kind, setting_jobs
from dualview.experiments.data import first_examples
from dualview.experiments.experiment import Request, chosen_kinds, is_small
from dualview.experiments.jobs import Job
from dualview.experiments.kernel_learner.machine import measured
from dualview.experiments.kernel_learner.tables import LEARNT, ON_GATES
from dualview.experiments.networks import build_network
from dualview.experiments.npk_paper import FrozenGates
from dualview.experiments.recipes import Setting, asked_or_usual, setting

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

    kinds = chosen_kinds(request, tuple(ON_GATES))
    cut = first_examples(data, EXAMPLES_AT_MOST)
    jobs: list[Job] = []
    for arch in asked_or_usual(request, is_small(data)):
        one = setting(NAME, arch, request, cut)
        variants = {kind: _variant(one, kind) for kind in kinds}
        jobs += [
            replace(job, perform=partial(measured, job, variants[job.kind].build, one.data))
            for job in setting_jobs(one, list(variants.values()), out)
        ]
    return jobs


def _variant(one: Setting, kind: str) -> Variant:
    made = replace(of_kind(one.comparison, LEARNT, one.data), title=ON_GATES[kind])
    if kind == LEARNT:
        return made
    return replace(made, name=kind, kind=kind, build=partial(_drawn_gates, one))


def _drawn_gates(one: Setting, seed: int) -> nn.Module:
    """The DLGN that the seed draws, of which only the weights network is trained."""
    net = build_network(one.comparison, LEARNT, seed, one.data)
    assert isinstance(net, GatedNetwork), "a DLGN is one"
    return FrozenGates(net).train()
