"""Properties:
- a measured row has mean ± sd of the last epoch, below it the highest of any epoch, below that the
  published row, for every setting that was published;
- gains are taken seed by seed, beside the differences of the published means;
- diverged runs are counted and in no mean; regimes that are missing are dashes;
- settings that were not published have no published row.
"""

from __future__ import annotations

import pytest

from dualview.experiments.published import REGIME_ACCURACY, REGIMES
from dualview.experiments.records import RunRecord
from dualview.experiments.regimes.tables import by_setting, tables
from tests.record_cases import diverged, run_record

LEVELS = dict(zip(REGIMES, (0.90, 0.91, 0.95, 0.94, 0.96), strict=True))


def regime_record(
    regime: str, seed: int, arch: str = "fc", optimizer: str = "adam", **changes: object
) -> RunRecord:
    accuracy = LEVELS[regime] + 0.01 * seed
    return run_record(
        regime,
        seed,
        experiment="regimes",
        architecture=arch,
        config={"optimizer": optimizer},
        test_accuracy=accuracy,
        max_test_accuracy_over_epochs=accuracy + 0.002,
        **changes,
    )


def full(arch: str = "fc", optimizer: str = "adam") -> list[RunRecord]:
    return [regime_record(r, seed, arch, optimizer) for seed in (0, 1) for r in REGIMES]


@pytest.mark.parametrize(("arch", "optimizer"), REGIME_ACCURACY)
def test_every_published_cell_stands_below_its_measured_one(arch: str, optimizer: str) -> None:
    table, gains = tables(full(arch, optimizer))
    last, highest, published = table.rows
    assert last[1] == "90.50 ± 0.71"
    assert highest[1] == "90.70 ± 0.71"
    assert published[1:] == tuple(
        str(REGIME_ACCURACY[arch, optimizer][regime]) for regime in REGIMES
    )
    assert gains.rows[0][1:] == ("+4.00 ± 0.00", "+5.00 ± 0.00", "+2.00 ± 0.00", "+1.00 ± 0.00")


def test_published_gains() -> None:
    _, gains = tables(full())
    assert gains.rows[1][1:] == ("+1.80", "+2.20", "+0.32", "+0.07")


def test_gains_are_taken_seed_by_seed() -> None:
    records = [record for record in full() if (record.kind, record.seed) != ("frnpf-ii", 1)]
    _, gains = tables(records)
    assert gains.rows[0][1] == "+4.00"


def test_diverged_and_missing() -> None:
    records = [record for record in full() if record.kind != "dlnpf"]
    records = [diverged(r) if (r.kind, r.seed) == ("relu", 1) else r for r in records]
    table, _ = tables(records)
    assert table.rows[0][3] == "–"
    assert table.rows[0][5] == "96.00 (1 diverged)"
    assert table.rows[1][5] == "96.20"


def test_unpublished_setting() -> None:
    records = [regime_record("relu", 0, arch="c4gap")]
    table, gains = tables(records)
    assert (len(table.rows), len(gains.rows)) == (2, 1)


def test_settings_in_the_papers_order() -> None:
    records = full("gconv", "sgd") + full("fc", "sgd") + full("fc")
    order = [(g[0].architecture, g[0].config["optimizer"]) for g in by_setting(records)]
    assert order == [("fc", "adam"), ("fc", "sgd"), ("gconv", "sgd")]
    assert len(tables(records)[0].rows) == 9
