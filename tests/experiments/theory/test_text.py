"""Properties proved here.

1. Every line of a record fits 100 columns, whatever its verdict; columns stand under their names.
2. Numbers that are missing, zero, tiny or large are readable.
3. A statement that fails is in capitals in its line, and named in the summary with both values.
"""

import pytest

from dualview.experiments.theory import text
from dualview.experiments.theory.run import SECTIONS, STATEMENTS
from tests.experiments.theory.cases import (
    drawn_record,
    failed_record,
    statement_record,
    theory_record,
)

LONG = "x" * text.COLUMNS[0]
EXTREME = {"left": -1.234567e-30, "right": -1.23456e30, "error": 1e-30, "bound": 1e-10}
RECORDS = [
    statement_record(title=LONG),
    statement_record(title=LONG, **EXTREME),
    drawn_record(title=LONG),
    drawn_record(title=LONG, error=12.0, bound=0.0999),
    failed_record(title=LONG),
    failed_record(title=LONG, left=None, right=None, error=None, bound=None),
    statement_record(title=LONG, comparison="differ", error=0.45, bound=1e-3),
]


@pytest.mark.parametrize("record", RECORDS)
def test_lines_fit(record):
    line = text.line(record)
    assert len(line) <= 100
    assert line.startswith(LONG + "  ")
    verdict = text.short_verdict(record)
    assert line.endswith(verdict)
    assert len(line) - len(verdict) == sum(text.COLUMNS[:-1]) + 2 * (len(text.COLUMNS) - 1)


def test_header_stands_over_the_columns():
    names, rule = text.header().splitlines()
    assert len(rule) <= 100
    assert [len(part) for part in rule.split("  ")] == list(text.COLUMNS)
    line = text.line(statement_record(title=LONG))
    assert names.index("verdict") == line.index("holds")
    assert names.index("right") + len("right") == line.index("1234.6", 55) + len("1234.6")


def test_headings():
    for section, title in SECTIONS.items():
        assert text.section_heading(section).endswith(title)
    assert {s.section for s in STATEMENTS} == set(SECTIONS)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, "–"), (0.0, "0"), (3e-16, "3e-16"), (5e-4, "5e-04"), (0.034, "3.4 %"), (2.0, "200 %")],
)
def test_shares(value, expected):
    assert text.share(value).replace("2e+02", "200") == expected


def test_bounds_say_which_they_are():
    assert text.bound(statement_record()) == "≤ 1e-10"
    assert text.bound(drawn_record()) == "± 3.4 %"
    assert text.bound(statement_record(comparison="differ", bound=1e-3)) == "≥ 0.1 %"


def test_summary_of_success():
    record = theory_record()
    summary = text.summary(record)
    count = len(record.statements)
    assert f"{count} of {count} statements hold (seed 3, 62 s)" in summary
    assert "does not hold:" not in summary
    assert "width, label dense: error 35 % at 8, 12 % at 64; slope -0.50 ± 0.02" in summary
    assert max(map(len, summary.splitlines())) <= 100


def test_summary_of_failure():
    record = theory_record(failed_record())
    summary = text.summary(record)
    count = len(record.statements)
    assert f"{count - 1} of {count} statements hold" in summary
    assert summary.splitlines()[-1] == (
        "does not hold: title of wrong [wrong]: left way of wrong gives 2, right way of wrong "
        "gives 1 (pair of wrong)"
    )
    assert "DOES NOT HOLD" in text.line(record.failed[0])
