"""Properties proved here.

1. Means, sample standard deviations and recovered accuracy equal numbers worked out by hand; the
   latter pairs each run with the DNN of its own seed.
2. Runs that diverged count in nothing but their own number; seeds without a DNN in no pair.
3. Nothing is divided by a DNN accuracy of 0, nor made up where fewer than two runs finished.
4. Settings are summarised apart, in the order of appearance, whatever the order of the seeds.
5. The same kind and seed twice is refused.
6. The table is aligned, and shows percent with two decimals.
"""

import dataclasses

import pytest

from dualview.errors import RunError
from dualview.experiments.settings import KINDS
from dualview.experiments.summary import (
    format_summary,
    kind_name,
    percent,
    summarise,
    summary_table,
)
from dualview.experiments.tables import to_markdown
from tests.record_cases import diverged, run_record


def _run(kind, seed, accuracy, highest=None, seconds=1.0, **changes):
    return dataclasses.replace(
        run_record(kind, seed),
        test_accuracy=accuracy,
        max_test_accuracy_over_epochs=highest or accuracy,
        seconds=seconds,
        **changes,
    )


RECORDS = [
    _run("dnn", 0, 0.5, 0.75, seconds=1.0),
    _run("dgn", 0, 0.6, seconds=3.0),
    _run("dnn", 1, 0.8, 0.85, seconds=2.0),
    _run("dgn", 1, 0.8, seconds=5.0),
]


def test_numbers_by_hand():
    dnn, dgn = summarise(RECORDS)
    assert (dnn.kind, dgn.kind) == ("dnn", "dgn")
    assert dnn.accuracy_mean == pytest.approx(0.65)
    assert dnn.accuracy_sd == pytest.approx(0.3 / 2**0.5)
    assert dnn.max_accuracy_mean == pytest.approx(0.8)
    assert (dnn.recovered_mean, dnn.recovered_sd) == (1.0, 0.0)
    assert dgn.accuracy_mean == pytest.approx(0.7)
    # 0.6 / 0.5 = 1.2 and 0.8 / 0.8 = 1; the ratio of the means would be 0.7 / 0.65 = 1.077.
    assert dgn.recovered_mean == pytest.approx(1.1)
    assert dgn.recovered_sd == pytest.approx(0.2 / 2**0.5)
    assert dgn.seconds_mean == 4.0
    assert (dgn.n, dgn.n_pairs, dgn.n_diverged, dgn.seeds) == (2, 2, 0, (0, 1))
    assert dgn.parameters == run_record("dgn").parameters


def test_diverged_runs_count_in_nothing():
    records = [*RECORDS, diverged(run_record("dnn", 2)), _run("dgn", 2, 0.1)]
    dnn, dgn = summarise(records)
    assert (dnn.n, dnn.n_diverged, dnn.accuracy_mean) == (2, 1, pytest.approx(0.65))
    assert (dgn.n, dgn.n_pairs) == (3, 2)
    assert dgn.recovered_mean == pytest.approx(1.1)
    assert dgn.accuracy_mean == pytest.approx(0.5)


def test_without_a_dnn_nothing_is_recovered():
    (row,) = summarise([_run("dgn", 0, 0.5), _run("dgn", 1, 0.7)])
    assert (row.recovered_mean, row.recovered_sd, row.n_pairs) == (None, None, 0)


def test_a_dnn_that_learnt_nothing_is_no_reference():
    _, row = summarise([_run("dnn", 0, 0.0), _run("dgn", 0, 0.5)])
    assert (row.recovered_mean, row.n_pairs) == (None, 0)


def test_one_run_has_no_deviation():
    _, row = summarise([_run("dnn", 0, 0.8), _run("dgn", 0, 0.4)])
    assert (row.accuracy_sd, row.recovered_mean, row.recovered_sd) == (None, 0.5, None)


def test_all_diverged():
    (row,) = summarise([diverged(run_record("dgn", seed)) for seed in range(2)])
    assert (row.n, row.n_diverged) == (0, 2)
    assert row.accuracy_mean is row.max_accuracy_mean is row.seconds_mean is None


def test_settings_are_apart():
    records = [
        _run("dnn", 0, 0.5),
        _run("dgn", 0, 0.5),
        _run("dgn", 0, 0.5, architecture="c4gap"),
        _run("dgn", 0, 0.5, width=3),
        _run("dgn", 0, 0.5, data="mnist"),
    ]
    rows = summarise(records)
    assert [(row.data, row.architecture, row.width, row.kind) for row in rows] == [
        ("digits", "fc", 256, "dnn"),
        ("digits", "fc", 256, "dgn"),
        ("digits", "c4gap", 256, "dgn"),
        ("digits", "fc", 3, "dgn"),
        ("mnist", "fc", 256, "dgn"),
    ]
    assert [row.n_pairs for row in rows] == [1, 1, 0, 0, 0]


@pytest.mark.parametrize(
    ("classes", "accuracy", "marked"),
    [
        (10, 0.19, True),
        (10, 0.21, False),
        (100, 0.019, True),
        (100, 0.021, False),
        (None, 0.1, False),
    ],
)
def test_recovered_near_chance_is_marked(classes, accuracy, marked):
    config = {} if classes is None else {"classes": classes}
    runs = [_run(kind, 0, accuracy, config=config) for kind in ("dnn", "dlgn")]
    dnn, dlgn = summarise(runs)
    mark = " (near chance)" if marked else ""
    assert (dnn.recovered, dlgn.recovered) == (f"100.00{mark}", f"100.00{mark}")
    assert f"| 100.00{mark} |" in to_markdown(summary_table(runs))


def test_order_of_seeds_does_not_matter():
    rows = {row.kind: row for row in summarise(RECORDS)}
    assert {row.kind: row for row in summarise(RECORDS[::-1])} == rows


def test_the_same_run_twice_is_refused():
    with pytest.raises(RunError, match="two of 'dgn' with seed 1"):
        summarise([*RECORDS, RECORDS[-1]])


def test_nothing_gives_nothing():
    assert summarise([]) == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_name(kind):
    name = kind_name(kind)
    assert name.startswith(kind.removesuffix("-ones").upper())
    assert name.endswith(", ones") == kind.endswith("-ones")


def test_table():
    rows = summarise([*RECORDS, diverged(run_record("dlgn", 0))])
    lines = format_summary(rows).splitlines()
    header, _, dnn, dgn, dlgn = lines
    assert " ".join(header.split()) == "network accuracy % recovered % parameters seconds runs"
    assert dnn.split()[:4] == ["DNN", "65.00", "±", "21.21"]
    assert "110.00 ± 14.14" in dgn
    assert "216,330" in dnn
    assert dlgn.endswith("0 (1 diverged)")
    for column in ("accuracy %", "recovered %", "parameters"):
        end = header.index(column) + len(column)
        assert all(line[end - 1] != " " and line[end] == " " for line in lines[1:])


def test_percent():
    assert percent(1.0, 0.0) == "100.00 ± 0.00"
