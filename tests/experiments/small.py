"""A comparison that takes a fraction of a second."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from dualview.experiments.records import RunRecord
from dualview.experiments.settings import ComparisonSettings
from dualview.training import MODEL, TrainSettings

SMALL = ComparisonSettings(
    arch="fc",
    width=8,
    kinds=("dnn", "dlgn"),
    seeds=1,
    training=TrainSettings(
        epochs=2, batch_size=8, learning_rate=0.01, threads=1, tensorboard=False
    ),
)


def small(training: dict[str, Any] | None = None, **changes: Any) -> ComparisonSettings:
    """`SMALL`, changed."""
    trained = dataclasses.replace(SMALL.training, **(training or {}))
    return dataclasses.replace(SMALL, training=trained, **changes)


def exact(records: list[RunRecord]) -> list[RunRecord]:
    """The records without what may differ from one time to the next: times and provenance."""
    return [
        dataclasses.replace(
            record,
            seconds=0.0,
            curve=tuple(dataclasses.replace(epoch, seconds=0.0) for epoch in record.curve),
            provenance=None,  # type: ignore[arg-type]
        )
        for record in records
    ]


def parameters(out: Path) -> dict[str, bytes]:
    """Name of each run -> its trained parameters, to the bit."""
    return {path.parent.name: path.read_bytes() for path in sorted(out.glob(f"*/{MODEL}"))}
