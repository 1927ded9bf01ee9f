"""The primal filters of the channels that are shown, each once for all examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from dualview.conversion.gated_network import GatedNetwork
from dualview.errors import PrimalFilterError
from dualview.explorer.explanations.budget import map_shape
from dualview.explorer.explanations.records import ExampleExplanation, LayerFilters
from dualview.primal.filters import PrimalFilters, primal_filters

MOST_FILTERS = 256
"""Of a layer: of the channels that are shown most often."""


def filters_by_layer(
    net: GatedNetwork, input_shape: Sequence[int]
) -> tuple[list[PrimalFilters], str]:
    """The primal filters behind every layer of the weights network; or none, and why.

    With a permuted gate order they are those of the gating layer that supplies the gates.
    """
    if not net.n_gates:
        return [], "There are no filters and no layers to show: no layer of the network has gates."
    if net.kind not in ("dlgn", "dlgn-sf"):
        return [], (
            f"There are no filters: the gating network of a {net.kind.upper()} is not linear, so "
            f"its gates have no filter over the input. A DLGN's have."
        )
    try:
        return [primal_filters(net, source, input_shape) for source in net.gate_order], ""
    except PrimalFilterError as error:
        return [], f"There are no filters: {error}."


def interior_of(found: PrimalFilters) -> tuple[range, ...]:
    """Positions that see their channel's kernel, free of the border; () where there is none."""
    return found.interior if found.has_channel_kernels else ()


def channels_shown(examples: Iterable[ExampleExplanation], layer: int) -> tuple[int, ...]:
    """The channels of a layer that examples show, the most frequent first, at most so many."""
    counts = Counter(c for example in examples for c in example.gates[layer].shown)
    ordered = sorted(counts, key=lambda channel: (-counts[channel], channel))
    return tuple(ordered[:MOST_FILTERS])


def layer_filters(found: PrimalFilters, channels: Sequence[int]) -> LayerFilters:
    """The filters of some channels of one layer.

    Composed kernels where there are any that memory allows; else, in a convolutional layer, the
    filters of the gates in the middle of the map.
    """
    chosen = list(channels)
    offsets = np.moveaxis(found.offsets.numpy()[chosen], 0, -1)  # (positions..., n)
    if found.can_compose:
        kernels = found.channel_kernels[chosen].numpy()
        inside = tuple(axis.start for axis in found.interior)
        return _record("kernel", channels, kernels, offsets[inside], geometry=_geometry(found))
    if len(found.gate_shape) == 1:
        images = found.filters(channels=chosen).numpy()
        return _record("input", channels, images, offsets)
    place = tuple(size // 2 for size in found.gate_shape[1:])
    images = found.filters(channels=chosen, positions=[place])[:, 0].numpy()
    return _record("place", channels, images, offsets[place], place)


def _record(
    kind: str,
    channels: Sequence[int],
    images: np.ndarray,
    offsets: np.ndarray,
    place: tuple[int, ...] = (),
    geometry: tuple[tuple[int, ...], tuple[int, ...]] = ((), ()),
) -> LayerFilters:
    if images.ndim == 2:  # features without positions
        images = images[:, None, :]
    shaped = images.reshape(*images.shape[:2], *map_shape(images.shape[2:]))
    return LayerFilters(kind, tuple(channels), shaped, tuple(offsets.tolist()), place, *geometry)


def _geometry(found: PrimalFilters) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Stride and first position of the kernels; () where two gates do not tell it."""
    if len(found.interior) != 2 or any(len(axis) < 2 for axis in found.interior):
        return (), ()
    place = [axis.start for axis in found.interior]
    here, next_one = found.origin(place), found.origin([p + 1 for p in place])
    stride = tuple(b - a for a, b in zip(here, next_one, strict=True))
    if min(stride) < 1:  # wrapped around, under circular padding
        return (), ()
    first = tuple(a - s * p for a, s, p in zip(here, stride, place, strict=True))
    return stride, first
