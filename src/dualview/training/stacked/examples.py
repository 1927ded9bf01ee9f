"""A split as a stack reads it: flat images on the device that trains, and frozen gates beside them.

The axes are those of `network`: network, example, unit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dualview.datasets import Batches
from dualview.datasets.batches import mixed_seed
from dualview.training.stacked.network import gate_bytes

if TYPE_CHECKING:
    from dualview.datasets import Split
    from dualview.training.feeding import Feed

CHUNK = 4096
"""Images at a time where nothing is trained."""

EVALUATION_BATCH = 512


@dataclass(frozen=True)
class Examples:
    """One split on the device that trains, images flat, and frozen gates beside them."""

    images: Tensor
    """(n, features)."""
    labels: Tensor
    """(n,)."""
    gates: Tensor | None = None
    """(s, n, units) uint8, for each network."""

    @classmethod
    def of(cls, split: Split, fed: Feed, device: torch.device, dtype: torch.dtype) -> Examples:
        """The images as `train` shows them to a network."""
        batches = Batches(split, CHUNK, mean=fed.mean, std=fed.std)
        images = torch.cat([images.flatten(1) for images, _ in batches])
        return cls(images.to(device, dtype), split.labels.to(device))

    def gated(self, nets: Sequence[Any], shape: Sequence[int]) -> Examples:
        """With the gates that frozen gating networks give for every example."""
        chunks = [images.unflatten(1, tuple(shape)) for images in self.images.split(CHUNK)]
        each = [torch.cat([gate_bytes(net, chunk) for chunk in chunks]) for net in nets]
        return replace(self, gates=torch.stack(each))

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Images, labels and gates of each network's own rows (s, b)."""
        flat = rows.flatten()
        images = self.images[flat].unflatten(0, rows.shape)
        if self.gates is None:
            return images, self.labels[rows], None
        s, n, units = self.gates.shape
        own = rows + n * torch.arange(s, device=rows.device)[:, None]
        gates = self.gates.view(s * n, units)[own.flatten()].unflatten(0, rows.shape)
        return images, self.labels[rows], gates

    def parts(self, s: int) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """All examples in order, the same for each of s networks, chunk by chunk."""
        for start in range(0, len(self.labels), EVALUATION_BATCH):
            cut = slice(start, start + EVALUATION_BATCH)
            gates = None if self.gates is None else self.gates[:, cut]
            yield self.images[cut].expand(s, -1, -1), self.labels[cut].expand(s, -1), gates


def epoch_order(seed: int, epoch: int, n: int) -> Tensor:
    """The order in which `datasets.Batches` serves n examples in an epoch, (n,)."""
    generator = torch.Generator().manual_seed(mixed_seed(seed, epoch))
    return torch.randperm(n, generator=generator)
