"""Properties proved here.

1. The verdict follows from what was found and from the size of the runs, and from nothing else.
2. A claim without a run, or with data that cannot tell, is not tested at size.
3. The data nearest to the paper's give the row; data that disagree stand below it, others do not.
4. Every listed claim holds, and does not, on records that differ in what it is about alone.
5. The committed records give the numbers that are computed here from their text.
6. The landing page has the first rows of the table, and a page without marks stays as it is.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dualview.experiments.claims import (
    CONTRADICTED,
    CONTRADICTED_SMALL,
    REPRODUCED,
    SMALL,
    UNTESTED,
    Claim,
    Finding,
    Part,
    setting_of,
    verdict,
    verdict_rows,
)
from dualview.experiments.collected import read_collected
from dualview.experiments.experiment import Experiment, plan_in
from dualview.experiments.registry import EXPERIMENTS
from dualview.experiments.results_page import (
    BEGIN,
    END,
    FIRST_ROWS,
    parts_of,
    read_theory,
    verdicts,
    with_verdicts,
)
from dualview.training import SettingsError
from tests.record_cases import diverged, run_record

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("holds", "faithful", "words"),
    [
        (True, True, REPRODUCED),
        (False, True, CONTRADICTED),
        (True, False, SMALL),
        (False, False, CONTRADICTED_SMALL),
        (None, True, UNTESTED),
        (None, False, UNTESTED),
    ],
)
def test_the_verdict(holds, faithful, words):
    assert verdict(Finding("90 %", holds, "one run"), faithful=faithful) == words


def part(name: str, score: float, *, faithful: bool = False) -> Part:
    return Part(name, (run_record(test_accuracy=score),), faithful)


def good(records) -> Finding | None:
    """Better than one half; a score of 0 is no run at all, one above 0.9 tells nothing."""
    score = records[0].test_accuracy
    return Finding(f"{score}", None if score > 0.9 else score > 0.5, "s") if score else None


GOOD = Claim("it is good", "yes (a paper)", good)


def test_no_run_and_data_that_cannot_tell():
    row = ("it is good", UNTESTED, "–", "yes (a paper)", "no run")
    assert verdict_rows(GOOD, []) == verdict_rows(GOOD, [part("none", 0.0)]) == [row]
    assert verdict_rows(GOOD, [part("easy", 0.95)]) == [
        ("it is good", UNTESTED, "0.95", "yes (a paper)", "easy: s")
    ]
    assert verdict_rows(GOOD, [part("easy", 0.95), part("hard", 0.6)]) == [
        ("it is good", SMALL, "0.6", "yes (a paper)", "hard: s")
    ]


def test_what_disagrees_stands_below():
    parts = [part("large", 0.6, faithful=True), part("b", 0.7), part("c", 0.4), part("d", 0.8)]
    assert verdict_rows(GOOD, parts) == [
        ("it is good", REPRODUCED, "0.6", "yes (a paper)", "large: s"),
        ("", CONTRADICTED_SMALL, "0.4", "", "c: s"),
    ]


def test_networks_of_one_data_set_that_disagree():
    both = Finding("0.6", True, "a"), Finding("0.4", False, "b")
    claim = replace(GOOD, find=lambda records: both)
    assert [row[1:3] for row in verdict_rows(claim, [part("large", 0.6)])] == [
        (SMALL, "0.6"),
        (CONTRADICTED_SMALL, "0.4"),
    ]


def test_the_best_data_first():
    sizes = {"digits": 1_000, "cifar-10": 45_000, "digits-paper": 1_000, "cifar-100": 45_000}
    by_data = {name: [run_record(n_train=size)] for name, size in sizes.items()}
    folders = [part.folder for part in parts_of(by_data)]
    assert folders == ["digits-paper", "cifar-10", "cifar-100", "digits"]
    assert [part.faithful for part in parts_of(by_data)] == [True, False, False, False]


def test_settings_in_words():
    records = [run_record(epochs=1), run_record(seed=1, epochs=3, architecture="mine", width=None)]
    assert setting_of(records) == "FC of width 256, mine; 1 to 3 epochs; 2 seeds"
    assert setting_of(records[:1]) == "FC of width 256; 1 epoch; 1 seed"


def test_values_that_cannot_be_meant():
    with pytest.raises(SettingsError, match="text"):
        Claim("", "yes", good)
    with pytest.raises(SettingsError, match="find"):
        Claim("it is good", "yes", "good")
    with pytest.raises(SettingsError, match="claims: expected claims"):
        Experiment("a", "A", "b", "c", "d", "digits", plan_in(""), list, claims=("good",))


def found(name: str, number: int, records) -> Any:
    return EXPERIMENTS[name].claims[number].find(records)


@pytest.mark.parametrize(("number", "data"), [(0, "CIFAR-10"), (1, "CIFAR-100, own split")])
def test_recovered_accuracy(number, data):
    def runs(dlgn: float, dnn: float = 0.9):
        return [
            run_record(kind, data=data, architecture="c4gap", test_accuracy=score)
            for kind, score in (("dnn", dnn), ("dlgn", dlgn), ("dgn", 0.1))
        ]

    (holding,) = found("architectures", number, runs(0.76))
    assert holding.holds  # 0.844
    (falling,) = found("architectures", number, runs(0.75))
    assert not falling.holds
    assert falling.measured == "83.33 % (C4GAP) recovered"
    mixed = [*runs(0.76), *(replace(run, architecture="vgg16") for run in runs(0.75))]
    one, other = found("architectures", number, mixed)
    assert (one.holds, other.holds) == (True, False)
    assert "C4GAP" in one.setting
    assert "C4GAP" not in other.setting
    assert found("architectures", number, runs(0.76)[:1]) == ()
    assert found("architectures", 1 - number, runs(0.76)) == ()


@pytest.mark.parametrize("arch", ["fc", "gconv"])
@pytest.mark.parametrize(
    ("number", "more", "less", "least"),
    [(0, "flnpf", "frnpf-ii", 0.0), (1, "dlnpf", "frnpf-ii", 0.0), (2, "relu", "flnpf", -0.01)],
)
def test_regimes(arch, number, more, less, least):
    number += 3 * (arch == "gconv")

    def runs(change: float):
        return [
            run_record(
                kind,
                seed,
                architecture=arch,
                test_accuracy=0.5 + seed / 10 + (change if kind == more else 0.0),
                config={"optimizer": "adam"},
            )
            for kind in (more, less)
            for seed in (0, 1)
        ]

    assert found("regimes", number, runs(least + 0.002)).holds
    finding = found("regimes", number, runs(least - 0.002))
    assert not finding.holds
    assert f"{100 * least - 0.2:.2f}".replace("-", "−") in finding.measured
    assert "2 seeds" in finding.setting
    assert found("regimes", number, runs(0.1)[:2]) is None
    assert found("regimes", (number + 3) % 6, runs(0.1)) is None


def test_constant_input():
    def runs(ones: float):
        scores = {"dlgn": 0.7, "dlgn-ones": ones, "dgn": 0.7, "dgn-ones": 0.7}
        return [
            run_record(kind, architecture="c4gap", test_accuracy=score)
            for kind, score in scores.items()
        ]

    assert found("invariances", 0, runs(0.695)).holds
    assert not found("invariances", 0, runs(0.685)).holds
    assert "−1.50 (DLGN)" in found("invariances", 0, runs(0.685)).measured
    assert found("invariances", 0, runs(0.7)[:1]) is None


def test_shuffled_gates():
    def runs(shuffled: float):
        built = run_record("dlgn", architecture="c4gap", test_accuracy=0.7)
        other = replace(built, test_accuracy=shuffled, config={"gate_order": [1, 0, 2, 3]})
        return [built, other]

    assert found("invariances", 1, runs(0.695)).holds
    assert not found("invariances", 1, runs(0.685)).holds
    assert found("invariances", 1, runs(0.7)[:1]) is None


def test_gates_in_the_making():
    def runs(first: float, last: float):
        return [
            run_record(
                "weights",
                architecture="gconv",
                test_accuracy=score,
                config={"stage": stage, "gates_epochs": 5 * stage},
            )
            for stage, score in enumerate((first, last))
        ]

    assert found("gate-learning", 0, runs(0.6, 0.7)).holds
    assert found("gate-learning", 0, runs(0.7, 0.6)).holds is False
    assert found("gate-learning", 0, runs(0.96, 0.95)).holds is None
    assert found("gate-learning", 0, runs(0.6, 0.7)[:1]) is None


def test_falling_complexity():
    def run(last: float, kind: str = "dnn"):
        return run_record(kind, measurements={"complexity": [400.0, last]})

    assert found("alignment", 0, [run(200.0)]).holds
    assert (
        "to 0.50 of its start; it fell in 1 of 1 runs"
        in found("alignment", 0, [run(200.0)]).measured
    )
    assert not found("alignment", 0, [run(200.0), replace(run(500.0), seed=1)]).holds
    assert found("alignment", 0, [run(200.0, "dlgn")]) is None
    assert found("alignment", 0, [diverged(run(200.0))]) is None


def test_pruning():
    def run(paths: float, bound: float = 20.0):
        kept = {"shares": [0.0, 0.5], "paths": [0.9, paths], "size": [0.9, 0.6]}
        kept |= {"balanced size": [0.9, 0.6], "change": [0.0, 2.0], "bound": [0.0, bound]}
        return run_record("dnn", measurements=kept)

    assert found("pruning", 0, [run(0.6)]).holds
    assert not found("pruning", 0, [run(0.59)]).holds
    assert "59.0 against 60.0 % (FC, DNN)" in found("pruning", 0, [run(0.59)]).measured
    assert found("pruning", 1, [run(0.6)]).holds
    assert "10^1 to 10^1 times" in found("pruning", 1, [run(0.6)]).measured
    assert not found("pruning", 1, [run(0.6, bound=1.9)]).holds
    assert found("pruning", 0, [run_record()]) is found("pruning", 1, [run_record()]) is None


def test_spread_of_the_ntk():
    def runs(formula: float):
        kept = {"spread": [0.4, 0.6], "spread_error": [0.02, 0.02], "formula": [formula] * 2}
        wide = {name: [value / 2 for value in values] for name, values in kept.items()}
        return [
            run_record("dgn", width=width, measurements=measurements)
            for width, measurements in ((8, kept), (32, wide))
        ]

    assert found("width", 0, runs(0.57)).holds
    assert not found("width", 0, runs(0.59)).holds
    measured = found("width", 0, runs(0.57)).measured
    assert measured.startswith("57 % at width 8, 28 % at width 32")
    assert "within 3.5 standard errors" in measured
    assert found("width", 0, [run_record("dgn", measurements={"examples": 0})]) is None


def committed() -> dict[str, tuple[str, ...]]:
    collected = read_collected(ROOT / "results")
    parts = {name: parts_of(by_data) for name, by_data in collected.items()}
    table = verdicts(parts, EXPERIMENTS, read_theory(ROOT / "results"))
    return {row[0]: row for row in table.rows}


def test_the_committed_records():
    rows = committed()
    folder = ROOT / "results" / "architectures" / "cifar-10"
    dnn, dlgn = (
        json.loads((folder / f"c6white-{kind}-seed0.json").read_text())["test_accuracy"]
        for kind in ("dnn", "dlgn")
    )
    row = rows["A DLGN keeps more than 83.5 % of the DNN’s accuracy on CIFAR-10"]
    assert f"{100 * dlgn / dnn:.2f}" in row[2]
    assert row[1] == (SMALL if dlgn / dnn > 0.835 else CONTRADICTED_SMALL)
    theory = json.loads((ROOT / "results" / "theory.json").read_text())["statements"]
    held = sum(statement["verdict"].startswith("holds") for statement in theory)
    (first,) = (row for row in rows.values() if f"{held} of {len(theory)} statements" in row[2])
    assert first[1] == (REPRODUCED if held == len(theory) else CONTRADICTED)


def test_the_landing_page():
    text = (ROOT / "docs" / "index.md").read_text()
    collected = read_collected(ROOT / "results")
    parts = {name: parts_of(by_data) for name, by_data in collected.items()}
    table = verdicts(parts, EXPERIMENTS, read_theory(ROOT / "results"))
    assert with_verdicts(text, table) == text, "run `dualview results`"
    shown = text.partition(BEGIN)[2].partition(END)[0]
    assert shown.count("\n|") == FIRST_ROWS + 2
    for row in table.rows[:FIRST_ROWS]:
        assert row[0] in shown
    assert with_verdicts("# Other\n", table) == "# Other\n"
