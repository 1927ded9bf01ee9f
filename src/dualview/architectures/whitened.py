"""C6WHITE: six convolutions behind whitened patches, pooled early; strong for what it costs.

C6LATE is the same with its pools behind the activations. Of a ReLU network that is another order of
the same steps; of a DLGN, whose pools are averages, it is not.

A plain module that knows nothing of gates. Its first layer is fixed: 2x2 patches along the
eigenvectors of the training patches' second moments, scaled to unit variance, each with both signs.
What it needs of the data is computed once (`whiten`) and kept in a buffer, so that it is saved with
the network, never trained and never drawn anew: to kernels and random features it is a constant, to
paths and filters a convolution like any other.

Source: Jordan 2024, arXiv 2404.00498, section 3 (there with GELU, and a trained bias behind the
patches).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dualview.architectures.drawing import reset
from dualview.architectures.record import recorded
from dualview.errors import ArchitectureError

PATCH = 2
"""Rows and columns of a patch."""

LEAST_SIDE = 9
"""Smallest image: a row less for the patches, then three halvings."""

CHANNELS = (1, 4, 4)
"""Of the three blocks, in units of the width."""

REGULARISATION = 5e-4
"""Added to the variances, so that what the images do not hold is not blown up."""

WHITENING_IMAGES = 5_000
"""So many images say enough: each has hundreds of patches."""


class WhitenedPatches(nn.Module):
    """2x2 patches along fixed directions: a convolution whose weights are no parameters.

    Until `fit` the directions are the patch's own entries.

    >>> layer = WhitenedPatches(3)
    >>> layer(torch.zeros(5, 3, 8, 8)).shape, len(list(layer.parameters()))
    (torch.Size([5, 24, 7, 7]), 0)
    """

    weight: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        entries = torch.eye(channels * PATCH * PATCH)
        self.register_buffer("weight", _both_signs(entries, channels))

    @property
    def out_channels(self) -> int:
        """Directions with both signs: 8 for each channel of the image."""
        return len(self.weight)

    def fit(self, images: Tensor) -> None:
        """Take the directions from `images` (n, c, h, w), as the network is given them."""
        filters = whitening_filters(images)
        self.weight.copy_(_both_signs(filters, images.shape[1]))

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) -> (n, 8 c, h - 1, w - 1)."""
        return F.conv2d(x, self.weight)

    def extra_repr(self) -> str:
        """What `print` shows of it."""
        return f"{self.weight.shape[1]}, {self.out_channels}"


def _both_signs(rows: Tensor, channels: int) -> Tensor:
    filters = rows.reshape(-1, channels, PATCH, PATCH)
    return torch.cat([filters, -filters])


def whitening_filters(images: Tensor) -> Tensor:
    """Directions of all 2x2 patches of the images, by falling variance, scaled to unit variance.

    The eigenvectors of E[patch patch^T], divided by sqrt(eigenvalue + 5e-4); the entry of each that
    is largest in absolute value is positive. The same images give the same filters.

    Args:
        images: (n, c, h, w), normalised.

    Returns:
        (4 c, 4 c), a flattened patch (c, 2, 2) in each row, float64.

    >>> images = torch.randn(200, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    >>> patches = F.unfold(images.double(), 2).mT.flatten(0, 1) @ whitening_filters(images).T
    >>> torch.allclose(patches.T @ patches / len(patches), torch.eye(4).double(), atol=1e-3)
    True
    """
    channels = images.shape[1]
    total = torch.zeros(channels * PATCH**2, channels * PATCH**2, dtype=torch.float64)
    count = 0
    for some in images.split(500):
        patches = F.unfold(some.double(), PATCH).mT.flatten(0, 1)  # (patches, 4 c)
        total += patches.T @ patches
        count += len(patches)
    variances, directions = torch.linalg.eigh(total / count)
    rows = directions.T.flip(0)
    largest = rows.gather(1, rows.abs().argmax(1, keepdim=True))
    rows = rows * largest.sign()
    return rows / (variances.flip(0)[:, None].clamp_min(0) + REGULARISATION).sqrt()


def has_whitened_patches(model: nn.Module) -> bool:
    """Whether there is anything for `whiten` to do."""
    return any(isinstance(module, WhitenedPatches) for module in model.modules())


