"""The jobs of the experiment `shallow`, from what was asked for."""

from __future__ import annotations

from pathlib import Path

from dualview.datasets import Dataset
from dualview.experiments.classifiers import of_kind, setting_jobs
from dualview.experiments.experiment import Request, chosen_kinds, is_small
from dualview.experiments.jobs import Job
from dualview.experiments.recipes import asked_or_usual, setting
from dualview.experiments.shallow.tables import COMPARED_KINDS

NAME = "shallow"


def plan(request: Request, data: Dataset, out: Path) -> list[Job]:
    """Every kind of FC and C4GAP with every seed; residual networks have no shallow form."""
    small = request.preset == "cpu" and is_small(data)
    kinds = chosen_kinds(request, COMPARED_KINDS)
    jobs: list[Job] = []
    for arch in asked_or_usual(request, small):
        one = setting(NAME, arch, request, data)
        variants = [of_kind(one.comparison, kind, one.data) for kind in kinds]
        jobs += setting_jobs(one, variants, out, titled=True)
    return sorted(jobs, key=lambda job: job.seed)
