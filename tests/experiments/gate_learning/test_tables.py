"""Properties:
- a row for each stage with weights network, kernel machine, the gates' own network and the
  published number, means ± sd over seeds; the published cells stand at their stages;
- stage 0 has no network of its own; diverged runs are in no mean;
- several settings give several tables;
- overlaps with the initial gates have a table, of the records that have them, and none without.
"""

from __future__ import annotations

from dataclasses import replace

from dualview.experiments.gate_learning.tables import by_stage, tables
from dualview.experiments.published import CNTK, GATE_LEARNING
from dualview.experiments.records import RunRecord
from tests.record_cases import diverged, run_record


def stage_records(stage: int, seed: int, **changes: object) -> list[RunRecord]:
    accuracy = 0.6 + 0.02 * stage + 0.01 * seed
    common = {"experiment": "gate-learning", "architecture": "gconv", **changes}
    measured = {
        "stage": stage,
        "kernel_accuracy": accuracy - 0.3,
        "kernel_n_train": 600,
        "kernel_n_test": 400,
    }
    weights = run_record(
        "weights",
        seed,
        config={"stage": stage, "gates_epochs": 10 * stage},
        test_accuracy=accuracy,
        max_test_accuracy_over_epochs=accuracy + 0.005,
        measurements=measured,
        **common,
    )
    gates = run_record(
        "gates",
        seed,
        config={"stage": stage, "epochs": 10 * stage},
        test_accuracy=accuracy - 0.1,
        **common,
    )
    return [gates, weights] if stage else [weights]


RECORDS = [record for seed in (0, 1) for stage in range(7) for record in stage_records(stage, seed)]


def test_rows() -> None:
    (table,) = tables(RECORDS)
    assert table.rows[0] == (
        "0", "0", "60.50 ± 0.71", "61.00 ± 0.71", "30.50 ± 0.71", "–", "67.09"
    )  # fmt: skip
    assert table.rows[6][:3] == ("6", "60", "72.50 ± 0.71")
    assert table.rows[6][5] == "62.50 ± 0.71"
    assert any(str(CNTK) in note for note in table.notes)
    assert any("600" in note and "400" in note for note in table.notes)


def test_every_published_cell_stands_at_its_stage() -> None:
    (table,) = tables(RECORDS)
    published = {int(row[0]): row[-1] for row in table.rows if row[-1] != "–"}
    assert published == {stage: str(value) for stage, value in GATE_LEARNING.items()}


def test_diverged_runs_are_in_no_mean() -> None:
    records = [
        diverged(record) if (record.seed, record.config["stage"]) == (1, 6) else record
        for record in RECORDS
    ]
    assert len(by_stage(records)[6].weights) == 1
    assert tables(records)[0].rows[6][2] == "72.00"


def test_a_table_for_each_setting() -> None:
    more = [record for stage in range(3) for record in stage_records(stage, 0, width=16)]
    assert [table.name for table in tables(RECORDS + more)] == [
        "gate-learning-1",
        "gate-learning-2",
    ]


def moved(record: RunRecord) -> RunRecord:
    """The same with overlaps of two layers."""
    if record.kind != "weights":
        return record
    stage = record.config["stage"]
    overlap = [1 - 0.01 * stage, 1 - 0.1 * stage - 0.02 * record.seed]
    return replace(record, measurements={**record.measurements, "initial_overlap": overlap})


def test_overlaps_with_the_initial_gates() -> None:
    accuracy, overlap = tables(list(map(moved, RECORDS)))
    assert accuracy == tables(RECORDS)[0]
    assert overlap.name == "gate-overlap"
    assert overlap.columns[2:] == ("Gate 1", "Gate 2")
    assert overlap.rows[3] == ("3", "30", "97.00 ± 0.00", "69.00 ± 1.41")


def test_early_records_have_no_overlaps() -> None:
    assert [table.name for table in tables(RECORDS)] == ["gate-learning"]
    (_, overlap) = tables([moved(r) if r.config["stage"] > 4 else r for r in RECORDS])
    assert [row[0] for row in overlap.rows] == ["5", "6"]