def whiten(model: nn.Module, images: Tensor) -> None:
    """Fit the model's `WhitenedPatches` to training images, in place.

    Args:
        model: one with such a layer, as `c6white` makes it.
        images: (n, c, h, w) as the model is given them, normalised; a few thousand are enough
            (`WHITENING_IMAGES`), since every one has many patches.
    """
    for module in model.modules():
        if isinstance(module, WhitenedPatches):
            module.fit(images)


class ScaledDense(nn.Module):
    """A dense layer without bias of inputs divided by a constant: small logits at the start."""

    def __init__(self, inputs: int, outputs: int, divisor: float) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, outputs, bias=False)
        self.divisor = divisor

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs) -> (n, outputs)."""
        return self.dense(x / self.divisor)


class WhitenedNetwork(nn.Module):
    """See `c6white` and `c6late`."""

    def __init__(
        self,
        num_classes: int,
        input_shape: tuple[int, int, int],
        width: int,
        batch_norm: bool,
        activation: type[nn.Module],
        pool_late: bool,
    ) -> None:
        super().__init__()
        self.patches = WhitenedPatches(input_shape[0])
        self.activation = activation()
        blocks, inputs = [], self.patches.out_channels
        for factor in CHANNELS:
            blocks.append(_block(inputs, factor * width, batch_norm, activation, pool_late))
            inputs = factor * width
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveMaxPool2d(1)
        self.flatten = nn.Flatten()
        self.head = ScaledDense(inputs, num_classes, divisor=3.0)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew from PyTorch's current random state; the patches stay."""
        reset(self, he=True)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) -> logits (n, num_classes)."""
        x = self.activation(self.patches(x))
        return self.head(self.flatten(self.pool(self.blocks(x))))


def _block(
    inputs: int, outputs: int, batch_norm: bool, activation: type[nn.Module], pool_late: bool
) -> nn.Sequential:
    """Two 3x3 convolutions; a pool before the first one's activation, or behind it."""

    def activated() -> list[nn.Module]:
        return [*([nn.BatchNorm2d(outputs)] if batch_norm else []), activation()]

    bias = not batch_norm
    pool, first = nn.MaxPool2d(2), activated()
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias),
        *([*first, pool] if pool_late else [pool, *first]),
        nn.Conv2d(outputs, outputs, 3, padding=1, bias=bias),
        *activated(),
    )


@recorded
def c6white(
    num_classes: int = 10,
    input_shape: tuple[int, int, int] = (3, 32, 32),
    width: int | None = None,
    batch_norm: bool = True,
    gelu: bool = False,
) -> nn.Module:
    """Whitened 2x2 patches, three blocks of two 3x3 convolutions (64, 256, 256 channels), dense.

    Each block halves the image by a max pool after its first convolution; what is left is pooled
    to one position. `gelu` puts GELU in the place of ReLU. Call `whiten(model, images)` before
    training.

    >>> sum(p.numel() for p in c6white().parameters())
    1972480
    """
    return _network("c6white", num_classes, input_shape, width, batch_norm, gelu, pool_late=False)


@recorded
def c6late(
    num_classes: int = 10,
    input_shape: tuple[int, int, int] = (3, 32, 32),
    width: int | None = None,
    batch_norm: bool = True,
    gelu: bool = False,
) -> nn.Module:
    """C6WHITE with each block's pool behind its first activation: convolution, norm, ReLU, pool.

    With ReLU it has the same functions: maximum, ReLU and a growing affine map (batch norm with a
    positive factor) commute. A DLGN averages in place of the maximum, and there it matters: its
    gates stand before the average, one at each position, in place of one for four positions. It
    trains a little more slowly.

    >>> sum(p.numel() for p in c6late().parameters())
    1972480
    """
    return _network("c6late", num_classes, input_shape, width, batch_norm, gelu, pool_late=True)


def _network(
    name: str,
    num_classes: int,
    input_shape: tuple[int, int, int],
    width: int | None,
    batch_norm: bool,
    gelu: bool,
    *,
    pool_late: bool,
) -> nn.Module:
    if min(input_shape[1:]) < LEAST_SIDE:
        raise ArchitectureError(
            f"{name} halves the image three times behind patches of 2x2: expected at least "
            f"{LEAST_SIDE}x{LEAST_SIDE} positions, got {input_shape[1]}x{input_shape[2]}; enlarge "
            f"the images, or use c4gap or a residual network"
        )
    activation = nn.GELU if gelu else nn.ReLU
    return WhitenedNetwork(num_classes, input_shape, width or 64, batch_norm, activation, pool_late)
