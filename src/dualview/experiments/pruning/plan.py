"""The jobs of the experiment `pruning`: networks, trained, then thinned out."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from dualview.datasets import Dataset
from dualview.experiments.classifiers import of_kind, setting_jobs
from dualview.experiments.experiment import Request, chosen_kinds, is_small
from dualview.experiments.jobs import Job
from dualview.experiments.pruning.removal import removed
from dualview.experiments.pruning.tables import COMPARED
from dualview.experiments.recipes import asked_or_usual, setting

NAME = "pruning"


def plan(request: Request, data: Dataset, out: Path) -> list[Job]:
    """FC and C4GAP on small data, C4GAP alone on large."""
    kinds = chosen_kinds(request, COMPARED)
    jobs: list[Job] = []
    for arch in asked_or_usual(request, is_small(data)):
        one = setting(NAME, arch, request, data)
        measure = partial(removed, data=one.data)
        plain = (of_kind(one.comparison, kind, one.data) for kind in kinds)
        jobs += setting_jobs(one, [replace(variant, measure=measure) for variant in plain], out)
    return jobs
