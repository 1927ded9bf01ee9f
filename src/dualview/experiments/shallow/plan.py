"""The jobs of the experiment `shallow`, from what was asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dualview.experiments.classifiers import classifier_jobs, of_kind
from dualview.experiments.experiment import Request, chosen_kinds, is_small
from dualview.experiments.jobs import Job
from dualview.experiments.naming import architecture_name
from dualview.experiments.recipes import setting
from dualview.experiments.shallow.tables import COMPARED_KINDS
from dualview.files.user_code import own_name

if TYPE_CHECKING:
    from dualview.datasets import Dataset

NAME = "shallow"


def plan(request: Request, data: Dataset, out: Path) -> list[Job]:
    """Every kind of FC and C4GAP with every seed; residual networks have no shallow form."""
    small = request.preset == "cpu" and is_small(data)
    architectures = (request.arch,) if request.arch else ("fc", "c4gap") if small else ("c4gap",)
    jobs: list[Job] = []
    for arch in architectures:
        one = setting(NAME, arch, request, data)
        variants = [
            replace(
                variant,
                title=f"{architecture_name(arch)}, {variant.title}",
                options={**variant.options, **one.options},
            )
            for kind in chosen_kinds(request, COMPARED_KINDS)
            for variant in (of_kind(one.comparison, kind, one.data),)
        ]
        jobs += classifier_jobs(
            one.comparison, variants, out, one.data, prefix=f"{own_name(arch)}-", scale=one.scale
        )
    return sorted(jobs, key=lambda job: job.seed)
