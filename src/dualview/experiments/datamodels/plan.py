"""The jobs of the experiment `datamodels`: networks on halves of the data, then on all of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from dualview.conversion.gated_network import GatedNetwork
from dualview.datasets import Dataset, Split
from dualview.experiments.classifiers import Variant, of_kind, setting_jobs
from dualview.experiments.data import first_examples
from dualview.experiments.datamodels.attributions import Case, attributions, margins
from dualview.experiments.datamodels.subsets import datamodelling_scores, members
from dualview.experiments.experiment import Request
from dualview.experiments.jobs import Job
from dualview.experiments.recipes import Setting, setting
from dualview.experiments.records import load_record
from dualview.experiments.run_folders import RECORD
from dualview.training.feeding import inputs_of

NAME = "datamodels"
KIND = "dlgn"
SUBSETS = 64
TARGETS = 60
MOST_TRAINING = 2000
"""Of larger data the first so many training examples; the kernel machine takes all pairs."""


def plan(request: Request, data: Dataset, out: Path) -> list[Job]:
    """Subsets first, then the network on all examples, which is scored by them."""
    arch = request.arch or "fc"
    one = setting(
        NAME,
        arch,
        replace(request, seeds=request.seeds or 1),
        first_examples(data, {"train": MOST_TRAINING}),
    )
    variant = of_kind(one.comparison, KIND, one.data)
    subsets = [job for k in range(SUBSETS) for job in _subset(one, variant, k, out)]
    measure = partial(_scored, one.data, [job.folder for job in subsets])
    whole = replace(variant, measure=measure, options={"subsets": SUBSETS})
    needs = tuple(job.name for job in subsets)
    return subsets + [replace(job, needs=needs) for job in setting_jobs(one, [whole], out)]


def _subset(one: Setting, variant: Variant, number: int, out: Path) -> list[Job]:
    """One network on one half, from a seed of its own."""
    part = _with_rows(one.data, members(len(one.data.train), number))
    trained = replace(
        variant,
        name=f"{KIND}-subset{number}",
        title=f"{variant.title}, half {number}",
        measure=partial(_margins, one.data),
        options={"subset": number},
    )
    half = replace(one, data=part, scale=one.scale / 2)
    return setting_jobs(half, [trained], out, seeds=[number])


def _with_rows(data: Dataset, rows: np.ndarray) -> Dataset:
    chosen = torch.from_numpy(rows)
    return replace(data, train=data.train.at(chosen))


def targets_of(data: Dataset) -> Split:
    """Test examples whose predictions are explained, the same in every run."""
    rows = torch.randperm(len(data.test), generator=torch.Generator().manual_seed(0))[:TARGETS]
    return data.test.at(rows)


@torch.no_grad()
def _margins(data: Dataset, net: nn.Module) -> dict[str, Any]:
    """The margins of the targets."""
    part, net = targets_of(data), net.cpu().eval()
    return {"margins": margins(net(inputs_of(net, data, part)), part.labels).double().tolist()}


def _scored(data: Dataset, folders: Sequence[Path], net: nn.Module) -> dict[str, Any]:
    """Attributions by the network on all examples, held against the networks on halves.

    Returns:
        "methods", "score" and "score_error" (mean and standard error over targets), "targets",
        and "subsets", how many networks finished.
    """
    assert isinstance(net, GatedNetwork)
    net, part = net.cpu().eval(), targets_of(data)
    records = [load_record(folder / RECORD) for folder in folders]
    done = [record for record in records if record.status == "finished"]
    n = len(data.train)
    subsets = np.zeros((len(done), n))
    for row, record in zip(subsets, done, strict=True):
        row[members(n, record.config["subset"])] = 1
    outputs = np.array([record.measurements["margins"] for record in done])
    case = Case(
        net,
        inputs_of(net, data, data.train),
        data.train.labels,
        inputs_of(net, data, part),
        part.labels,
    )
    found = {
        name: datamodelling_scores(f(case), subsets, outputs) for name, f in attributions().items()
    }
    return {
        "methods": list(found),
        "score": [float(scores.mean()) for scores in found.values()],
        "score_error": [
            float(scores.std(ddof=1) / len(scores) ** 0.5) for scores in found.values()
        ],
        "targets": len(part),
        "subsets": len(done),
    }
