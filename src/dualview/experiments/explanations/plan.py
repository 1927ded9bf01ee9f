"""The jobs of the experiment `explanations`: networks, trained, whose explanations are tried."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from dualview.datasets import Dataset
from dualview.experiments.classifiers import of_kind, setting_jobs
from dualview.experiments.experiment import Request, chosen_kinds, is_small
from dualview.experiments.explanations.trial import EXAMPLES, tried
from dualview.experiments.jobs import Job
from dualview.experiments.recipes import asked_or_usual, setting

NAME = "explanations"
KINDS = ("dnn", "dgn", "dlgn")
UNASKED = ("dnn", "dlgn")
"""What is trained unless kinds are asked for."""


def plan(request: Request, data: Dataset, out: Path) -> list[Job]:
    """FC and C4GAP on small data, C4GAP alone on large; one seed."""
    kinds = chosen_kinds(request, KINDS) if request.kinds else UNASKED
    asked = replace(request, seeds=request.seeds or 1)
    options = {"examples": EXAMPLES}
    jobs: list[Job] = []
    for arch in asked_or_usual(request, is_small(data)):
        one = setting(NAME, arch, asked, data)
        measure = partial(tried, data=one.data, examples=EXAMPLES)
        plain = (of_kind(one.comparison, kind, one.data) for kind in kinds)
        tested = [replace(variant, measure=measure, options=options) for variant in plain]
        jobs += setting_jobs(one, tested, out)
    return jobs
