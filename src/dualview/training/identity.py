"""What the numbers of a run depend on, as plain values that a checkpoint keeps and compares."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dualview.datasets.fingerprint import data_fingerprint

if TYPE_CHECKING:
    from torch import nn

    from dualview.datasets import Dataset
    from dualview.training.feeding import Feed
    from dualview.training.settings import TrainSettings

_ADDRESS = re.compile(r"0x[0-9a-f]+")


def job_identity(
    trainer: str, fed: Feed, data: Dataset, settings: TrainSettings, **more: Any
) -> dict[str, Any]:
    """The identity of training a network on `data`.

    More epochs at a constant learning rate are a longer run of the same, so that then their number
    is no part of it.

    Args:
        trainer: the function that trains, since each keeps other things.
        fed: the network: its structure counts, not its numbers; and how it gets its images.
        data: what it is trained on.
        settings: resolved.
        more: what else the numbers depend on.
    """
    options = asdict(settings)
    del options["tensorboard"]
    if settings.schedule == "constant":
        del options["epochs"]
    return {
        "trainer": trainer,
        "network": network_identity(fed.core),
        "data": f"{data.description} ({data_fingerprint(data)})",
        "mean": list(fed.mean),
        "std": list(fed.std),
        **options,
        **more,
    }


def network_identity(net: nn.Module) -> str:
    """A network's structure, in a few words and a hash.

    Modules with their options, the code of graphs, and names, shapes and types of all tensors.

    >>> from torch import nn
    >>> a, b = network_identity(nn.Linear(2, 3)), network_identity(nn.Linear(2, 3, bias=False))
    >>> a == network_identity(nn.Linear(2, 3)), a == b, a.partition(" (")[0]
    (True, False, 'Linear of 9 numbers')
    """
    digest = hashlib.blake2b(digest_size=8)
    for line in _lines(net):
        digest.update(_ADDRESS.sub("", line).encode(errors="replace") + b"\n")
    count = sum(tensor.numel() for tensor in net.state_dict().values() if hasattr(tensor, "numel"))
    return f"{type(net).__name__} of {count:,} numbers ({digest.hexdigest()})"


def _lines(net: nn.Module) -> Iterator[str]:
    for name, module in net.named_modules():
        kind = type(module)
        yield f"{name}: {kind.__qualname__}({module.extra_repr()})"
        yield str(getattr(module, "code", ""))  # of a graph
    for name, tensor in net.state_dict().items():
        yield f"{name}: {getattr(tensor, 'dtype', None)} {tuple(getattr(tensor, 'shape', ()))}"
