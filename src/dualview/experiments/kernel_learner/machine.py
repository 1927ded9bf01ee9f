"""Ridge regression on the exact kernel of a trained network's gates, beside the network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from dualview.conversion.gated_network import GatedNetwork
from dualview.experiments.jobs import Job
from dualview.experiments.npk_paper import load_trained
from dualview.experiments.records import RunRecord
from dualview.training import MODEL, Watcher
from dualview.training.accuracy import accuracy
from dualview.training.distillation import with_hard_gates
from dualview.training.feeding import batches_for

if TYPE_CHECKING:
    from dualview.datasets import Dataset

GRAM = "gram.zarr"
SPLITS = ("train", "validation", "test")


def measured(
    job: Job,
    build: Callable[[int], nn.Module],
    data: Dataset,
    where: Path,
    watcher: Watcher,
) -> RunRecord:
    """Train the job's network, then the kernel machine on its gates.

    The kernel's matrix is kept in the job's folder: interrupted, it is gone on with.

    Args:
        job: that trains the network.
        build: the same network, untrained, of a seed.
        data: all of it is used.
        where: the job's folder.
        watcher: of the training.
    """
    done = job.perform(where, watcher)
    if done.status != "finished":
        return done
    net = build(job.seed)
    load_trained(net, where / MODEL)
    assert isinstance(net, GatedNetwork)
    net = net.cpu().eval()
    found = kernel_machine(net, data, where / GRAM, workers=job.config["threads"])
    networks = {"soft": accuracy(net, data), "hard": accuracy(with_hard_gates(net), data)}
    return replace(done, measurements={**networks, **found})


def kernel_machine(
    net: GatedNetwork, data: Dataset, gram: Path, *, workers: int | None = None
) -> dict[str, float | int]:
    """Accuracy of kernel regression on the hard gates of `net`, the ridge chosen by validation.

    Leave-one-out would not do: the gates were learnt from the same images.

    Args:
        net: whose gates and architecture make the kernel; its weights play no part.
        data: the train split is learnt from, one-hot, the validation split chooses.
        gram: folder of the kernel of all examples with those of the train split; gone on with.
        workers: threads; default: one for each core.

    Returns:
        "kernel" (share of the test split), "kernel_validation", "kernel_train", "ridge".
    """
    from dualview.path_kernel.gram.gram import npk_gram
    from dualview.path_kernel.ridge import kernel_regression_path

    splits = [getattr(data, name) for name in SPLITS]
    images = [torch.cat([x for x, _ in batches_for(net, data, part, 512)]) for part in splits]
    labels = [np.asarray(part.labels) for part in splits]
    kernel = npk_gram(net, torch.cat(images), gram, x2=images[0], gates="hard", workers=workers)
    own, *others = np.split(kernel[:].astype(np.float64), np.cumsum([len(x) for x in images])[:-1])
    path = kernel_regression_path((own + own.T) / 2, np.eye(data.n_classes)[labels[0]])
    scores = [
        _share_right(path.predict(rows), truth)
        for rows, truth in zip((own, *others), labels, strict=True)
    ]
    best = int(scores[1].argmax())
    return {
        "kernel": float(scores[2][best]),
        "kernel_validation": float(scores[1][best]),
        "kernel_train": float(scores[0][best]),
        "ridge": path.ridges[best],
    }


def _share_right(predictions: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Predictions (ridges, n, classes), labels (n,) -> accuracy of each ridge."""
    return (predictions.argmax(2) == labels).mean(1)
