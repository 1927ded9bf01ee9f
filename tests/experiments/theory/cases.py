"""Records of `dualview theory` that look like real ones, without any computation."""

from __future__ import annotations

from dualview.experiments.records import Provenance
from dualview.experiments.theory.measurement import CurvePoint, CurveRecord
from dualview.experiments.theory.run import SECTIONS, TheoryRecord
from dualview.experiments.theory.statement import StatementRecord

PROVENANCE = Provenance(
    commit="0123456789ab",
    dualview="0.1.0",
    torch="2.13.0",
    python="3.11.7",
    device="cpu (2 threads)",
    machine="Linux x86_64, 2 cores",
    finished="2030-01-02T03:04:05+00:00",
)


def statement_record(name: str = "fc-npk", section: str = "4.1", **changes) -> StatementRecord:
    fields = {
        "name": name,
        "section": section,
        "title": f"title of {name}",
        "text": f"What {name} says.",
        "source": f"source of {name}",
        "left_is": f"left way of {name}",
        "right_is": f"right way of {name}",
        "comparison": "equal",
        "left": 1234.5678,
        "right": 1234.5679,
        "error": 3e-16,
        "bound": 1e-10,
        "standard_errors": None,
        "verdict": "holds",
        "details": f"pair of {name}",
        "n": 1250,
        "unit": "entries",
        "seconds": 0.25,
    }
    return StatementRecord(**{**fields, **changes})


def drawn_record(name: str = "unbiased", section: str = "6", **changes) -> StatementRecord:
    fields = {
        "comparison": "mean",
        "left": 0.0134,
        "right": 0.0142,
        "error": 0.038,
        "bound": 0.034,
        "standard_errors": 1.62,
        "verdict": "holds within 1.6 standard errors",
        "n": 3000,
        "unit": "draws",
    }
    return statement_record(name, section, **{**fields, **changes})


def failed_record(name: str = "wrong", section: str = "4.2", **changes) -> StatementRecord:
    fields = {"left": 2.0, "right": 1.0, "error": 1.0, "verdict": "does not hold"}
    return statement_record(name, section, **{**fields, **changes})


def curve(name: str = "dense", figure: str = "width", kind: str = "dlgn", factor: float = 1.0):
    sizes = (8, 16, 32, 64)
    points = tuple(
        CurvePoint(
            size=size,
            draws=100 - size,
            error_rms=factor * size**-0.5,
            error_mean=0.9 * factor * size**-0.5,
            error_sd=0.3 * factor * size**-0.5,
            error_low=0.5 * factor * size**-0.5,
            error_high=1.6 * factor * size**-0.5,
            mean_off=0.01 * factor,
        )
        for size in sizes
    )
    return CurveRecord(
        name, figure, f"label {name}", kind, f"network {name}", points, 16, -0.5, 0.021, 2.0
    )


def theory_record(*more: StatementRecord, quick: bool = False) -> TheoryRecord:
    """Two statements in every section, and `more`; two figures of two curves."""
    statements = [
        statement
        for number, section in enumerate(SECTIONS)
        for statement in (
            statement_record(f"exact-{number}", section),
            drawn_record(f"drawn-{number}", section),
        )
    ]
    curves = (
        curve(),
        curve("convolutional", kind="dgn", factor=0.5),
        curve("features", "features"),
        curve("shared", "features", "dgn", 2.0),
    )
    return TheoryRecord(3, quick, (*statements, *more), curves, 61.5, PROVENANCE)
