"""The jobs of the experiment `pruning`: networks, trained, then thinned out."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualview.experiments.classifiers import classifier_jobs, of_kind
from dualview.experiments.experiment import Request, chosen_kinds, is_small
from dualview.experiments.jobs import Job
from dualview.experiments.networks import as_gated
from dualview.experiments.pruning.removal import removed
from dualview.experiments.pruning.tables import COMPARED
from dualview.experiments.recipes import Setting, setting

if TYPE_CHECKING:
    from torch import nn

    from dualview.datasets import Dataset

NAME = "pruning"


def plan(request: Request, data: Dataset, out: Path) -> list[Job]:
    """FC and C4GAP on small data, C4GAP alone on large."""
    architectures = ("fc", "c4gap") if is_small(data) else ("c4gap",)
    kinds = chosen_kinds(request, COMPARED)
    return [
        job
        for arch in ((request.arch,) if request.arch else architectures)
        for job in _jobs(setting(NAME, arch, request, data), kinds, arch, out)
    ]


def _jobs(one: Setting, kinds: tuple[str, ...], arch: str, out: Path) -> list[Job]:
    variants = [
        replace(
            of_kind(one.comparison, kind, one.data),
            measure=partial(_removed, one.data),
            options=one.options,
        )
        for kind in kinds
    ]
    return classifier_jobs(
        one.comparison, variants, out, one.data, prefix=f"{arch}-", scale=one.scale
    )


def _removed(data: Dataset, net: nn.Module) -> dict[str, Any]:
    return removed(as_gated(net.cpu().eval(), data), data)
