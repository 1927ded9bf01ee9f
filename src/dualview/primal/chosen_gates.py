"""Gates that are asked for by channels and positions: checked, and as flat numbers of a layer."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from dualview.arguments import require, sequence, whole
from dualview.errors import PrimalFilterError


def chosen_gates(
    channels: int | Iterable[int] | None,
    positions: Iterable[Sequence[int]] | None,
    gate_shape: tuple[int, ...],
    layer: int,
) -> tuple[list[int], list[tuple[int, ...]]]:
    """The channels and the positions chosen; all by default, for a dense layer the position ()."""
    return _channels(channels, gate_shape[0]), _positions(positions, gate_shape[1:], layer)


def _channels(channels: int | Iterable[int] | None, count: int) -> list[int]:
    if channels is None:
        return list(range(count))
    one = not hasattr(channels, "__iter__") or getattr(channels, "ndim", 1) == 0
    given: list[Any] = (
        [channels] if one else require("channels", channels, sequence, PrimalFilterError)
    )
    return [_index(channel, count, "channels") for channel in given]


def _positions(
    positions: Iterable[Sequence[int]] | None, spatial: tuple[int, ...], layer: int
) -> list[tuple[int, ...]]:
    if positions is None:
        return list(itertools.product(*map(range, spatial)))
    given = require("positions", positions, sequence, PrimalFilterError)
    places = [tuple(require("positions", place, sequence, PrimalFilterError)) for place in given]
    if not spatial:
        raise PrimalFilterError(
            f"positions: expected none for layer {layer}, which is dense, got some"
        )
    for place in places:
        if len(place) != len(spatial):
            raise PrimalFilterError(
                f"positions: expected {len(spatial)} numbers each, for the positions "
                f"{spatial} of layer {layer}, got {place}"
            )
    return [
        tuple(_index(p, n, "positions") for p, n in zip(place, spatial, strict=True))
        for place in places
    ]


def _index(value: int, count: int, name: str) -> int:
    index: int = require(name, value, whole(0, count - 1), PrimalFilterError)
    return index


def flat_gates(
    channels: Sequence[int], places: Sequence[tuple[int, ...]], gate_shape: tuple[int, ...]
) -> Tensor:
    """Flat positions of gates in `gate_shape`, place after place of one channel after the other."""
    spatial = gate_shape[1:]
    strides = [math.prod(spatial[axis + 1 :]) for axis in range(len(spatial))]
    inner = [sum(map(operator.mul, place, strides)) for place in places]
    gates = torch.tensor(channels, dtype=torch.long).unsqueeze(1) * math.prod(spatial)
    return (gates + torch.tensor(inner, dtype=torch.long)).flatten()
