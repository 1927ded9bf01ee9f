"""The records as lines of text, for a terminal of 100 columns."""

from __future__ import annotations

from dualview.experiments.theory.run import SECTIONS, TheoryRecord
from dualview.experiments.theory.statement import FAILS, HOLDS, StatementRecord

COLUMNS = (39, 11, 11, 8, 8, 13)
"""Widths of statement, left, right, error, bound and verdict; two spaces between them."""
CELL_NAMES = ("statement", "left", "right", "error", "bound", "verdict")

HOW_TO_READ = """\
left, right  one entry in two independent ways: the largest; if the sides disagree, the worst
error        largest deviation of any entry, relative to the largest entry
bound        tolerance (≤), least difference (≥), or standard error (±)
se           standard errors by which the worst entry of a Monte Carlo mean is off; at most 5"""


def header() -> str:
    """Names of the columns, and a rule."""
    return _line(CELL_NAMES) + "\n" + "  ".join("─" * width for width in COLUMNS)


def section_heading(section: str) -> str:
    """The line above a section's statements."""
    number = "" if section == "width" else f"{section}  "
    return f"\n{number}{SECTIONS[section]}"


def line(record: StatementRecord) -> str:
    """One statement."""
    return _line(
        (
            record.title,
            number(record.left),
            number(record.right),
            share(record.error),
            bound(record),
            short_verdict(record),
        )
    )


def number(value: float | None) -> str:
    """A value with five digits.

    >>> number(1234.5678), number(0.000012345678), number(859127.234), number(None), number(0.0)
    ('1234.6', '1.2346e-05', '8.5913e+05', '–', '0')
    """
    return "–" if value is None else f"{value:.5g}"


def share(value: float | None) -> str:
    """A relative error: percent where that is readable.

    >>> share(0.0), share(3.2e-16), share(0.0123), share(1.038), share(None)
    ('0', '3e-16', '1.2 %', '104 %', '–')
    """
    if value is None:
        return "–"
    if not 1e-3 <= value < 10:
        return f"{value:.0e}" if value else "0"
    return f"{100 * value:.0f} %" if value >= 0.1 else f"{100 * value:.2g} %"


def bound(record: StatementRecord) -> str:
    """What the error is held against: a tolerance, a least difference, or a standard error."""
    sign = {"equal": "≤", "differ": "≥", "mean": "±"}[record.comparison]
    return f"{sign} {share(record.bound)}"


def short_verdict(record: StatementRecord) -> str:
    """The verdict in at most 13 characters."""
    if not record.holds:
        return FAILS.upper()
    errors = record.standard_errors
    return HOLDS if errors is None else f"{HOLDS}, {errors:.1f} se"


def summary(record: TheoryRecord) -> str:
    """What was found, in a few lines; every statement that fails by name."""
    count = len(record.statements)
    lines = ["", HOW_TO_READ, ""]
    for curve in record.curves:
        points = curve.points
        lines.append(
            f"{curve.figure}, {curve.label}: error {share(points[0].error_rms)} at "
            f"{points[0].size}, {share(points[-1].error_rms)} at {points[-1].size:,}; slope "
            f"{curve.slope:.2f} ± {curve.slope_error:.2f}"
        )
    found = f"{count - len(record.failed)} of {count} statements hold"
    lines += ["", f"{found} (seed {record.seed}, {record.seconds:.0f} s)"]
    for failed in record.failed:
        lines.append(f"does not hold: {failed.title} [{failed.name}]: {contradiction(failed)}")
    return "\n".join(lines)


def contradiction(record: StatementRecord) -> str:
    """What either side gives, of a statement that does not hold."""
    where = f" ({record.details})" if record.details else ""
    return (
        f"{record.left_is} gives {number(record.left)}, {record.right_is} gives "
        f"{number(record.right)}{where}"
    )


def _line(cells: tuple[str, ...]) -> str:
    first, *values, last = cells
    middle = (cell.rjust(width) for cell, width in zip(values, COLUMNS[1:-1], strict=True))
    return "  ".join([first.ljust(COLUMNS[0]), *middle, last]).rstrip()
