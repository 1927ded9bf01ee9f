"""Run records that look like real ones, without any training."""

from __future__ import annotations

import math
import random
from dataclasses import replace

from dualview.experiments.records import EpochMetrics, Provenance, RunRecord

KINDS = ("dnn", "dgn", "dlgn", "dlgn-ones")
_FINAL = {"dnn": 0.975, "dgn": 0.981, "dlgn": 0.966, "dlgn-ones": 0.958}
_PROVENANCE = Provenance(
    commit="0123456789ab",
    dualview="0.1.0",
    torch="2.13.0",
    python="3.11.7",
    device="cpu (2 threads)",
    machine="Linux x86_64, 2 cores",
    finished="2030-01-02T03:04:05+00:00",
)


def run_record(kind: str = "dlgn", seed: int = 0, epochs: int = 6, **changes: object) -> RunRecord:
    """A finished run on a test split of 360; `changes` replace fields of the record."""
    curve = tuple(_epoch(kind, seed, epoch) for epoch in range(epochs))
    record = RunRecord(
        experiment="compare",
        data="digits",
        architecture="fc",
        width=256,
        kind=kind,
        seed=seed,
        epochs=epochs,
        status="finished",
        message="",
        test_accuracy=curve[-1].test_accuracy,
        max_test_accuracy_over_epochs=max(epoch.test_accuracy for epoch in curve),
        n_train=1297,
        n_validation=140,
        n_test=360,
        parameters=216330 if kind == "dnn" else 430090,
        seconds=12.5 + seed,
        config={"kind": kind, "seed": seed, "epochs": epochs, "gate": None, "augment": False},
        curve=curve,
        provenance=_PROVENANCE,
    )
    return replace(record, **changes)


def diverged(record: RunRecord, epochs: int = 3, message: str = "the loss is nan") -> RunRecord:
    """`record` as if training had failed after `epochs` epochs."""
    return replace(
        record,
        status="diverged",
        message=message,
        test_accuracy=None,
        max_test_accuracy_over_epochs=None,
        curve=record.curve[:epochs],
    )


def comparison(kinds: tuple[str, ...] = KINDS, seeds: int = 3) -> list[RunRecord]:
    """Every kind with every seed, all finished."""
    return [run_record(kind, seed) for kind in kinds for seed in range(seeds)]


def _epoch(kind: str, seed: int, epoch: int) -> EpochMetrics:
    noise = random.Random(f"{kind} {seed} {epoch}")
    level = _FINAL.get(kind, 0.94) - 0.5 * math.exp(-(epoch + 1)) + noise.gauss(0, 0.006)
    accuracy = round(360 * min(level, 1.0)) / 360
    loss = 2.0 * math.exp(-0.7 * (epoch + 1)) * math.exp(noise.gauss(0, 0.1))
    return EpochMetrics(
        epoch=epoch,
        train_loss=loss,
        train_accuracy=accuracy,
        validation_loss=None,
        validation_accuracy=None,
        test_loss=2 * loss,
        test_accuracy=accuracy,
        learning_rate=1e-3,
        seconds=0.5,
    )
