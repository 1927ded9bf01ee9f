"""Experiment `architectures`: how much of the DNN's accuracy do DGN and DLGN recover, at what cost?

DNN, DGN and DLGN (reading the data, and the constant 1) of C4GAP, VGG-16, ResNet-20 and ResNet-110;
DNN and DGN of the vision transformer, of which there is no DLGN, where it is asked for.
A DGN or DLGN consists of two networks, so beside the DNN of the same width stands one widened until
it has as many parameters as the DLGN.

Images that are too small for VGG-16, which halves them four times, are enlarged by repeating each
pixel; the config says so.

Source: arXiv 2110.03403, abstract: the DLGN recovers more than 83.5 % of the DNN's performance.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from torch import nn

from dualview.architectures import WITHOUT_DLGN
from dualview.experiments.classifiers import Variant, classifier_jobs, of_kind
from dualview.experiments.experiment import Experiment, Request, chosen_kinds, is_small
from dualview.experiments.jobs import Job
from dualview.experiments.networks import (
    build_network,
    count_parameters,
    parameters_of_width,
    width_of_size,
)
from dualview.experiments.published import DLGN_RECOVERY
from dualview.experiments.recipes import Setting, architecture_name, architecture_place, setting
from dualview.experiments.records import RunRecord
from dualview.experiments.summary import SummaryRow, kind_name, mean_sd, percent, summarise
from dualview.experiments.tables import Table

if TYPE_CHECKING:
    from dualview.datasets import Dataset

NAME = "architectures"
WIDE = "dnn-wide"
KINDS = ("dnn", WIDE, "dgn", "dlgn", "dlgn-ones")
OF_ALL = ("dnn", "dgn")
"""Kinds that any architecture has; the widened DNN is as large as a DLGN."""
CLAIMED = ("dlgn", "dlgn-ones")
"""Kinds that the published claim is about."""

ON_SMALL = ("c4gap", "vgg16", "resnet20")
ON_LARGE = ("c4gap",)
IN_PAPER = ("c4gap", "vgg16", "resnet20", "resnet110")


def plan(request: Request, data: Dataset, out: Path) -> list[Job]:
    """Every kind of every architecture with every seed, seed by seed over all architectures."""
    jobs: list[Job] = []
    for arch in _architectures(request, data):
        one = setting(NAME, arch, request, data)
        variants = [_variant(one, kind) for kind in _kinds(request, arch)]
        jobs += classifier_jobs(
            one.comparison, variants, out, one.data, prefix=f"{arch}-", scale=one.scale
        )
    return sorted(jobs, key=lambda job: job.seed)


def _architectures(request: Request, data: Dataset) -> tuple[str, ...]:
    if request.arch is not None:
        return (request.arch,)
    if request.preset == "paper":
        return IN_PAPER
    return ON_SMALL if is_small(data) else ON_LARGE


def _kinds(request: Request, arch: str) -> tuple[str, ...]:
    """The kinds asked for, else all there are of the architecture."""
    kinds = chosen_kinds(request, KINDS)
    if request.kinds is not None or arch not in WITHOUT_DLGN:
        return kinds
    return tuple(kind for kind in kinds if kind in OF_ALL)


def _variant(one: Setting, kind: str) -> Variant:
    """A kind of network; its config and title tell the architecture, too."""
    plain = _widened(one) if kind == WIDE else of_kind(one.comparison, kind, one.data)
    options = dict(plain.options)
    if one.enlarged > 1:
        options["enlarged"] = one.enlarged
    title = f"{architecture_name(one.comparison.arch)}, {plain.title}"
    return replace(plain, title=title, options=options)


def _widened(one: Setting) -> Variant:
    """The DNN whose number of parameters is closest to the DLGN's."""
    settings, data = one.comparison, one.data
    size = count_parameters(build_network(settings, "dlgn", 0, data))
    width = width_of_size(settings, data, size)
    build = partial(_build_dnn, replace(settings, width=width), data)
    assert settings.width is not None
    growth = parameters_of_width(settings, data, width) / parameters_of_width(
        settings, data, settings.width
    )
    return Variant(WIDE, WIDE, kind_name(WIDE), build, growth, {"own_width": width})


def _build_dnn(settings: object, data: Dataset, seed: int) -> nn.Module:
    return build_network(settings, "dnn", seed, data)  # type: ignore[arg-type]


# ----------------------------------------------------------------------------------------- tables


def tables(records: Sequence[RunRecord]) -> list[Table]:
    """Recovered accuracy, and what it costs; a row for each kind of each architecture."""
    groups = by_architecture(records)
    return [_accuracy_table(groups), _cost_table(groups)]


def by_architecture(records: Iterable[RunRecord]) -> list[tuple[str, list[RunRecord]]]:
    """Records of one architecture together, architectures and kinds in the experiment's order."""

    def place(record: RunRecord) -> tuple[tuple[int, str], int, int]:
        return architecture_place(record.architecture), KINDS.index(record.kind), record.seed

    ordered = sorted(records, key=place)
    return [(arch, list(runs)) for arch, runs in groupby(ordered, lambda run: run.architecture)]


