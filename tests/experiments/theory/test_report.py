"""Properties proved here.

1. The tables are the records, section by section in the theory's order; behind the fold stand each
   statement's words, both ways of computing it, its source and full verdict.
2. The headline counts the statements that hold; those that fail are named in a frame, with both
   values, and only then.
3. The file stands alone: balanced HTML, no reference that leaves it, no script, unique ids.
4. Hostile strings in any field come out as text; the same record gives the same bytes.
5. A record without curves has no figure; one with curves has both figures and their numbers.
6. Another report can take the sections in.
"""

from __future__ import annotations

import re
from dataclasses import fields, replace

import pytest

from dualview.experiments.report import report_page
from dualview.experiments.theory.report import (
    headline,
    theory_page,
    theory_sections,
    write_theory_report,
)
from dualview.experiments.theory.run import SECTIONS
from dualview.experiments.theory.text import bound, number, share, short_verdict
from dualview.pages.page import render
from tests.experiments.theory.cases import (
    drawn_record,
    failed_record,
    statement_record,
    theory_record,
)
from tests.html_reading import ReadPage
from tests.record_cases import comparison

HOSTILE = "<script>alert(1)</script><img src=https://example.org/x>\"'&{{ 7 * 7 }}"


def _read(record) -> ReadPage:
    return ReadPage(render(theory_page(record)))


@pytest.fixture(scope="module")
def record():
    return theory_record()


@pytest.fixture(scope="module")
def read(record):
    return _read(record)


def test_tables_are_the_records(record, read):
    tables = [table for table in read.tables if table[0][0] == "Statement" and len(table[0]) == 7]
    assert len(tables) == len(SECTIONS)
    rows = [row for table in tables for row in table[1:]]
    assert rows == [
        [
            r.title,
            number(r.left),
            number(r.right),
            share(r.error),
            bound(r),
            f"{r.n:,} {r.unit}",
            short_verdict(r),
        ]
        for r in record.statements
    ]


def test_words_stand_behind_the_fold(record, read):
    body = read.texts["main"][0]
    for r in record.statements:
        verdict = r.verdict.replace("holds", "Holds")
        for text in (r.text, f"Left: {r.left_is}.", f"Right: {r.right_is}.", verdict):
            assert text in body
        assert f"Source: {r.source}." in body
        assert r.details in body


def test_headings_are_the_sections(read):
    expected = [title if key == "width" else f"{key} {title}" for key, title in SECTIONS.items()]
    assert [heading.strip() for heading in read.texts["h2"]][1:-1] == expected


def test_success(record, read):
    assert read.texts["h1"][0].strip() == headline(record)
    assert headline(record) == f"All {len(record.statements)} statements of the theory hold"
    assert "The numbers contradict" not in read.texts["main"][0]
    assert "1.6 standard errors" in read.texts["header"][0]
    assert "3e-16" in read.texts["header"][0]
    how_many = r"(?:(\d+) (?:statements are|are means|say that)|wider tolerance: (\d+))"
    numbers = ["".join(found) for found in re.findall(how_many, read.texts["header"][0])]
    assert sum(map(int, numbers)) == len(record.statements)


@pytest.mark.parametrize(("names", "verb"), [(["a"], "does"), (["a", "b"], "do")])
def test_failure(names, verb):
    record = theory_record(*(failed_record(name) for name in names))
    read = _read(record)
    count = len(record.statements)
    assert headline(record) == f"{len(names)} of {count} statements {verb} not hold"
    items = read.texts["li"]
    for name in names:
        text = f"title of {name}: left way of {name} gives 2, right way of {name} gives 1 (pair"
        assert any(text in item for item in items)
    assert "DOES NOT HOLD" in read.texts["main"][0]


def test_figures(read, record):
    assert read.tags.count("svg") == 2
    numbers = [table for table in read.tables if "Estimates" in table[0]]
    assert len(numbers) == 2
    assert [row[0] for row in numbers[0][1:5]] == [f"label dense, {n}" for n in (8, 16, 32, 64)]
    assert numbers[0][1][1:] == ["92", "35.4", "31.8 ± 10.6", "1.00"]
    assert _read(replace(record, curves=())).tags.count("svg") == 0


def test_provenance(record, read):
    values = read.texts["dd"]
    for value in (record.provenance.commit, record.provenance.machine, "3", "full", "float64"):
        assert value in values
    assert "quick: fewer draws, fewer widths" in _read(theory_record(quick=True)).texts["dd"]
    assert [row[0] for row in read.tables[-1][1:]] == [r.name for r in record.statements]


def test_no_commit():
    record = theory_record()
    none = replace(record, provenance=replace(record.provenance, commit=""))
    assert "none: the code did not run from a checkout" in _read(none).texts["dd"]


def test_file_stands_alone(record, tmp_path):
    path = write_theory_report(record, tmp_path / "new" / "theory.html")
    read = ReadPage(path.read_text(encoding="utf-8"))
    assert all(reference.startswith("#") for reference in read.references)
    assert {reference.removeprefix("#") for reference in read.references} <= set(read.ids)
    assert len(set(read.ids)) == len(read.ids)
    assert "script" not in read.tags
    again = write_theory_report(record, tmp_path / "again.html")
    assert again.read_bytes() == path.read_bytes()


def test_hostile_strings_are_text():
    record = theory_record()
    texts = {
        field.name: HOSTILE
        for field in fields(record.statements[0])
        if isinstance(getattr(record.statements[0], field.name), str)
        and field.name not in ("section", "comparison")
    }
    statements = (statement_record(**{**texts, "section": "1"}), drawn_record(details=HOSTILE))
    provenance = type(record.provenance)(*[HOSTILE] * len(fields(record.provenance)))
    curves = tuple(replace(c, label=HOSTILE, network=HOSTILE) for c in record.curves)
    bad = replace(record, statements=statements, provenance=provenance, curves=curves)
    read = _read(bad)
    assert not {"script", "img"} & set(read.tags)
    assert all(reference.startswith("#") for reference in read.references)
    assert HOSTILE in read.texts["main"][0]


def test_missing_numbers_are_dashes():
    gone = {"left": None, "right": None, "error": None, "bound": None}
    record = replace(theory_record(), statements=(failed_record(**gone),))
    read = _read(record)
    assert read.tables[0][1][1:5] == ["–", "–", "–", "≤ –"]
    assert headline(record) == "1 of 1 statements does not hold"


def test_sections_go_into_another_report(record):
    page = report_page(comparison(), "A title", theory_sections(record))
    titles = [heading.strip() for heading in ReadPage(render(page)).texts["h2"]]
    assert "4.2 Neural tangent kernel at finite width" in titles
