"""Where a term's channels and positions stand in the tensor that the graph has.

A term's arrays have one axis of channels and then its positions, whatever the graph does to the
axes of the tensor: a permutation or a change of shape is a change of the layout alone. An axis of
the tensor is a product of *atoms*, each of channels or of positions. Axes are those of one example:
axis 0 here is axis 1 of the tensor. No atom has size 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """The atoms in the order of a term's arrays, and which of them each axis is made of.

    Attributes:
        sizes: of the atoms, those of channels first.
        n_channels: how many of them are of channels.
        axes: for each axis of one example, its atoms, the outermost first.
    """

    sizes: tuple[int, ...]
    n_channels: int
    axes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, shape: Sequence[int], channel_axes: Sequence[int] = (0,)) -> Layout:
        """Whole axes of channels, in this order, and every other one of positions.

        >>> Layout.of((3, 5, 1), (0,)).positions
        (5,)
        """
        order = [*channel_axes, *(a for a in range(len(shape)) if a not in channel_axes)]
        kept = [axis for axis in order if shape[axis] != 1]
        number = {axis: k for k, axis in enumerate(kept)}
        count = sum(axis in channel_axes for axis in kept)
        axes = tuple((number[a],) if a in number else () for a in range(len(shape)))
        return cls(tuple(shape[axis] for axis in kept), count, axes)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example."""
        return tuple(math.prod(self.sizes[atom] for atom in axis) for axis in self.axes)

    @property
    def channel_sizes(self) -> tuple[int, ...]:
        """Sizes of the atoms of channels."""
        return self.sizes[: self.n_channels]

    @property
    def positions(self) -> tuple[int, ...]:
        """Sizes of the position axes of a term's arrays."""
        return self.sizes[self.n_channels :]

    @property
    def channels(self) -> int:
        """Number of channels."""
        return math.prod(self.channel_sizes)

    def channel_atoms(self, axis: int) -> tuple[int, ...]:
        """The atoms of channels of an axis."""
        return tuple(atom for atom in self.axes[axis] if atom < self.n_channels)

    def position_atoms(self, axis: int) -> tuple[int, ...]:
        """The atoms of positions of an axis."""
        return tuple(atom for atom in self.axes[axis] if atom >= self.n_channels)

    @property
    def reading(self) -> tuple[int, ...]:
        """All atoms in the order in which the tensor has them."""
        return tuple(atom for axis in self.axes for atom in axis)

    @property
    def channel_axes(self) -> tuple[int, ...]:
        """Axes that hold channels."""
        return tuple(a for a in range(len(self.axes)) if self.channel_atoms(a))

    def arranged(self, tensor: Tensor, lead: int = 1) -> Tensor:
        """A tensor (*lead, *shape) as (*lead, channels, *positions)."""
        head = tensor.shape[:lead]
        split = tensor.reshape(*head, *(self.sizes[atom] for atom in self.reading))
        back = [self.reading.index(atom) for atom in range(len(self.sizes))]
        ordered = split.permute(*range(lead), *(lead + k for k in back))
        return ordered.reshape(*head, self.channels, *self.positions)

    def as_tensor(self, array: Tensor, lead: int = 1) -> Tensor:
        """An array (*lead, channels, *positions) as (*lead, *shape)."""
        head = array.shape[:lead]
        split = array.reshape(*head, *self.sizes)
        ordered = split.permute(*range(lead), *(lead + atom for atom in self.reading))
        return ordered.reshape(*head, *self.shape)

    def permuted(self, order: Sequence[int]) -> Layout:
        """Axis k of the result is axis order[k]."""
        return Layout(self.sizes, self.n_channels, tuple(self.axes[axis] for axis in order))

    def reshaped(self, shape: Sequence[int]) -> Layout | None:
        """The same entries in another shape; None where an axis would cut through atoms.

        Channels and positions keep their order, so that a term's arrays are only seen anew.

        >>> Layout.of((4, 6)).reshaped((2, 2, 2, 3)).sizes
        (2, 2, 2, 3)
        >>> Layout.of((4, 6)).reshaped((3, 8)) is None
        True
        """
        runs = self._runs()
        parts: list[list[int]] = [[] for _ in runs]
        axes: list[list[tuple[int, int]]] = []
        at, left = 0, self._size(runs[0]) if runs else 1
        for size in shape:
            axis: list[tuple[int, int]] = []
            while size > 1:
                if at == len(runs):
                    return None
                taken = math.gcd(size, left)
                if taken != min(size, left):
                    return None
                axis.append((at, len(parts[at])))
                parts[at].append(taken)
                size, left = size // taken, left // taken
                if left == 1:
                    at += 1
                    left = self._size(runs[at]) if at < len(runs) else 1
            axes.append(axis)
        order = sorted(range(len(runs)), key=lambda k: runs[k][0])
        number: dict[tuple[int, int], int] = {}
        sizes: list[int] = []
        channels = 0
        for k in order:
            for j, size in enumerate(parts[k]):
                number[k, j] = len(sizes)
                sizes.append(size)
            channels += len(parts[k]) if runs[k][0] < self.n_channels else 0
        named = tuple(tuple(number[part] for part in axis) for axis in axes)
        return Layout(tuple(sizes), channels, named)

    def _size(self, atoms: Iterable[int]) -> int:
        return math.prod(self.sizes[atom] for atom in atoms)

    def _runs(self) -> list[list[int]]:
        """The atoms as the tensor has them, those joined that the arrays have in that order too."""
        runs: list[list[int]] = []
        for atom in self.reading:
            follows = runs and runs[-1][-1] + 1 == atom and atom != self.n_channels
            if follows:
                runs[-1].append(atom)
            else:
                runs.append([atom])
        return runs


def channel_grid(layout: Layout) -> Tensor:
    """Numbers of the channels, one axis for each atom of channels."""
    return torch.arange(layout.channels).reshape(layout.channel_sizes)
