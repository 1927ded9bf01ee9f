"""The jobs of the experiment `explanations`: networks, trained, whose explanations are tried."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualview.experiments.classifiers import classifier_jobs, of_kind
from dualview.experiments.experiment import Request, chosen_kinds, is_small
from dualview.experiments.explanations.trial import EXAMPLES, tried
from dualview.experiments.jobs import Job
from dualview.experiments.recipes import Setting, setting

if TYPE_CHECKING:
    from torch import nn

    from dualview.datasets import Dataset

NAME = "explanations"
KINDS = ("dnn", "dgn", "dlgn")
UNASKED = ("dnn", "dlgn")
"""What is trained unless kinds are asked for."""


def plan(request: Request, data: Dataset, out: Path) -> list[Job]:
    """FC and C4GAP on small data, C4GAP alone on large; one seed."""
    small = is_small(data)
    architectures = (request.arch,) if request.arch else ("fc", "c4gap") if small else ("c4gap",)
    kinds = chosen_kinds(request, KINDS) if request.kinds else UNASKED
    asked = replace(request, seeds=request.seeds or 1)
    return [
        job
        for arch in architectures
        for job in _jobs(setting(NAME, arch, asked, data), kinds, arch, out)
    ]


def _jobs(one: Setting, kinds: tuple[str, ...], arch: str, out: Path) -> list[Job]:
    variants = [
        replace(
            of_kind(one.comparison, kind, one.data),
            measure=partial(_tried, one.data),
            options={**one.options, "examples": EXAMPLES},
        )
        for kind in kinds
    ]
    return classifier_jobs(
        one.comparison, variants, out, one.data, prefix=f"{arch}-", scale=one.scale
    )


def _tried(data: Dataset, net: nn.Module) -> dict[str, Any]:
    return tried(net, data, examples=EXAMPLES)
