"""What the same seed must give again: digests of a comparison, an experiment, features and a Gram.

Run as a program, it prints them, one a line.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

import dualview as dv
from dualview.experiments.comparison import compare
from tests.experiments.reproduced import tiny_reproduce
from tests.experiments.small import exact, parameters, small
from tests.path_kernel.gram.cases import BLOCK, chunks, convolutional, dense, examples
from tests.training.tiny import tiny_data


def _compared(folder: Path) -> object:
    settings = small(kinds=("dnn", "dgn", "dlgn-ones"), training={"flip": True, "crop": 1})
    records = compare(settings, folder, data=tiny_data())
    return exact(records), parameters(folder)


def _reproduced(folder: Path) -> object:
    return exact(tiny_reproduce("shallow", folder)), parameters(folder)


def _features(folder: Path) -> object:
    x = torch.randn(3, 2, 5, 5, generator=torch.Generator().manual_seed(1))
    made = [
        dv.npk_features(convolutional(), x, 16, seed=2),
        dv.npk_features(dense(), examples(), 8),
    ]
    return [features.tolist() for features in made]


def _gram(folder: Path) -> object:
    dv.npk_gram(dense(), examples(), folder, block=BLOCK, workers=2, progress=False)
    return sorted(chunks(folder).items())


WORK: Mapping[str, Callable[[Path], object]] = {
    "compare": _compared,
    "reproduce": _reproduced,
    "npk_features": _features,
    "npk_gram": _gram,
}


def digests() -> dict[str, str]:
    """Name of the work -> SHA-256 of every number and parameter that it gave."""
    torch.set_num_threads(1)
    found = {}
    for name, work in WORK.items():
        with tempfile.TemporaryDirectory() as folder:
            result = work(Path(folder) / "out")
        found[name] = hashlib.sha256(repr(result).encode()).hexdigest()
    return found


if __name__ == "__main__":
    sys.stdout.write("".join(f"{name} {digest}\n" for name, digest in digests().items()))
