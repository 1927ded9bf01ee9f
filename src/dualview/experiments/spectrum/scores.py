"""What tables and figures of the spectrum experiment read from its records. No torch."""

from __future__ import annotations

from collections.abc import Sequence

from dualview.experiments.records import RunRecord

THRESHOLDS = (0.5, 0.9, 0.99)
"""Of R2."""

COMPARED_KINDS = ("dnn", "dgn", "dlgn")
"""In the order of tables. None reads the constant 1: circular padding leaves nothing of it that a
first layer's batch norm could scale."""

BAND_NAMES = {"all": "all frequencies", "low": "low-pass", "high": "high-pass"}
"""The images as they are, their low-pass and their high-pass version."""


def of_dimension(records: Sequence[RunRecord], dimension: int) -> list[RunRecord]:
    """The runs that learnt functions of so many numbers."""
    return [run for run in records if run.measurements.get("dimension") == dimension]


def of_images(records: Sequence[RunRecord]) -> list[RunRecord]:
    """The runs that classified images."""
    return [run for run in records if "band" in run.measurements]


def kinds_of(runs: Sequence[RunRecord]) -> list[str]:
    """The kinds that are there, in the experiment's order."""
    return [kind for kind in COMPARED_KINDS if any(run.kind == kind for run in runs)]


def explained(run: RunRecord) -> list[list[float | None]]:
    """R2 on unseen points, 1 - error / variance: a row of frequencies for each epoch measured.

    None where the error was not finite.
    """
    variances = run.measurements["variance"]
    return [
        [None if mse is None else 1 - mse / v for mse, v in zip(row, variances, strict=True)]
        for row in run.measurements["test_mse"]
    ]


def reached(run: RunRecord, place: int, threshold: float) -> int | None:
    """The first measured epoch in which R2 of a frequency is the threshold at least."""
    scores = (row[place] for row in explained(run))
    for epoch, score in zip(run.measurements["epoch"], scores, strict=True):
        if score is not None and score >= threshold:
            return int(epoch)
    return None


def low_share(run: RunRecord, name: str, layer: int) -> float:
    """Share of a layer's radially averaged power at the radii of the run's disc.

    Args:
        run: of a DLGN on images.
        name: "spectra_initial" or "spectra".
        layer: counted from 0.
    """
    power = run.measurements[name][layer]
    return float(sum(power[: int(run.measurements["radius"]) + 1]) / sum(power))
