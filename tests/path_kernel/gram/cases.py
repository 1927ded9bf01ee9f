"""Small networks for Gram matrices, and ways to look at stores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

import dualview as dv
from dualview.path_kernel.gram.store import GramStore

N, BLOCK = 11, 3
BLOCKS = 10  # of the upper triangle of 4 x 4


def dense(seed: int = 0, kind: str = "dlgn", **options) -> dv.GatedNetwork:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 7), nn.ReLU(), nn.Linear(7, 2))
    return dv.disentangle(model, kind, seed=seed, **options)


def convolutional() -> dv.GatedNetwork:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 2),
    )
    net = dv.disentangle(model.eval(), "dgn", seed=0)
    (norm,) = (m for m in net.weights_network.modules() if isinstance(m, nn.BatchNorm2d))
    norm.weight.data.uniform_(0.5, 2)
    norm.running_var.uniform_(0.5, 2)
    return net


def examples(n: int = N) -> torch.Tensor:
    return torch.randn(n, 6, generator=torch.Generator().manual_seed(1))


def chunks(store: Path) -> dict[str, bytes]:
    """Every chunk file's bytes, and the metadata."""
    files = [*store.rglob("c/*/*"), *store.rglob("zarr.json")]
    return {str(path.relative_to(store)): path.read_bytes() for path in files}


def snapshot(folder: Path) -> dict[str, object]:
    """Everything in a folder."""
    return {
        str(path.relative_to(folder)): path.is_file() and path.read_bytes()
        for path in folder.rglob("*")
    }


def failing_write(error: BaseException, after: int) -> Callable:
    """A `GramStore.write` that fails after some blocks."""
    write, calls = GramStore.write, []

    def failing(self, block, values):
        calls.append(block)
        if len(calls) > after:
            raise error
        write(self, block, values)

    return failing
