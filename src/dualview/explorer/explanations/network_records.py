"""What a network has learnt, over many examples, as frozen records. No torch, no HTML.

Axes as in `records`. *Classes* here are those counted, k of them: all, or the most frequent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from dualview.primal.partition import PartitionSlice

PAIRED = 100
"""Examples that what two units add together is a mean over, at most."""


@dataclass(frozen=True, eq=False)
class LayerUnits:
    """The units of one layer that the page shows, n of them, over many examples.

    Attributes:
        channels: which, the ones that examples show most often first.
        parts: (n, k, k): [u, i, j] is the mean over the examples of class i of what the paths
            through channel u add to the logit of class j.
        opens: (n, m) places, among the examples of the page, of those with the largest q.
        closes: (n, m): of those with the smallest.
        peaks: (n, examples of the page): q of each, the largest over positions.
        upstream: for each channel the channels of the layer before whose paths through it add or
            take most, with the mean over examples of what they add to the true class's logit.
        downstream: the same of the layer behind, among the channels shown there.
    """

    channels: tuple[int, ...]
    parts: np.ndarray
    opens: np.ndarray
    closes: np.ndarray
    peaks: np.ndarray
    upstream: tuple[tuple[tuple[int, float], ...], ...]
    downstream: tuple[tuple[tuple[int, float], ...], ...]


@dataclass(frozen=True, eq=False)
class FilterReading:
    """How far the filters of a layer can be read, measured on examples.

    Attributes:
        largest: how many pixels (of all input channels) are a tenth of a filter's: those with the
            largest |weight| times standard deviation.
        shares: (n,): the share of the variance of q that these pixels alone explain: the squared
            correlation of q with their part of it.
        patterns: (n, input channels, rows, columns): how much brighter each pixel is, on average,
            where q is a standard deviation higher: covariance over q's deviation.
    """

    largest: int
    shares: np.ndarray
    patterns: np.ndarray


@dataclass(frozen=True, eq=False)
class NetworkView:
    """One network over many examples.

    Attributes:
        n_examples: of the split, spread evenly, that all of this is counted on.
        confusion: (all classes, all classes): examples of class i that it takes for class j.
        classes: those of `parts`, k of them.
        counts: (k,): how many examples of each.
        logits: (k, k): mean over the examples of class i of the logit of class j.
        layers: for each gated layer.
        readings: for each layer; None where it has no filters, or their places are not known.
        places: (examples of the page, 2): the two largest kernel principal components of their
            path kernel; None where that would take too long or has no rule.
        spread: the shares of the kernel's variance that these two have.
    """

    n_examples: int
    confusion: np.ndarray
    classes: tuple[int, ...]
    counts: tuple[int, ...]
    logits: np.ndarray
    layers: tuple[LayerUnits, ...]
    readings: tuple[FilterReading | None, ...]
    places: np.ndarray | None = None
    spread: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, eq=False)
class Plane:
    """The plane through an example, and two training images: hard gates are lines there.

    Attributes:
        example: its place among those of the page.
        rows: of the two, in the train split: the nearest of the class to compare with, then the
            nearest of the predicted one.
        labels: of the two.
        images: of the two, as the data has them.
        found: the cells of the plane, and what hard gates decide there.
        n_gates: of the whole network.
    """

    example: int
    rows: tuple[int, ...]
    labels: tuple[int, ...]
    images: np.ndarray
    found: PartitionSlice
    n_gates: int


@dataclass(frozen=True, eq=False)
class ProgramStep:
    """One operation of a network that the page computes itself.

    Attributes:
        op: "flatten", "linear", "convolution", "scale" (batch norm's, channel by channel),
            "average" (over all positions), "pool" (over windows), "gate", "add", "take" (every
            so-manieth channel, row and column) or "pad" (with zeros).
        source: the step before whose value it takes; -1: the network's input.
        other: of an addition, the other one.
        weights: of a linear layer (out, in), a convolution (out, in, rows, columns), or a scale
            (channels,).
        bias: (out,).
        numbers: of a convolution: stride and padding, rows first; of a pool: window and stride; of
            a gate: its layer; of "take": first, count and step of channels, rows and columns; of
            "pad": how many before and after, of the same.
    """

    op: str
    source: int
    weights: np.ndarray | None = None
    bias: np.ndarray | None = None
    numbers: tuple[int, ...] = ()
    other: int | None = None


@dataclass(frozen=True, eq=False)
class Program:
    """A gated network as steps, and the images of the page that it can be run on.

    Attributes:
        mean: of each channel, taken off pixels from 0 to 1.
        std: of each channel, by which they are then divided.
        gating: steps of the gating network.
        preactivations: for each gated layer, the gating step whose value is its q.
        weights: steps of the weights network; the last one gives the logits.
        gates: for each layer (beta, scale): scale * sigmoid(beta q); beta is infinite for steps.
        images: (examples, channels, rows, columns): bytes, or float32 pixels from 0 to 1.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    gating: tuple[ProgramStep, ...]
    preactivations: tuple[int, ...]
    weights: tuple[ProgramStep, ...]
    gates: tuple[tuple[float, float], ...]
    images: np.ndarray
