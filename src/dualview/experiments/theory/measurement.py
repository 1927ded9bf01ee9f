"""How an estimate's error falls with a size: samples at every size, their summary, and the fit.

A `Measurement` keeps what was sampled; `summarise` makes the `CurveRecord` that figures are drawn
from.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dualview.experiments.theory.statement import Pair, Settings, Sides


@dataclass(frozen=True)
class Sample:
    """Estimates of a kernel at one size, in groups that are independent of one another.

    Attributes:
        size: width, or number of features.
        estimates: (draws, n, n); groups of equal length follow one another.
        expected: what each draw estimates, (draws, n, n).
    """

    size: int
    estimates: Tensor
    expected: Tensor

    @property
    def errors(self) -> Tensor:
        """Relative deviation of each draw, in the Frobenius norm: (draws,)."""
        deviation = (self.estimates - self.expected).flatten(1).norm(dim=1)
        return deviation / self.expected.flatten(1).norm(dim=1)

    def log_errors(self, groups: int) -> Tensor:
        """Log of the root mean square error of all draws, then of all but one group each."""
        squares = self.errors.square().view(groups, -1).mean(1)
        without = (squares.sum() - squares) / (groups - 1)
        return torch.cat([squares.mean()[None], without]).log() / 2  # (1 + groups,)

    def mean_pair(self) -> Pair:
        """Mean over draws against what is expected, every draw in units of its kernel's norm."""
        norms = self.expected.flatten(1).norm(dim=1)[:, None, None]
        found, expected = self.estimates / norms, self.expected / norms
        error = (found - expected).std(0) / math.sqrt(len(found))
        return Pair(found.mean(0), expected.mean(0), error, label=f"size {self.size}")


@dataclass(frozen=True)
class Measurement:
    """Samples at rising sizes, and how much was drawn for them."""

    samples: tuple[Sample, ...]
    groups: int
    """Independent groups of draws at every size."""
    fit_from: int
    """The slope is that of sizes from here on."""
    n: int
    unit: str
    """What `n` counts."""

    def slope(self) -> tuple[float, float]:
        """Slope of log root mean square error against log size, and its standard error.

        The slope is that of least squares; its error is the jackknife's over groups of draws.
        """
        fitted = [sample for sample in self.samples if sample.size >= self.fit_from]
        sizes = torch.tensor([sample.size for sample in fitted], dtype=torch.float64).log()
        errors = torch.stack([sample.log_errors(self.groups) for sample in fitted])
        sizes = sizes - sizes.mean()
        slopes = (sizes[:, None] * errors).sum(0) / sizes.square().sum()  # (1 + groups,)
        spread = (slopes[1:] - slopes[1:].mean()).square().mean() * (self.groups - 1)
        return float(slopes[0]), float(spread.sqrt())

    def slope_sides(self) -> Sides:
        """The slope against -1/2."""
        slope, error, half = torch.tensor([[*self.slope(), -0.5]], dtype=torch.float64).mT
        return Sides((Pair(slope, half, error),), self.n, self.unit)

    def mean_sides(self) -> Sides:
        """The mean over draws against what is expected, at every size."""
        pairs = tuple(sample.mean_pair() for sample in self.samples)
        return Sides(pairs, self.n, self.unit)


@dataclass(frozen=True)
class Series:
    """What is measured, and how a figure names it.

    Attributes:
        name: unique; statements refer to it.
        figure: the figure it belongs to, "width" or "features".
        label: its line's name in the figure.
        kind: kind of network, whose colour the line has.
        network: the network in words.
        measure: settings -> measurement.
    """

    name: str
    figure: str
    label: str
    kind: str
    network: str
    measure: Callable[[Settings], Measurement]


@dataclass(frozen=True)
class CurvePoint:
    """One size: relative errors over draws, in the Frobenius norm of the kernel."""

    size: int
    draws: int
    error_rms: float
    """Root mean square over draws."""
    error_mean: float
    error_sd: float
    error_low: float
    """A tenth of the draws have a smaller error."""
    error_high: float
    """A tenth of the draws have a larger error."""
    mean_off: float
    """Relative error of the mean over draws."""


@dataclass(frozen=True)
class CurveRecord:
    """One line of a figure."""

    name: str
    figure: str
    label: str
    kind: str
    network: str
    points: tuple[CurvePoint, ...]
    fit_from: int
    """The slope is that of sizes from here on."""
    slope: float
    """Of log root mean square error against log size."""
    slope_error: float
    """Its standard error."""
    seconds: float


def curve_record(series: Series, measurement: Measurement, seconds: float) -> CurveRecord:
    """The measurement in numbers that a figure needs."""
    points = []
    for sample in measurement.samples:
        errors, pair = sample.errors, sample.mean_pair()
        off = (pair.left - pair.right).norm() / pair.right.norm()
        points.append(
            CurvePoint(
                size=sample.size,
                draws=len(errors),
                error_rms=float(errors.square().mean().sqrt()),
                error_mean=float(errors.mean()),
                error_sd=float(errors.std()),
                error_low=float(errors.quantile(0.1)),
                error_high=float(errors.quantile(0.9)),
                mean_off=float(off),
            )
        )
    return CurveRecord(
        series.name,
        series.figure,
        series.label,
        series.kind,
        series.network,
        tuple(points),
        measurement.fit_from,
        *measurement.slope(),
        seconds,
    )
