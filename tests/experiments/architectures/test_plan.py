"""Properties proved here.

1. Which architectures are planned by preset and size of the data, or asked for, and of which
   kinds.
2. The widened DNN has the parameters closest to the DLGN's of all widths; its records stand beside
   the narrow DNN's, with its own width in the config.
3. Recovered accuracies are divided seed by seed, by the DNN's and by the wide DNN's.
4. The tables have a row for each kind of each architecture, in order; the claim stands beside the
   DLGN's; parameters and times are the records', and ratios the DNN's.
5. Missing kinds and diverged runs leave “–”, not an error; enlarged images are told of.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from dualview.experiments.architectures import EXPERIMENT
from dualview.experiments.architectures import plan as architectures
from dualview.experiments.architectures.plan import plan
from dualview.experiments.architectures.tables import KINDS, of_wide, tables
from dualview.experiments.experiment import Request
from dualview.experiments.networks import parameters_of_width, width_of_size
from dualview.experiments.recipes import setting
from dualview.training import SettingsError
from tests.experiments.reproduced import few_digits, tiny_records
from tests.record_cases import diverged, run_record

DATA = few_digits(20)
IGNORE_ONES = pytest.mark.filterwarnings("ignore::dualview.errors.DualviewWarning")


@IGNORE_ONES
def test_what_is_planned(tmp_path, monkeypatch):
    def planned(**asked):
        jobs = plan(Request(width=2, seeds=1, **asked), DATA, tmp_path)
        assert [job.kind for job in jobs] == list(KINDS) * (len(jobs) // len(KINDS))
        return list(dict.fromkeys(job.config["arch"] for job in jobs))

    assert planned() == ["c4gap", "vgg16", "resnet20"]
    assert planned(arch="resnet20") == ["resnet20"]
    monkeypatch.setattr(architectures, "is_small", lambda data: False)
    assert planned() == ["c4gap"]
    monkeypatch.setattr(architectures, "IN_PAPER", ("c4gap", "resnet20"))
    assert planned(preset="paper") == ["c4gap", "resnet20"]


def test_unknown_choices(tmp_path):
    with pytest.raises(SettingsError, match="did you mean 'resnet20'"):
        plan(Request(arch="resnet21"), DATA, tmp_path)
    with pytest.raises(SettingsError, match="did you mean 'dnn-wide'"):
        plan(Request(kinds=("dnn-wid",)), DATA, tmp_path)


def test_without_a_dlgn_there_are_dnn_and_dgn(tmp_path):
    jobs = plan(Request(width=4, seeds=2, arch="vit"), DATA, tmp_path)
    assert [(job.kind, job.seed) for job in jobs] == [
        ("dnn", 0),
        ("dgn", 0),
        ("dnn", 1),
        ("dgn", 1),
    ]
    assert jobs[0].config["arch"] == "vit"


def test_some_kinds_seed_by_seed(tmp_path):
    jobs = plan(Request(width=2, seeds=2, kinds=("dlgn", "dnn")), DATA, tmp_path)
    assert [job.seed for job in jobs] == [0] * 6 + [1] * 6
    assert {job.kind for job in jobs} == {"dnn", "dlgn"}


@pytest.mark.parametrize("arch", ["fc", "c4gap", "resnet20"])
@pytest.mark.parametrize("size", [1, 500, 12_345, 30_000])
def test_the_closest_width(arch, size):
    one = setting("trial", arch, Request(), DATA)
    settings = replace(one.comparison, batch_norm=None)
    found = width_of_size(settings, one.data, size)
    distance = {w: abs(parameters_of_width(settings, one.data, w) - size) for w in range(1, 80)}
    assert distance[found] == min(distance.values())


def test_the_wide_network_is_as_large_as_the_dlgn():
    records = {(r.architecture, r.kind): r for r in tiny_records("architectures")}
    for arch in ("c4gap", "vgg16", "resnet20"):
        narrow, wide, dlgn = (records[arch, kind] for kind in ("dnn", "dnn-wide", "dlgn"))
        assert narrow.width == wide.width == 4
        assert wide.config["own_width"] > 4
        assert narrow.parameters < wide.parameters
        ratio = wide.parameters / dlgn.parameters
        assert 2 / 3 < ratio < 3 / 2  # widths are few at this size


def _records():
    accuracies = {
        "dnn": (0.8, 0.5),
        "dnn-wide": (0.9, 0.75),
        "dgn": (0.88, 0.6),
        "dlgn": (0.6, 0.3),
    }
    return [
        run_record(
            kind,
            seed,
            experiment="architectures",
            architecture="c4gap",
            width=16,
            test_accuracy=accuracy,
            parameters=100 if kind == "dnn" else 200,
            config={"own_width": 23} if kind == "dnn-wide" else {},
        )
        for kind, pair in accuracies.items()
        for seed, accuracy in enumerate(pair)
    ]


def test_rows_by_hand():
    accuracy, cost = tables(_records())
    rows = {row[0]: row[1:] for row in accuracy.rows}
    assert list(rows) == ["C4GAP, DNN", "C4GAP, DNN, wide", "C4GAP, DGN", "C4GAP, DLGN"]
    assert rows["C4GAP, DLGN"][:4] == ("45.00 ± 21.21", "67.50 ± 10.61", "> 83.5", "53.33 ± 18.86")
    assert rows["C4GAP, DGN"][1:4] == ("115.00 ± 7.07", "–", "88.89 ± 12.57")
    sizes = {row[0]: row[1:4] for row in cost.rows}
    assert sizes["C4GAP, DNN, wide"] == ("23", "200", "2.00")
    assert sizes["C4GAP, DLGN"] == ("16", "200", "2.00")
    assert {row[4:] for row in cost.rows} == {("0.5", "1.00")}
    assert of_wide(_records(), "dlgn") == pytest.approx([0.6 / 0.9, 0.3 / 0.75])


def test_unequal_epochs_are_told_of():
    alike = _records()
    assert not any("epochs:" in note for note in tables(alike)[0].notes)
    longer = [replace(r, epochs=12) if r.kind == "dnn" else r for r in alike]
    (note,) = [note for note in tables(longer)[0].notes if "epochs:" in note]
    own = alike[-1].epochs
    assert note == (
        f"C4GAP: not trained for the same epochs: DNN 12, DNN, wide {own}, DGN {own}, DLGN {own}."
    )


def test_missing_and_diverged_runs():
    alone = [record for record in _records() if record.kind == "dlgn"]
    alone[0] = diverged(alone[0], epochs=0)
    accuracy, cost = tables(alone)
    assert accuracy.rows == (
        ("C4GAP, DLGN", "30.00", "–", "> 83.5", "–", accuracy.rows[0][5], "1 (1 diverged)"),
    )
    assert cost.rows[0][3] == cost.rows[0][5] == "–"


def test_enlarged_images_are_told_of():
    accuracy, _ = EXPERIMENT.tables(tiny_records("architectures"))
    assert any("VGG-16 halves its images" in note and "2 × 2" in note for note in accuracy.notes)
    assert len(accuracy.rows) == 15
