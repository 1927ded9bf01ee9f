"""Properties proved here.

1. Learning curves hold one mean line per kind, whose points are the means over finished seeds by
   hand, and one thin line per seed where there are several; epochs count from 1.
2. A diverged run is in no mean; it is dotted to its last finite value; if every run diverged, no
   mean is drawn.
3. Missing validation is refused, unknown metrics and mixed settings too.
4. The stretched scale is used beyond 90 % only, is monotone, and gives 100 % a place.
5. Recovered accuracy pairs seeds with the DNN's; means and deviations drawn and written are those
   that `summarise` gives; the DNN itself has no row; a single seed has no bar.
6. The order of records does not matter; the order of kinds is that of the style table.
"""

from __future__ import annotations

import random
from dataclasses import replace
from statistics import fmean

import numpy as np
import pytest

from dualview.errors import RunError
from dualview.experiments.curves import (
    METRICS,
    STRETCH_ABOVE,
    by_kind,
    is_stretched,
    learning_curves,
    recovered_accuracy,
    recovered_by_seed,
)
from dualview.experiments.summary import kind_name, percent, summarise
from dualview.pages.style import KIND_STYLES, figure_svg
from tests.record_cases import KINDS, comparison, diverged, run_record


def _named(figure) -> dict[str, object]:
    """Label to line, for the lines that have a label."""
    (axes,) = figure.axes
    return {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}


def _texts(figure) -> list[str]:
    (axes,) = figure.axes
    return [text.get_text() for text in axes.texts]


@pytest.mark.parametrize("metric", ["test_accuracy", "train_loss", "train_accuracy", "test_loss"])
def test_mean_lines(metric):
    records = comparison()
    figure = learning_curves(records, metric)
    lines = _named(figure)
    assert list(lines) == [kind_name(kind) for kind in KINDS]
    factor = 100 if METRICS[metric].percent else 1
    for kind in KINDS:
        line = lines[kind_name(kind)]
        curves = [[getattr(e, metric) for e in r.curve] for r in records if r.kind == kind]
        by_hand = [factor * fmean(values) for values in zip(*curves, strict=True)]
        np.testing.assert_allclose(line.get_ydata(), by_hand, rtol=1e-12)
        assert list(line.get_xdata()) == [1, 2, 3, 4, 5, 6]
        assert line.get_color() == KIND_STYLES[kind].light
        assert (line.get_linestyle() == "-") == (not KIND_STYLES[kind].ones)
    assert len(figure.axes[0].lines) == len(KINDS) * (3 + 1)
    assert _texts(figure)[-len(KINDS) :] == [kind_name(kind) for kind in KINDS]


def test_single_seed_has_no_thin_line():
    assert len(learning_curves(comparison(seeds=1)).axes[0].lines) == len(KINDS)


def test_every_style_can_be_drawn():
    figure = learning_curves([run_record(kind) for kind in KIND_STYLES])
    assert list(_named(figure)) == [kind_name(kind) for kind in KIND_STYLES]


def test_diverged_run_is_in_no_mean():
    records = comparison(kinds=("dlgn",))
    without = _named(learning_curves(records[:2]))["DLGN"].get_ydata()
    figure = learning_curves([*records[:2], diverged(records[2], epochs=3)])
    np.testing.assert_array_equal(_named(figure)["DLGN"].get_ydata(), without)
    dotted = [line for line in figure.axes[0].lines if line.get_linestyle() == ":"]
    (cross,) = [line for line in figure.axes[0].lines if line.get_marker() == "x"]
    assert [len(line.get_xdata()) for line in dotted] == [3]
    assert list(cross.get_xdata()) == [3]


def test_value_that_is_not_finite_ends_a_diverged_line():
    record = diverged(run_record(), epochs=3)
    last = replace(record.curve[-1], train_loss=float("nan"))
    figure = learning_curves([replace(record, curve=(*record.curve[:2], last))], "train_loss")
    (cross,) = [line for line in figure.axes[0].lines if line.get_marker() == "x"]
    assert list(cross.get_xdata()) == [2]
    assert _named(figure) == {}


def test_unequal_lengths_are_averaged_where_all_have_values():
    figure = learning_curves([run_record(seed=0, epochs=6), run_record(seed=1, epochs=4)])
    assert list(_named(figure)["DLGN"].get_xdata()) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("records", "metric", "message"),
    [
        (comparison(), "validation_loss", r"value of validation_loss, got none"),
        (comparison(), "accuracy", r"train_loss.*got 'accuracy'"),
        ([], "train_loss", "got none"),
        ([run_record(), run_record(seed=1, data="other")], "train_loss", r"one experiment.*got 2"),
        ([run_record("cnn")], "train_loss", "'cnn'"),
    ],
    ids=["no validation", "unknown metric", "no records", "mixed settings", "unknown kind"],
)
def test_refusals(records, metric, message):
    with pytest.raises(RunError, match=message):
        learning_curves(records, metric)


