"""Properties proved here.

1. The committed page says what the committed records give (and nothing where there are none).
2. The page has, for each experiment and data set, its question, every cell of its tables, its
   figures, which exist, and a line on where the numbers come from.
3. Comments are taken in as they are written, under their experiment.
4. The same records give the same files; without records the page says so.
5. Names of data, architectures and machines are text on the page, whatever they are, and lead no
   file out of its folder.
"""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from pathlib import Path

import pytest

from dualview.experiments.collected import collect, read_collected
from dualview.experiments.experiment_report import write_outputs
from dualview.experiments.records import save_record
from dualview.experiments.registry import EXPERIMENTS
from dualview.experiments.results_page import (
    EMPTY,
    PAGE,
    _data_name,
    provenance_line,
    read_theory,
    results_text,
    write_results,
)
from tests.experiments.test_collected import run_folder
from tests.record_cases import comparison, run_record

ROOT = Path(__file__).parents[2]


def test_the_committed_page_is_what_the_records_give():
    committed = ROOT / "docs" / PAGE
    theory = read_theory(ROOT / "results")
    text = results_text(read_collected(ROOT / "results"), ROOT / "docs", theory=theory)
    if not committed.exists():
        assert EMPTY in text, "there are records, and no page: run `dualview results`"
    else:
        assert committed.read_text(encoding="utf-8") == text


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Records of two experiments, one of them in two presets."""
    path = tmp_path_factory.mktemp("kept")
    for name, preset in (
        ("architectures", "cpu"),
        ("architectures", "paper"),
        ("shallow", "cpu"),
    ):
        collect(run_folder(path / "runs" / name / preset, name, preset), path / "results")
    return path / "results"


def test_what_the_page_has(results, tmp_path):
    page, *figures = write_results(results, tmp_path)
    text = page.read_text()
    assert page == tmp_path / PAGE
    for name in ("architectures", "shallow"):
        experiment = EXPERIMENTS[name]
        assert text.count(f"## {experiment.title}\n") == 1
        assert experiment.question in text
    for by_data in read_collected(results).values():
        for records in by_data.values():
            for table in EXPERIMENTS[records[0].experiment].tables(records):
                for row in table.rows:
                    assert "| " + " | ".join(row) + " |" in text
    assert "### On digits (paper)\n" in text
    named = set(re.findall(r"\]\((images/.*?\.svg)\)", text))
    assert named == {path.relative_to(tmp_path).as_posix() for path in figures}
    assert all(path.read_text().startswith("<?xml") for path in figures)
    assert text.count("Where this comes from: 2 runs, 1 seed;") == 3


def test_comments(results, tmp_path):
    (tmp_path / "discussion").mkdir()
    (tmp_path / "discussion" / "architectures.md").write_text("It **agrees**.\n")
    text = results_text(read_collected(results), tmp_path)
    before, after = text.split("\n\nIt **agrees**.\n")
    assert EXPERIMENTS["architectures"].title in before
    assert EXPERIMENTS["shallow"].title not in before
    assert EXPERIMENTS["shallow"].title in after


def test_the_same_again(results, tmp_path):
    files = [
        {p.name: p.read_bytes() for p in write_results(results, tmp_path / name)}
        for name in ("a", "b")
    ]
    assert files[0] == files[1]


def test_no_records(tmp_path):
    (page,) = write_results(tmp_path / "nowhere", tmp_path / "docs")
    assert page.read_text().endswith(EMPTY)


def test_provenance_line():
    records = comparison(("dnn", "dlgn"), 2)
    other = replace(records[0].provenance, device="a GPU", commit="abc+changes")
    records[1] = replace(records[1], provenance=other, epochs=9)
    line = provenance_line(records)
    for text in (
        "4 runs, 2 seeds",
        "epochs: 6 and 9",
        "1,297 to train, 360 to test",
        "device: cpu (2 threads) and a GPU",
        "machine: Linux x86_64, 2 cores",
        "commit 0123456789ab and abc with uncommitted changes",
        "finished 2030-01-02.",
    ):
        assert text in line
    alone = provenance_line([run_record(status="diverged")])
    assert "1 run (1 diverged), 1 seed;" in alone


@pytest.mark.parametrize(
    ("folder", "data", "heading"),
    [
        ("digits", "digits", "digits"),
        ("digits-paper", "digits", "digits (paper)"),
        ("cifar-10-jpeg-re-encoding", "CIFAR-10, JPEG re-encoding", "CIFAR-10, JPEG re-encoding"),
        ("mnist-paper", "mnist, 4 against 7", "mnist (paper)"),
        ("mnist-paper", "MNIST, 4 against 7", "MNIST (paper)"),
        ("cifar-100-own-split", "CIFAR-100, own split", "CIFAR-100, own split"),
        ("cifar-100-own-split", "CIFAR-100, own split, a against b", "CIFAR-100, own split"),
        ("elsewhere", "digits", "elsewhere"),
    ],
)
def test_headings_of_data(folder, data, heading):
    assert _data_name(folder, [run_record("dnn", 0, data=data)]) == heading


HOSTILE = "d<img src=x onerror=alert(1)> | [a](javascript:b) ../../x =1+1"


def test_names_from_elsewhere_are_text(tmp_path):
    origin = replace(run_record().provenance, machine=HOSTILE, device=HOSTILE, commit=HOSTILE)
    records = [
        replace(
            run_record(kind),
            experiment="architectures",
            data=HOSTILE,
            architecture=HOSTILE,
            config={**run_record(kind).config, "optimizer": HOSTILE},
            provenance=origin,
        )
        for kind in ("dnn", "dlgn")
    ]
    kept = tmp_path / "results" / "architectures" / "d<img src=x onerror=alert(1)>"
    for number, record in enumerate(records):
        kept.mkdir(parents=True, exist_ok=True)
        save_record(record, kept / f"{number}.json")
    before = {path for path in tmp_path.rglob("*") if path.is_dir()}
    page, *figures = write_results(tmp_path / "results", tmp_path / "docs")
    text = page.read_text()
    assert "<img" not in text
    assert "[a](" not in text
    assert text.count("&lt;img src=x onerror=alert(1)> \\| \\[a\\](javascript:b)") > 5
    assert figures
    outputs = tmp_path / "run"
    outputs.mkdir()
    report = write_outputs(EXPERIMENTS["architectures"], records, outputs)
    assert "<img" not in report.read_text()
    for path in [*figures, *(outputs / "figures").iterdir(), *(outputs / "tables").iterdir()]:
        assert path.exists()
        if path.suffix in (".svg", ".md"):
            assert "<img" not in path.read_text()
        if path.suffix == ".csv":
            with path.open(newline="") as stream:
                assert not any(c.startswith("=") for row in csv.reader(stream) for c in row)
    after = {path for path in tmp_path.rglob("*") if path.is_dir()}
    made = {path.relative_to(tmp_path).as_posix() for path in after - before}
    assert made == {"docs", "docs/images", "run", "run/figures", "run/tables"}
