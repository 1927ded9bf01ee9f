"""How far filters can be read: what their largest pixels explain, and what opens gates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dualview.explorer.explanations.network_records import FilterReading
from dualview.explorer.explanations.records import LayerFilters

LARGEST = 0.1
"""The share of a filter's pixels that count as its largest."""
WINDOWS = 4
"""Places on each example at which a channel's kernel is tried."""


def filter_reading(
    filters: LayerFilters, images: np.ndarray, positions: Sequence[range] | None = None
) -> FilterReading | None:
    """What some filters make of examples.

    Args:
        filters: of one layer.
        images: (m, channels, rows, columns), as the network is called on them.
        positions: for kernels, the gates' positions free of the border.

    Returns:
        None where the places of kernels are not known, or there are fewer than two examples.
    """
    seen = windows_of(filters, images, positions)
    if seen is None or len(seen) < 2 or not len(filters.channels):
        return None
    weights = filters.images.reshape(len(filters.images), -1)  # (n, d)
    values = seen.reshape(len(seen), -1) - seen.reshape(len(seen), -1).mean(0)  # (m, d)
    largest = max(1, round(LARGEST * weights.shape[1]))
    sizes = np.abs(weights) * values.std(0)
    kept = np.argsort(-sizes, axis=1, kind="stable")[:, :largest]
    only = np.zeros_like(weights)
    np.put_along_axis(only, kept, np.take_along_axis(weights, kept, 1), 1)
    q, by_largest = values @ weights.T, values @ only.T  # (m, n), of mean 0
    deviation = q.std(0)
    together = (q * by_largest).mean(0) ** 2
    apart = (q**2).mean(0) * (by_largest**2).mean(0)
    shares = np.divide(together, apart, out=np.zeros_like(apart), where=apart > 0)
    covariance = q.T @ values / len(values)  # (n, d)
    patterns = covariance / np.where(deviation > 0, deviation, 1)[:, None]
    return FilterReading(largest, shares, patterns.reshape(filters.images.shape))


def windows_of(
    filters: LayerFilters, images: np.ndarray, positions: Sequence[range] | None
) -> np.ndarray | None:
    """What filters are applied to: images, or windows of them at places spread over the map."""
    shape = filters.images.shape[1:]
    if filters.kind != "kernel":
        return images if images.shape[1:] == shape else None
    if not filters.stride or not positions:
        return None
    height, width = shape[1:]
    found = []
    for number, image in enumerate(images):
        for place in range(WINDOWS):
            top, left = (
                axis[(7 * number + 3 * place + 5 * place * k) % len(axis)] * stride + first
                for k, (axis, stride, first) in enumerate(
                    zip(positions, filters.stride, filters.first, strict=True)
                )
            )
            window = image[:, top : top + height, left : left + width]
            if window.shape == shape and min(top, left) >= 0:
                found.append(window)
    return np.stack(found) if found else None
