"""A term's factor as a recipe, evaluated on examples: gates, and what was done to them.

A recipe is read off the graph once; every block of examples then evaluates it to a tensor
(n, windows, channels, height, width): booleans as long as it is made of hard gates alone. `windows`
is 1 until a pool comes between two gates: then the factor is seen at each place of the pool's
window, and `inputs` are what the weights network is given: x, gates, switches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from dualview.path_kernel.fast.position_maps import NONE, ImageMap, PositionMap, Size

Inputs = Sequence[Tensor]


class Factor(Protocol):
    """One number per example, window, channel and position; `hard`: 0 or 1, as booleans."""

    @property
    def hard(self) -> bool:
        """Whether it is 0 or 1."""
        ...

    def evaluate(self, inputs: Inputs) -> Tensor:
        """(n or 1, windows, channels, height, width)."""
        ...


@dataclass(frozen=True, eq=False)
class _OfFactor:
    """What is made of one factor: hard as that is."""

    factor: Factor

    @property
    def hard(self) -> bool:
        """Whether the factor is."""
        return self.factor.hard


@dataclass(frozen=True, eq=False)
class Given:
    """An input of the weights network, spread over (channels, *size)."""

    number: int
    channels: int
    size: Size
    hard: bool

    def evaluate(self, inputs: Inputs) -> Tensor:
        """The input itself."""
        value = inputs[self.number]
        full = (self.channels, *self.size)
        if value[0].numel() != math.prod(full):
            axes = value.dim() - 1
            value = value.reshape(len(value), *value.shape[1:], *(1,) * (3 - axes)).expand(
                -1, *full
            )
        value = value.reshape(len(value), 1, *full)
        return value.bool() if self.hard else value.float()


@dataclass(frozen=True, eq=False)
class Constant:
    """A constant of the network (channels, height, width), or of fewer entries."""

    value: Tensor
    hard: bool = False

    def evaluate(self, inputs: Inputs) -> Tensor:
        """The constant."""
        return self.value[None, None]


@dataclass(frozen=True, eq=False)
class Product:
    """The product of two factors."""

    left: Factor
    right: Factor

    @property
    def hard(self) -> bool:
        """Whether both are."""
        return self.left.hard and self.right.hard

    def evaluate(self, inputs: Inputs) -> Tensor:
        """The product."""
        left, right = self.left.evaluate(inputs), self.right.evaluate(inputs)
        return left & right if self.hard else left * right


@dataclass(frozen=True, eq=False)
class Shifted:
    """A factor plus a constant."""

    factor: Factor
    shift: Tensor
    hard: bool = False

    def evaluate(self, inputs: Inputs) -> Tensor:
        """The sum."""
        return self.factor.evaluate(inputs) + self.shift[None, None]


@dataclass(frozen=True, eq=False)
class Selected(_OfFactor):
    """The factor whose channel i is channel index[i], or 0 where that is negative."""

    index: Tensor

    def evaluate(self, inputs: Inputs) -> Tensor:
        """The channels selected."""
        value = self.factor.evaluate(inputs)
        value = value.expand(-1, -1, max(value.shape[2], int(self.index.max()) + 1), -1, -1)
        picked = value.index_select(2, self.index.clamp(min=0))
        keep = (self.index >= 0)[:, None, None]
        return picked & keep if self.hard else picked * keep


@dataclass(frozen=True, eq=False)
class Joined:
    """The channels of several factors, one after another."""

    factors: tuple[Factor, ...]

    @property
    def hard(self) -> bool:
        """Whether all of them are."""
        return all(factor.hard for factor in self.factors)

    def evaluate(self, inputs: Inputs) -> Tensor:
        """All channels."""
        values = [factor.evaluate(inputs) for factor in self.factors]
        n = max(len(value) for value in values)
        return torch.cat([value.expand(n, -1, -1, -1, -1) for value in values], 2)


@dataclass(frozen=True, eq=False)
class Mapped:
    """The factor after a linear map of images, of one window."""

    factor: Factor
    function: ImageMap
    hard: bool = False

    def evaluate(self, inputs: Inputs) -> Tensor:
        """The images mapped."""
        value = self.factor.evaluate(inputs).float()
        n, _, c, *size = value.shape
        image = self.function(value.reshape(n * c, 1, *size))
        return image.reshape(n, 1, c, *image.shape[2:])


@dataclass(frozen=True, eq=False)
class Called:
    """The factor after a linear map that mixes its channels; `dims` axes of positions."""

    factor: Factor
    function: ImageMap
    dims: int
    hard: bool = False

    def evaluate(self, inputs: Inputs) -> Tensor:
        """What the function makes of the factor's images."""
        value = self.factor.evaluate(inputs).float()[:, 0]
        made = self.function(value.reshape(*value.shape[:2], *value.shape[4 - self.dims :]))
        return made.reshape(len(made), 1, made.shape[1], *(1, 1, *made.shape[2:])[-2:])


