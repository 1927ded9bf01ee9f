"""Records of the spectrum experiment, without any training."""

from __future__ import annotations

from dualview.experiments.records import RunRecord
from dualview.experiments.spectrum.functions import ANGLES, FORMULAS
from dualview.experiments.spectrum.scores import BAND_NAMES, COMPARED_KINDS
from tests.record_cases import run_record

FREQUENCIES = [1, 4]
EPOCHS = [0, 1, 3]


def function_record(
    kind: str = "dlgn",
    seed: int = 0,
    dimension: int = 1,
    scores: tuple[tuple[float | None, ...], ...] = ((0.0, 0.0), (0.5, 0.1), (0.95, 0.2)),
) -> RunRecord:
    """R2 `scores` by epoch and frequency, of targets with the variances 0.5 and 0.25."""
    variance = [0.5, 0.25]
    errors = [
        [None if s is None else v * (1 - s) for s, v in zip(row, variance, strict=True)]
        for row in scores
    ]
    taken = {
        "dimension": dimension,
        "frequencies": FREQUENCIES,
        "variance": variance,
        "epoch": EPOCHS,
        "train_mse": errors,
        "test_mse": errors,
    }
    if kind == "dlgn":
        taken |= {
            "gate_slope_initial": [[0.5, 1.0, 2.0], [0.1, 0.2, 0.3]],
            "gates_inside_initial": [0.5, 1.0],
            "gate_slope": [[[0.5, 1.5 + seed, 2.0], [0.1, 0.4, 0.9]]] * 2,
            "gates_inside": [[0.5, 1.0]] * 2,
        }
        if dimension == 2:
            taken |= {"gate_angles_initial": [1 / ANGLES] * ANGLES}
    return run_record(
        kind,
        seed,
        experiment="spectrum",
        data=FORMULAS[dimension],
        epochs=EPOCHS[-1],
        test_accuracy=None,
        max_test_accuracy_over_epochs=None,
        curve=(),
        measurements=taken,
    )


def image_record(
    kind: str = "dlgn", seed: int = 0, band: str = "all", accuracy: float = 0.9
) -> RunRecord:
    """A run on images in a band."""
    taken = {"band": band, "radius": 2.0, "disc_energy": 0.625}
    if kind == "dlgn":
        taken |= {"spectra_initial": [[1.0] * 5] * 2, "spectra": [[2.0, 1.0, 1.0, 0.5, 0.5]] * 2}
    return run_record(
        kind,
        seed,
        experiment="spectrum",
        data=f"digits, {BAND_NAMES[band]}",
        test_accuracy=accuracy,
        measurements=taken,
    )


def all_records(seeds: int = 2) -> list[RunRecord]:
    """Every kind with every part."""
    functions = [
        function_record(kind, seed, dimension)
        for seed in range(seeds)
        for dimension in (1, 2)
        for kind in COMPARED_KINDS
    ]
    images = [
        image_record(kind, seed, band, 0.9 - 0.1 * (kind == "dlgn"))
        for seed in range(seeds)
        for band in BAND_NAMES
        for kind in ("dnn", "dlgn")
    ]
    return [*functions, *images]
