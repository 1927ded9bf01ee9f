"""Properties proved here.

1. A row of another length is refused.
2. Text is aligned: all lines of the table are as long as its rule or shorter, columns stand one
   below another, words to the left and figures to the right, notes are wrapped.
3. Markdown has one line for each row, and bars and line breaks in cells do not break it.
4. CSV read back gives columns and rows, whatever is in the cells.
"""

from __future__ import annotations

import csv
import io

import pytest

from dualview.experiments.tables import NOTE_WIDTH, Table, to_csv, to_markdown, to_text

HOSTILE = Table(
    "hostile",
    "A title",
    ("what", "value, %"),
    (("a|b", '1,0 "x"'), ("two\nlines", "±")),
    ("word " * 60,),
)


def test_rows_fit_the_columns():
    with pytest.raises(ValueError, match=r"t: expected 2 cells \(a, b\), got 1"):
        Table("t", "", ("a", "b"), (("x",),))


def test_text():
    table = Table("t", "Title", ("name", "n"), (("a", "1"), ("bcdefg", "100")))
    assert to_text(table).splitlines() == [
        "Title",
        "",
        "name      n",
        "──────  ───",
        "a         1",
        "bcdefg  100",
    ]
    assert all(len(line) <= NOTE_WIDTH for line in to_text(HOSTILE).splitlines())


def test_columns_of_words_stand_to_the_left():
    table = Table("t", "", ("of", "n", "why"), (("a", "1", "so"), ("b", "10", "")), texts=("why",))
    assert to_text(table).splitlines()[2:] == ["of   n  why", "──  ──  ───", "a    1  so", "b   10"]
    assert to_markdown(table).splitlines()[1] == "| --- | ---: | --- |"
    with pytest.raises(ValueError, match=r"expected columns of it in `texts`, got \{'who'\}"):
        Table("t", "", ("of", "n"), (), texts=("who",))


def test_markdown():
    lines = to_markdown(HOSTILE).splitlines()
    assert lines[0] == "| what | value, % |"
    assert lines[1] == "| --- | ---: |"
    assert lines[2] == '| a\\|b | 1,0 "x" |'
    assert lines[3] == "| two lines | ± |"
    assert lines[4] == ""
    assert len(lines) == 6


def test_csv():
    assert [tuple(row) for row in csv.reader(io.StringIO(to_csv(HOSTILE)))] == [
        HOSTILE.columns,
        *HOSTILE.rows,
    ]