@dataclass(frozen=True, eq=False)
class Moved(_OfFactor):
    """The factor seen at every place of a map's windows; 0 in the padding.

    `switch` keeps, in every channel, only the place that this input names. `inner` are the rows and
    columns of the windows that the factor is seen at already.
    """

    map: PositionMap
    switch: int | None = None
    inner: Size = (1, 1)

    def evaluate(self, inputs: Inputs) -> Tensor:
        """(n, new windows times old ones, channels, *new size)."""
        value = self.factor.evaluate(inputs)
        n, windows, c = value.shape[:3]
        source, _ = self.map.flat
        places = torch.from_numpy(np.where(source == NONE, 0, source).T.copy())  # (taps, positions)
        taps, positions = places.shape
        flat = value.expand(-1, -1, -1, *self.map.before).reshape(n, windows, c, -1)
        seen = flat[..., places.flatten()].reshape(n, windows, c, taps, positions)
        seen = seen.permute(0, 3, 1, 2, 4)  # (n, taps, windows, c, positions)
        keep = torch.from_numpy(source.T != NONE)[:, None, None, :]
        if self.switch is not None:
            chosen = inputs[self.switch].flatten(2)[:, None, None]  # (n, 1, 1, c, positions)
            keep = keep & (chosen == places[:, None, None, :])
        seen = seen & keep if self.hard else seen * keep
        outer = self.map.rows.taps, self.map.columns.taps
        rest = (seen.shape[3], *self.map.size)  # rows of both windows go before the columns
        seen = seen.reshape(len(seen), *outer, *self.inner, *rest).transpose(2, 3)
        return seen.reshape(len(seen), taps * windows, *rest)


@dataclass(frozen=True, eq=False)
class Regrouped(_OfFactor):
    """The factor whose channel i is channel index[w, i], where w is the number of its window.

    The index has fewer rows than there are windows, and begins anew.
    """

    index: Tensor

    def evaluate(self, inputs: Inputs) -> Tensor:
        """(n, windows, channels of the index, height, width)."""
        value = self.factor.evaluate(inputs)
        n, windows, c, *size = value.shape
        value = value.reshape(n, -1, len(self.index), c, *size)
        picked = [value[:, :, w, channels] for w, channels in enumerate(self.index)]
        return torch.stack(picked, 2).reshape(n, windows, -1, *size)


@dataclass(frozen=True, eq=False)
class Ordered(_OfFactor):
    """The factor with its windows in another order."""

    order: Tensor

    def evaluate(self, inputs: Inputs) -> Tensor:
        """The windows in order."""
        return self.factor.evaluate(inputs).index_select(1, self.order)


@dataclass(frozen=True, eq=False)
class WindowWeights:
    """What every window of a map is multiplied by, at every position."""

    map: PositionMap
    hard: bool = False

    def evaluate(self, inputs: Inputs) -> Tensor:
        """(1, windows, 1, height, width)."""
        weights = torch.from_numpy(self.map.flat[1].T.astype(np.float32))
        return weights.reshape(1, -1, 1, *self.map.size)


@dataclass(frozen=True, eq=False)
class Summed(_OfFactor):
    """A factor summed over its windows, of which one at most is not 0."""

    def evaluate(self, inputs: Inputs) -> Tensor:
        """(n, 1, channels, height, width)."""
        value = self.factor.evaluate(inputs)
        return value.any(1, keepdim=True) if self.hard else value.sum(1, keepdim=True)


@dataclass(frozen=True, eq=False)
class Flattened(_OfFactor):
    """The channels of all positions as channels of one."""

    def evaluate(self, inputs: Inputs) -> Tensor:
        """(n, 1, channels * height * width, 1, 1)."""
        return self.factor.evaluate(inputs).flatten(2)[..., None, None]


@dataclass(frozen=True, eq=False)
class Patches(_OfFactor):
    """What each window of a convolution reads, as channels; in each of `groups` apart."""

    map: PositionMap
    groups: int

    def evaluate(self, inputs: Inputs) -> Tensor:
        """(n, 1, channels * taps, *new size)."""
        seen = Moved(self.factor, self.map).evaluate(inputs)  # (n, taps, c, ...)
        n, taps, c, *size = seen.shape
        seen = seen.reshape(n, taps, self.groups, c // self.groups, *size).permute(0, 2, 1, 3, 4, 5)
        return seen.reshape(n, 1, taps * c, *size)