def test_validation_is_drawn_where_there_is_one():
    record = run_record()
    curve = tuple(replace(epoch, validation_accuracy=0.5) for epoch in record.curve)
    line = _named(learning_curves([replace(record, curve=curve)], "validation_accuracy"))["DLGN"]
    assert set(line.get_ydata()) == {50.0}


def _of_accuracy(*accuracies: float):
    record = run_record(epochs=len(accuracies))
    curve = [
        replace(epoch, test_accuracy=accuracy)
        for epoch, accuracy in zip(record.curve, accuracies, strict=True)
    ]
    return replace(record, curve=tuple(curve))


def test_scale_is_stretched_only_near_100():
    low, high = _of_accuracy(0.1, STRETCH_ABOVE / 100), _of_accuracy(0.1, 0.98)
    assert learning_curves([low]).axes[0].get_yscale() == "linear"
    assert learning_curves([high]).axes[0].get_yscale() == "function"
    assert not is_stretched("test_accuracy", [low])
    assert is_stretched("test_accuracy", [low, high])
    assert not is_stretched("train_loss", [high])


def test_stretched_scale_is_monotone_and_has_a_place_for_100():
    (axes,) = learning_curves([_of_accuracy(0.5, 0.98, 1.0)]).axes
    heights = axes.transData.transform([(1, y) for y in (20, 50, 90, 98, 99, 99.5, 100)])[:, 1]
    assert (np.diff(heights) > 0).all()
    bottom, top = axes.transAxes.transform([(0, 0), (0, 1)])[:, 1]
    assert bottom < heights[1] < heights[-1] < top
    assert 100 in axes.get_yticks()
    step, next_step = heights[3] - heights[2], heights[4] - heights[3]
    assert step / next_step == pytest.approx(np.log(5) / np.log(2), rel=0.1)


def test_recovered_is_paired_by_seed():
    records = comparison()
    score = {(r.kind, r.seed): r.test_accuracy for r in records}
    recovered = recovered_by_seed(records)
    assert list(recovered) == list(KINDS[1:])
    for kind in KINDS[1:]:
        assert recovered[kind] == {s: score[kind, s] / score["dnn", s] for s in range(3)}


def test_recovered_leaves_out_seeds_without_a_partner():
    records = comparison(kinds=("dnn", "dlgn"))
    records[0] = diverged(records[0])
    assert list(recovered_by_seed(records)["dlgn"]) == [1, 2]
    assert recovered_by_seed(comparison(kinds=("dlgn",))) == {"dlgn": {}}


def test_recovered_figure_shows_the_summary():
    records = comparison()
    records[-1] = diverged(records[-1])
    figure = recovered_accuracy(records)
    lines, texts = _named(figure), _texts(figure)
    recovered = recovered_by_seed(records)
    for row in summarise(records):
        if row.kind == "dnn":
            assert kind_name(row.kind) not in lines
            continue
        points = lines[kind_name(row.kind)].get_xdata()
        np.testing.assert_allclose(points, [100 * v for v in recovered[row.kind].values()])
        assert percent(row.recovered_mean, row.recovered_sd) in texts
        assert fmean(recovered[row.kind].values()) == pytest.approx(row.recovered_mean)
        bar = next(
            line
            for line in figure.axes[0].lines
            if line.get_color() == KIND_STYLES[row.kind].light and len(line.get_xdata()) == 2
        )
        ends = [100 * (row.recovered_mean + sign * row.recovered_sd) for sign in (-1, 1)]
        np.testing.assert_allclose(bar.get_xdata(), ends)
    assert any("83.5 %" in text for text in texts)
    verticals = {line.get_xdata()[0] for line in figure.axes[0].lines[-2:]}
    assert verticals == {100, 83.5}


def test_recovered_figure_of_one_seed_has_no_bar():
    figure = recovered_accuracy(comparison(seeds=1))
    assert len(figure.axes[0].lines) == len(KINDS) - 1 + 2
    assert not any("±" in text for text in _texts(figure))


@pytest.mark.parametrize("kinds", [("dgn", "dlgn"), ("dnn",)], ids=["no DNN", "only DNN"])
def test_recovered_figure_needs_a_pair(kinds):
    with pytest.raises(RunError, match="train the DNN with the seeds"):
        recovered_accuracy(comparison(kinds))


def test_order_of_records_does_not_matter():
    records = comparison()
    shuffled = records.copy()
    random.Random(0).shuffle(shuffled)
    assert list(by_kind(shuffled)) == list(KINDS)
    for draw in (learning_curves, recovered_accuracy):
        assert figure_svg(draw(records), "a", "x") == figure_svg(draw(shuffled), "a", "x")
