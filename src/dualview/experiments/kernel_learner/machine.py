"""Ridge regression on the exact kernel of a trained network's gates, beside the network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from torch import nn

from dualview.conversion.gated_network import GatedNetwork
from dualview.datasets import Dataset
from dualview.experiments.jobs import Job
from dualview.experiments.npk_paper import load_trained
from dualview.experiments.records import RunRecord
from dualview.training import MODEL, Watcher
from dualview.training.accuracy import accuracy
from dualview.training.distillation import with_hard_gates
from dualview.training.feeding import inputs_of

TRAIN_GRAM, OTHER_GRAM = "train.zarr", "other.zarr"
SPLITS = ("train", "validation", "test")


def measured(
    job: Job,
    build: Callable[[int], nn.Module],
    data: Dataset,
    where: Path,
    watcher: Watcher,
) -> RunRecord:
    """Train the job's network, then the kernel machine on its gates.

    The kernel's matrices are kept in the job's folder: interrupted, they are gone on with.

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
    begun = perf_counter()
    found = kernel_machine(net, data, where, workers=job.config["threads"])
    found["trial_seconds"] = perf_counter() - begun
    networks = {"soft": accuracy(net, data), "hard": accuracy(with_hard_gates(net), data)}
    return replace(done, measurements={**networks, **found})


def kernel_machine(
    net: GatedNetwork, data: Dataset, folder: Path, *, workers: int | None = None
) -> dict[str, float | int]:
    """Accuracy of kernel regression on the hard gates of `net`, the ridge chosen by validation.

    Leave-one-out would not do: the gates were learnt from the same images.

    Args:
        net: whose gates and architecture make the kernel; its weights play no part.
        data: the train split is learnt from, one-hot, the validation split chooses.
        folder: where the kernel of the train split, and of the others with it, is kept.
        workers: threads; default: one for each core.

    Returns:
        "kernel" (share of the test split), "kernel_validation", "kernel_train", "ridge".
    """
    from dualview.path_kernel.gram.gram import npk_gram
    from dualview.path_kernel.ridge import kernel_regression_path

    splits = [getattr(data, name) for name in SPLITS]
    images = [inputs_of(net, data, part) for part in splits]
    labels = [np.asarray(part.labels) for part in splits]
    train, others = images[0], torch.cat(images[1:])
    own = np.asarray(npk_gram(net, train, folder / TRAIN_GRAM, gates="hard", workers=workers)[:])
    cross = np.asarray(
        npk_gram(net, others, folder / OTHER_GRAM, x2=train, gates="hard", workers=workers)[:]
    )
    path = kernel_regression_path(own, np.eye(data.n_classes)[labels[0]])
    scores = [
        _share_right(path.predict(rows), truth)
        for rows, truth in zip((own, *np.split(cross, [len(images[1])])), labels, strict=True)
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
