"""Experiment `shallow`: does a DLGN need depth in the network that decides its gates?

In a DLGN the gating network is deep linear; in a DLGN-SF ("shallow features") each gated layer's
pre-activations are one linear map of the input, learnt on its own. Both describe the same functions
of the input as candidates for a gate (every deep linear map is a linear map), and differ in how
these are learnt and shared.

Source: arXiv 2110.03403 (DLGN-SF).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dualview.experiments.classifiers import classifier_jobs, of_kind
from dualview.experiments.experiment import Experiment, Request, chosen_kinds, is_small
from dualview.experiments.jobs import Job
from dualview.experiments.published import DLGN_PAPER
from dualview.experiments.recipes import architecture_name, architecture_place, setting
from dualview.experiments.records import RunRecord
from dualview.experiments.summary import SummaryRow, kind_name, percent, summarise
from dualview.experiments.tables import Table

if TYPE_CHECKING:
    from dualview.datasets import Dataset

NAME = "shallow"
KINDS = ("dnn", "dlgn", "dlgn-sf")


def plan(request: Request, data: Dataset, out: Path) -> list[Job]:
    """Every kind of FC and C4GAP with every seed; residual networks have no shallow form."""
    small = request.preset == "cpu" and is_small(data)
    architectures = (request.arch,) if request.arch else ("fc", "c4gap") if small else ("c4gap",)
    jobs: list[Job] = []
    for arch in architectures:
        one = setting(NAME, arch, request, data)
        variants = [
            replace(variant, title=f"{architecture_name(arch)}, {variant.title}")
            for kind in chosen_kinds(request, KINDS)
            for variant in (of_kind(one.comparison, kind, one.data),)
        ]
        jobs += classifier_jobs(
            one.comparison, variants, out, one.data, prefix=f"{arch}-", scale=one.scale
        )
    return sorted(jobs, key=lambda job: job.seed)


def tables(records: Sequence[RunRecord]) -> list[Table]:
    """Accuracy of DNN, DLGN and DLGN-SF, a row for each."""
    rows = summarise(sorted(records, key=_place))
    return [
        Table(
            "shallow-features",
            "Deep or shallow gates",
            ("Network", "Test accuracy, %", "Recovered, %", "Parameters", "Runs"),
            tuple(_cells(row) for row in rows),
            (
                "Test accuracy after the last epoch, mean ± sample standard deviation over seeds; "
                "recovered: divided by the DNN’s with the same seed. No numbers of this comparison "
                "were at hand to set beside it.",
            ),
        )
    ]


def _place(record: RunRecord) -> tuple[tuple[int, str], int, int]:
    return architecture_place(record.architecture), KINDS.index(record.kind), record.seed


def _cells(row: SummaryRow) -> tuple[str, ...]:
    return (
        f"{architecture_name(row.architecture)}, {kind_name(row.kind)}",
        percent(row.accuracy_mean, row.accuracy_sd),
        percent(row.recovered_mean, row.recovered_sd),
        f"{row.parameters:,}",
        str(row.n) + (f" ({row.n_diverged} diverged)" if row.n_diverged else ""),
    )


EXPERIMENT = Experiment(
    name=NAME,
    title="Deep or shallow gates",
    question="A deep linear network can compute no more than a single linear map. Does it matter, "
    "then, that the DLGN’s gates are decided by a deep one (DLGN) rather than by one linear map "
    "for each layer (DLGN-SF)?",
    source=DLGN_PAPER,
    duration="digits: 1 minute; CIFAR-10: 40 minutes",
    default_data="digits",
    plan=plan,
    tables=tables,
    options=("arch", "width", "kinds"),
)
