"""Properties proved here.

1. Every experiment leaves its tables as Markdown and CSV, its figures as SVG and PNG, and a page.
2. The page stands alone and shows every cell of every table, the question, the source and the
   figures; drawn again, from records in another order, it is the same.
3. Diverged runs are named with their reason; where all diverged there are no figures, and no error.
4. No records: a clear error, and no file.
"""

from __future__ import annotations

import csv
from dataclasses import replace

import pytest

from dualview.errors import RunError
from dualview.experiments.experiment_report import (
    REPORT,
    caption,
    experiment_page,
    figures_of,
    write_outputs,
)
from dualview.experiments.registry import EXPERIMENTS
from dualview.pages.page import render
from tests.experiments.reproduced import tiny_outputs, tiny_records
from tests.html_reading import ReadPage
from tests.record_cases import comparison, diverged

NAMES = list(EXPERIMENTS)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_left(name):
    page, tables = tiny_outputs(name), EXPERIMENTS[name].tables(tiny_records(name))
    assert page.name == REPORT
    expected = {f"{table.name}.{suffix}" for table in tables for suffix in ("md", "csv")}
    assert {path.name for path in page.with_name("tables").iterdir()} == expected
    for table in tables:
        with (page.with_name("tables") / f"{table.name}.csv").open(encoding="utf-8") as stream:
            assert [tuple(row) for row in csv.reader(stream)] == [table.columns, *table.rows]


@pytest.mark.parametrize("name", NAMES)
def test_the_page(name):
    experiment, records = EXPERIMENTS[name], tiny_records(name)
    tables, figures = experiment.tables(records), figures_of(experiment, records)
    html = tiny_outputs(name).read_text(encoding="utf-8")
    page = ReadPage(html)
    files = {f"{figure}.{suffix}" for figure in figures for suffix in ("svg", "png")}
    assert {path.name for path in tiny_outputs(name).with_name("figures").iterdir()} == files
    for shown, table in zip(page.tables, tables, strict=False):
        assert [tuple(row) for row in shown] == [table.columns, *table.rows]
    text = " ".join(
        word for texts in page.texts.values() for part in texts for word in part.split()
    )
    for sentence in (
        experiment.question,
        experiment.source,
        *(caption(experiment, name) for name in figures),
    ):
        assert " ".join(sentence.split()) in text
    assert "script" not in page.tags
    assert len(set(page.ids)) == len(page.ids)
    assert html == render(experiment_page(experiment, records[::-1], tables, figures))


def _shallow(records):
    return [replace(record, experiment="shallow") for record in records if record.kind != "dgn"]


def test_diverged_runs(tmp_path):
    experiment = EXPERIMENTS["shallow"]
    records = _shallow(comparison(("dnn", "dlgn"), 1))
    records[1] = diverged(records[1], message="the loss is nan; lower the rate")
    html = write_outputs(experiment, records, tmp_path).read_text()
    assert "fc, dlgn, seed 0: the loss is nan; lower the rate" in html
    lost = [diverged(record, epochs=0) for record in records]
    write_outputs(experiment, lost, tmp_path / "lost")
    assert list((tmp_path / "lost" / "figures").iterdir()) == []


def test_no_records(tmp_path):
    with pytest.raises(RunError, match="shallow: expected at least one run record"):
        write_outputs(EXPERIMENTS["shallow"], [], tmp_path / "out")
    assert not (tmp_path / "out").exists()
