"""Batches for training, cut and augmented as tensors on the device that trains.

The images move to the device once, as uint8 (CIFAR-10 takes 184 MB). Each batch is then a handful
of vectorised operations: take the rows, crop and flip by one gather, scale to float32. Random
numbers are drawn on the CPU, so that every device sees the same batches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F

from dualview.arguments import (
    flag,
    instance_of,
    number,
    optional,
    seed_number,
    several,
    takes,
    torch_device,
    whole,
)
from dualview.datasets.dataset import Split
from dualview.errors import DataError

PIXEL_MAX = 255.0

MOST_CROPPED = 1_000
"""Pixels that are added on each side at most."""


class Batches:
    """Iterable of (images, labels), again and again; serves Lightning as a dataloader.

    The order and the augmentation of epoch e depend on `seed` and e alone (not on the device, the
    batch size or what was iterated before), so that a resumed run sees the batches that an
    uninterrupted one sees. Call `set_epoch` before each epoch; Lightning does it by itself. Without
    it every pass is the same.

    Iterating gives images (b, c, h, w) float32 and labels (b,) int64, both on the device.

    Args:
        split: the examples.
        batch_size: examples in a batch; the last batch may be smaller.
        device: where the batches are made.
        mean: of each channel, in the scale where uint8's 255 is 1; needed to normalise.
        std: the same for the standard deviation.
        shuffle: a new order each epoch; else the split's own.
        seed: of order and augmentation, 0 or more.
        crop: zero pixels (black) added on every side before a random cut of the original size;
            0 turns it off.
        flip: mirror each image left to right with probability 1/2.
        drop_last: leave out a last batch that is smaller.
        normalise: subtract `mean` and divide by `std`; else images are only scaled to [0, 1]
            (uint8) or left as they are (float32).
        shard: (i, k) serves the i-th of k equal parts of each epoch, for k processes that train
            together; the order is filled up from its start so that all parts are equally long.
            Leave it at (0, 1) to evaluate.

    Raises:
        DataError: an option that cannot be served.

    >>> split = Split(torch.zeros(5, 3, 8, 8, dtype=torch.uint8), torch.arange(5))
    >>> batches = Batches(split, 2, shuffle=True, crop=1, flip=True, normalise=False)
    >>> for epoch in range(2):
    ...     batches.set_epoch(epoch)
    ...     sizes = [tuple(images.shape) for images, labels in batches]
    >>> sizes
    [(2, 3, 8, 8), (2, 3, 8, 8), (1, 3, 8, 8)]
    """

    @takes(
        DataError,
        split=instance_of(Split),
        batch_size=whole(1),
        device=torch_device,
        mean=optional(several(number(), "the mean of each channel, a finite number")),
        std=optional(several(number(), "the standard deviation of each channel, a finite number")),
        shuffle=flag,
        seed=seed_number,
        crop=whole(0, MOST_CROPPED),
        flip=flag,
        drop_last=flag,
        normalise=flag,
        shard=several(whole(0), "two whole numbers (i, k) with 0 <= i < k", length=2),
    )
    def __init__(
        self,
        split: Split,
        batch_size: int,
        *,
        device: str | torch.device = "cpu",
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        shuffle: bool = False,
        seed: int = 0,
        crop: int = 0,
        flip: bool = False,
        drop_last: bool = False,
        normalise: bool = True,
        shard: tuple[int, int] = (0, 1),
    ) -> None:
        self.batch_size = batch_size
        self.crop = crop
        self.seed = seed
        self.shuffle = shuffle
        self.flip = flip
        self.drop_last = drop_last
        self.part, self.parts = shard
        if not 0 <= self.part < self.parts:
            raise DataError(f"shard={shard}: expected (i, k) with 0 <= i < k")
        self.device = torch.device(device)
        self.epoch = 0
        self._images = split.images.to(self.device)
        self._labels = split.labels.to(self.device)
        scale, shift = _affine(split.images.shape[1], mean, std, normalise=normalise)
        if split.images.dtype == torch.uint8:
            scale = scale / PIXEL_MAX
        self._scale = scale.to(self.device, torch.float32)
        self._shift = shift.to(self.device, torch.float32)

    @takes(DataError, epoch=whole(0))
    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, counted from 0, that the next pass serves."""
        self.epoch = epoch

    @property
    def sampler(self) -> Batches:
        """Itself: Lightning calls `loader.sampler.set_epoch` before each epoch."""
        return self

    def __len__(self) -> int:
        """Batches in one pass."""
        examples = -(-len(self._labels) // self.parts)
        if self.drop_last:
            return examples // self.batch_size
        return -(-examples // self.batch_size)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """One pass over the current epoch."""
        rows, top, left, mirrored = (t.to(self.device) for t in self._draw())
        for batch in range(len(self)):
            cut = slice(batch * self.batch_size, (batch + 1) * self.batch_size)
            images = self._images[rows[cut]]
            if self.crop or self.flip:
                images = crop_and_flip(images, self.crop, top[cut], left[cut], mirrored[cut])
            images = images.to(torch.float32).mul_(self._scale).add_(self._shift)
            yield images, self._labels[rows[cut]]

    def _draw(self) -> tuple[torch.Tensor, ...]:
        """Order, crop offsets and flips of this process's part of the epoch, each (n,)."""
        n = len(self._labels)
        generator = torch.Generator().manual_seed(mixed_seed(self.seed, self.epoch))
        order = torch.randperm(n, generator=generator) if self.shuffle else torch.arange(n)
        rows = order.repeat(self.parts)[: -(-n // self.parts) * self.parts]
        offsets = torch.randint(2 * self.crop + 1, (2, len(rows)), generator=generator)
        mirrored = torch.rand(len(rows), generator=generator) < 0.5
        mirrored &= self.flip
        drawn = (rows, offsets[0], offsets[1], mirrored)
        return tuple(values[self.part :: self.parts] for values in drawn)


def crop_and_flip(
    images: torch.Tensor,
    padding: int,
    top: torch.Tensor,
    left: torch.Tensor,
    mirrored: torch.Tensor,
) -> torch.Tensor:
    """Pad with zeros, cut each image at its own place, mirror some: one gather for all.

    Args:
        images: (b, c, h, w), any type.
        padding: zeros added on every side.
        top: (b,) first row of each cut in the padded image, 0 to 2 · padding.
        left: (b,) first column of each cut.
        mirrored: (b,) bool, which cuts are mirrored left to right.

    Returns:
        (b, c, h, w), of the images' type.

    >>> image = torch.tensor([[[[1, 2], [3, 4]]]])
    >>> crop_and_flip(image, 1, *torch.tensor([[2], [1]]), torch.tensor([True])).tolist()
    [[[[4, 3], [0, 0]]]]
    """
    b, c, h, w = images.shape
    padded = F.pad(images, (padding, padding, padding, padding))
    width = w + 2 * padding
    across = torch.arange(w, device=images.device)
    columns = torch.where(mirrored[:, None], across.flip(0), across) + left[:, None]  # (b, w)
    rows = top[:, None] + torch.arange(h, device=images.device)  # (b, h)
    flat = rows[:, :, None] * width + columns[:, None, :]  # (b, h, w)
    flat = flat.reshape(b, 1, h * w).expand(b, c, h * w)
    return padded.reshape(b, c, -1).gather(2, flat).reshape(b, c, h, w)


def _affine(
    channels: int, mean: Sequence[float] | None, std: Sequence[float] | None, *, normalise: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale and shift, (c, 1, 1) float64, that normalise images in [0, 1]."""
    if not normalise:
        return torch.ones(channels, 1, 1).double(), torch.zeros(channels, 1, 1).double()
    if mean is None or std is None:
        raise DataError("expected mean and std to normalise; give both, or normalise=False")
    if not (len(mean) == len(std) == channels):
        raise DataError(
            f"expected mean and std of {channels} channel(s), got {len(mean)} and {len(std)}"
        )
    if min(std) <= 0:
        raise DataError(
            f"std={tuple(std)}: expected positive numbers; a channel whose pixels are all equal "
            "cannot be normalised, use normalise=False"
        )
    scale = 1 / torch.tensor(std, dtype=torch.float64).reshape(-1, 1, 1)
    return scale, -torch.tensor(mean, dtype=torch.float64).reshape(-1, 1, 1) * scale


def mixed_seed(*numbers: int) -> int:
    """One seed from several numbers, without the overlaps that a sum would have."""
    (state,) = np.random.SeedSequence(numbers).generate_state(1, np.uint64)
    return int(state >> np.uint64(1))  # torch takes signed 64-bit seeds
