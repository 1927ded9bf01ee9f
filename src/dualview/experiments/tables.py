"""Tables of text: `Table`, and its forms for a terminal, Markdown and CSV."""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dualview.files.foreign_text import markdown_text, spreadsheet_text

NOTE_WIDTH = 98
"""Characters in a line of notes in a terminal."""


@dataclass(frozen=True)
class Table:
    """Rows of text cells; the first column names the row, others hold figures but for `texts`.

    Raises:
        ValueError: a row has another number of cells than there are columns, or a column of words
            is none of them.
    """

    name: str
    """For files: "recovered-accuracy"."""
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    """What must be known to read it; a paragraph each."""
    texts: tuple[str, ...] = ()
    """Columns of words, which stand to the left as the first does; figures stand to the right."""

    def __post_init__(self) -> None:
        if unknown := set(self.texts) - set(self.columns):
            raise ValueError(f"{self.name}: expected columns of it in `texts`, got {unknown}")
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(
                    f"{self.name}: expected {len(self.columns)} cells "
                    f"({', '.join(self.columns)}), got {len(row)}: {row}"
                )


def to_text(table: Table) -> str:
    """Title, aligned columns and notes, for a terminal.

    >>> print(to_text(Table("t", "Sizes", ("what", "m"), (("a", "1.50"), ("bc", "12")))))
    Sizes
    <BLANKLINE>
    what     m
    ────  ────
    a     1.50
    bc      12
    """
    lines = align(table.columns, table.rows, table.texts)
    notes = [line for note in table.notes for line in ("", textwrap.fill(note, NOTE_WIDTH))]
    return "\n".join([table.title, "", *lines, *notes])


def align(
    columns: Sequence[str], rows: Sequence[Sequence[str]], texts: Sequence[str] = ()
) -> list[str]:
    """Header, rule and rows as lines; the first column and `texts` to the left, others right."""
    widths = [max(len(line[i]) for line in (columns, *rows)) for i in range(len(columns))]
    rule = "  ".join("─" * width for width in widths)
    left = [k == 0 or column in texts for k, column in enumerate(columns)]
    return [_line(columns, widths, left), rule, *(_line(row, widths, left) for row in rows)]


def _line(cells: Sequence[str], widths: Sequence[int], left: Sequence[bool]) -> str:
    placed = zip(cells, widths, left, strict=True)
    return "  ".join(c.ljust(w) if words else c.rjust(w) for c, w, words in placed).rstrip()


def to_markdown(table: Table) -> str:
    r"""The table alone, with its notes below, without its title.

    >>> print(to_markdown(Table("t", "Sizes", ("what", "m"), (("a|b", "1.50"),))))
    | what | m |
    | --- | ---: |
    | a\|b | 1.50 |
    """
    rules = ["---", *("---" if c in table.texts else "---:" for c in table.columns[1:])]
    lines = [_cells(map(markdown_text, table.columns)), _cells(rules)]
    lines += [_cells(map(markdown_text, row)) for row in table.rows]
    for note in table.notes:
        lines += ["", markdown_text(note)]
    return "\n".join(lines)


def _cells(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def to_csv(table: Table) -> str:
    r"""Header and rows; what a spreadsheet would compute is text.

    >>> to_csv(Table("t", "Sizes", ("what", "m"), (("a, b", "1.50"),)))
    'what,m\n"a, b",1.50\n'
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerows(map(spreadsheet_text, row) for row in (table.columns, *table.rows))
    return stream.getvalue()