def _accuracy_table(groups: Sequence[tuple[str, list[RunRecord]]]) -> Table:
    rows = tuple(
        (
            f"{architecture_name(arch)}, {kind_name(row.kind)}",
            percent(row.accuracy_mean, row.accuracy_sd),
            percent(row.recovered_mean, row.recovered_sd),
            f"> {100 * DLGN_RECOVERY.at_least:g}" if row.kind in CLAIMED else "–",
            percent(*mean_sd(of_wide(runs, row.kind))),
            percent(row.max_accuracy_mean, None),
            str(row.n) + (f" ({row.n_diverged} diverged)" if row.n_diverged else ""),
        )
        for arch, runs in groups
        for row in summarise(runs)
    )
    return Table(
        "recovered-accuracy",
        "Recovered accuracy",
        (
            "Network",
            "Test accuracy, %",
            "Recovered, %",
            "Published, %",
            "Of the wide DNN, %",
            "Max over epochs, %",
            "Runs",
        ),
        rows,
        (
            "Test accuracy after the last epoch, mean ± sample standard deviation over seeds. "
            "Recovered: that accuracy divided by the DNN’s of the same width, seed by seed. "
            "“DNN, wide” has about as many parameters as the DLGN; “of the wide DNN” is the "
            "accuracy divided by that of this network.",
            f"Published: {DLGN_RECOVERY.text} ({DLGN_RECOVERY.source}). “Max over epochs” picks "
            "the best epoch by the test set, so it is no score.",
            *_enlarged_note(groups),
            *_epochs_note(groups),
        ),
    )


def of_wide(runs: Sequence[RunRecord], kind: str) -> list[float]:
    """Accuracy divided by that of the widened DNN, for each seed with which both finished."""
    accuracy = {
        name: {run.seed: run.test_accuracy for run in runs if run.kind == name}
        for name in (kind, WIDE)
    }
    return [
        value / wide
        for seed, value in accuracy[kind].items()
        if value is not None and (wide := accuracy[WIDE].get(seed))
    ]


def _enlarged_note(groups: Sequence[tuple[str, list[RunRecord]]]) -> tuple[str, ...]:
    """Which architectures saw enlarged images."""
    factors = {
        architecture_name(arch): run.config["enlarged"]
        for arch, runs in groups
        for run in runs
        if "enlarged" in run.config
    }
    return tuple(
        f"{arch} halves images four times, so each pixel is repeated {factor} × {factor} times."
        for arch, factor in factors.items()
    )


def _epochs_note(groups: Sequence[tuple[str, list[RunRecord]]]) -> tuple[str, ...]:
    """Which kinds of an architecture were trained for how long, where they were not alike."""
    notes = []
    for arch, runs in groups:
        epochs = {run.kind: run.epochs for run in runs}
        if len(set(epochs.values())) > 1:
            each = ", ".join(f"{kind_name(kind)} {count}" for kind, count in epochs.items())
            notes.append(f"{architecture_name(arch)}: not trained for the same epochs: {each}.")
    return tuple(notes)


def _cost_table(groups: Sequence[tuple[str, list[RunRecord]]]) -> Table:
    rows = []
    for arch, runs in groups:
        seconds = {row.kind: _seconds_per_epoch(runs, row.kind) for row in summarise(runs)}
        sizes = {row.kind: row for row in summarise(runs)}
        for kind, row in sizes.items():
            rows.append(
                (
                    f"{architecture_name(arch)}, {kind_name(kind)}",
                    _width(runs, row),
                    f"{row.parameters:,}",
                    _ratio(row.parameters, sizes["dnn"].parameters if "dnn" in sizes else None),
                    _number(seconds[kind]),
                    _ratio(seconds[kind], seconds.get("dnn")),
                )
            )
    return Table(
        "cost",
        "Parameters and training cost",
        (
            "Network",
            "Width",
            "Parameters",
            "Parameters, × DNN",
            "Seconds an epoch",
            "Time, × DNN",
        ),
        tuple(rows),
        (
            "Width: units or channels of the first layer. Seconds: the median over all epochs, "
            "evaluation included; where other work ran beside it, they and their ratios are rough.",
        ),
    )


def _width(runs: Sequence[RunRecord], row: SummaryRow) -> str:
    first = next(run for run in runs if run.kind == row.kind)
    return str(first.config.get("own_width", row.width))


def _seconds_per_epoch(runs: Sequence[RunRecord], kind: str) -> float | None:
    seconds = [epoch.seconds for run in runs if run.kind == kind for epoch in run.curve]
    return median(seconds) if seconds else None


def _ratio(value: float | None, reference: float | None) -> str:
    return f"{value / reference:.2f}" if value is not None and reference else "–"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


EXPERIMENT = Experiment(
    name=NAME,
    title="Recovered accuracy of DGN and DLGN",
    question="How much of a ReLU network’s accuracy is left when its gates are learnt in one "
    "network and its weights in another (DGN), and when the network that decides the gates is deep "
    "linear (DLGN)? And is what is left due to the second network’s parameters?",
    source=DLGN_RECOVERY.source,
    duration="digits: 6 minutes; CIFAR-10: 70 minutes",
    default_data="digits",
    plan=plan,
    tables=tables,
    options=("arch", "width", "kinds"),
)
