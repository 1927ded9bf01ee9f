"""The jobs of the experiment `distillation`: a teacher for each seed, and all who learn from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from dualview.conversion.gated_network import GatedNetwork
from dualview.datasets import Dataset
from dualview.experiments.classifiers import of_kind, setting_jobs
from dualview.experiments.distillation.tables import ROUTES, TEACHER
from dualview.experiments.experiment import Request, chosen_kinds, is_small
from dualview.experiments.jobs import Job, record
from dualview.experiments.networks import build_network
from dualview.experiments.npk_paper import load_trained
from dualview.experiments.recipes import Setting, asked_or_usual, setting
from dualview.experiments.records import RunRecord
from dualview.training import MODEL, TrainingResult, TrainSettings, Watcher
from dualview.training.accuracy import accuracy
from dualview.training.distil_settings import DistilSettings
from dualview.training.distillation import distil, with_hard_gates

NAME = "distillation"

LABELS_ALONE = DistilSettings(share=0.0, final_beta=None)
TEACHING: Mapping[str, tuple[DistilSettings, float]] = {
    "dlgn-copied": (LABELS_ALONE, 1.0),
    "dlgn-distilled": (DistilSettings(), 1.0),
    "dlgn-distilled-half": (DistilSettings(), 0.5),
}
"""Route that starts from the teacher -> what it learns, and its share of the epochs."""


def plan(request: Request, data: Dataset, out: Path) -> list[Job]:
    """A teacher and every route, with every seed, of FC and C4GAP; C4GAP alone on large data."""
    small = request.preset == "cpu" and is_small(data)
    chosen = chosen_kinds(request, (TEACHER, *ROUTES))
    return [
        job
        for arch in asked_or_usual(request, small)
        for job in _jobs(setting(NAME, arch, request, data), arch, chosen, out)
    ]


def _jobs(one: Setting, arch: str, chosen: tuple[str, ...], out: Path) -> list[Job]:
    """All of one architecture; the teacher is always trained."""
    gated = replace(
        of_kind(one.comparison, "dlgn", one.data), measure=partial(_with_hard_gates, one.data)
    )
    plain = setting_jobs(one, [of_kind(one.comparison, TEACHER, one.data), gated], out)
    jobs: list[Job] = []
    for teacher, nothing in zip(plain[::2], plain[1::2], strict=True):
        jobs += [teacher] + [nothing] * ("dlgn" in chosen)
        jobs += [
            _taught(one, route, teacher, nothing, out / f"{arch}-{route}-seed{teacher.seed}")
            for route in TEACHING
            if route in chosen
        ]
    return jobs


def _taught(one: Setting, route: str, teacher: Job, like: Job, folder: Path) -> Job:
    """A job that starts from a teacher's parameters, trained as `like` is but for what differs."""
    teaching, share = TEACHING[route]
    training = replace(
        one.comparison.training,
        seed=teacher.seed,
        threads=like.config["threads"],
        precision=like.config["precision"],
    ).resolved(len(one.data.train))
    assert training.epochs is not None
    training = replace(training, epochs=max(1, round(share * training.epochs)))
    config = {**like.config, "kind": route, "epochs": training.epochs, **asdict(teaching)}
    model = partial(build_network, one.comparison, TEACHER, teacher.seed, one.data)
    title = f"{ROUTES[route]}, seed {teacher.seed}"
    return Job(
        route,
        teacher.seed,
        folder,
        config,
        like.cost * share,
        title,
        partial(_perform, config, one.data, teacher.folder / MODEL, model, teaching, training),
        like.parameters,
        needs=(teacher.name,),
    )


def _perform(
    config: dict[str, Any],
    data: Dataset,
    trained: Path,
    build: Callable[[], nn.Module],
    teaching: DistilSettings,
    training: TrainSettings,
    where: Path,
    watcher: Watcher,
) -> RunRecord:
    """Let a DLGN learn from the teacher; without a trained one there is nothing to learn from."""
    made = partial(record, config, config["kind"], config["seed"])
    if not trained.exists():
        message = f"{trained.parent.name} left no network to learn from"
        return made(TrainingResult("diverged", message, (), 0, ""))
    model = build()
    load_trained(model, trained)
    found = distil(
        model.eval(),
        data,
        folder=where,
        settings=training,
        teaching=teaching,
        beta=config["beta"],
        max_pool=config["max_pool"],
        watcher=watcher,
    )
    return made(found.result, found.accuracies)


def _with_hard_gates(data: Dataset, net: GatedNetwork) -> dict[str, float]:
    """Accuracy on the test split as it was trained, and with hard gates."""
    return {"soft": accuracy(net, data), "hard": accuracy(with_hard_gates(net), data)}
