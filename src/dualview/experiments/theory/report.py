"""The record of `dualview theory` -> one HTML page: statements, figures, provenance.

`theory_sections` are the page's parts, for another report to take in; `write_theory_report` makes a
page of them. Records tell everything; nothing is computed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dualview.experiments.theory.figures import error_curves
from dualview.experiments.theory.measurement import CurveRecord
from dualview.experiments.theory.run import SECTIONS, TheoryRecord
from dualview.experiments.theory.statement import EXACT, MOST_STANDARD_ERRORS, StatementRecord
from dualview.experiments.theory.text import bound, contradiction, number, share, short_verdict
from dualview.pages.page import (
    DefinedTerm,
    DefinedTerms,
    Facts,
    Figures,
    Fold,
    Notice,
    Page,
    PageBlock,
    Panel,
    Prose,
    Row,
    Section,
    Table,
    write_page,
)
from dualview.pages.style import figure_svg

TITLE = "The theory, tried on numbers"
TABLE_COLUMNS = ("Statement", "Left side", "Right side", "Error", "Bound", "Over", "Verdict")

AXES = {"width": "width of the network", "features": "number of features m"}
CAPTIONS = {
    "width": "How far the empirical NTK of one draw of the weights is from its expectation, by "
    "width. A marker is the root mean square over draws, of several gating networks each; the bar "
    "holds eight of ten draws. A line that runs along its dotted guide falls as "
    "1/√width. The expectation itself is exact at every width.",
    "features": "How far the kernel that m random features estimate is from dv.npk, by m. The "
    "dotted guides fall as 1/√m. Features that share the lower layers’ weights are many times "
    "cheaper, and more of them are needed.",
}


def write_theory_report(record: TheoryRecord, path: Path) -> Path:
    """Write one self-contained HTML page about `record`; the same record gives the same file.

    Args:
        record: of `experiments.theory.run.run_theory`.
        path: the file to write; its folder is made. It appears whole or not at all.

    Returns:
        `path`.

    Raises:
        MissingExtraError: matplotlib or jinja2 is not installed.
    """
    return write_page(theory_page(record), Path(path))


def theory_page(record: TheoryRecord) -> Page:
    """The page that `write_theory_report` writes."""
    return Page(
        title=TITLE,
        headlines=(headline(record),),
        standfirst=standfirst(record),
        sections=(*theory_sections(record), provenance_section(record)),
    )


def headline(record: TheoryRecord) -> str:
    """How many statements hold."""
    count, failed = len(record.statements), record.failed
    if not failed:
        return f"All {count} statements of the theory hold"
    verb = "does" if len(failed) == 1 else "do"
    return f"{len(failed)} of {count} statements {verb} not hold"


def standfirst(record: TheoryRecord) -> str:
    """How exact, and over what."""
    exact = [r for r in record.statements if r.comparison == "equal" and r.bound == EXACT]
    drawn = [r for r in record.statements if r.comparison == "mean"]
    differ = [r for r in record.statements if r.comparison == "differ"]
    others = len(record.statements) - len(exact) - len(drawn) - len(differ)
    wider = f"To a wider tolerance: {others}. " if others else ""
    worst = max((r.error for r in exact if r.error is not None), default=None)
    errors = max((r.standard_errors for r in drawn if r.standard_errors is not None), default=None)
    return (
        f"{len(exact)} statements are compared to rounding: the largest relative error is "
        f"{share(worst)}. {wider}{len(drawn)} are means over random draws: the worst entry is off "
        f"by {'–' if errors is None else f'{errors:.1f}'} standard errors. {len(differ)} say that "
        f"two sides differ. Seed {record.seed}, "
        f"{record.seconds:.0f} seconds{', quick' if record.quick else ''}."
    )


def theory_sections(record: TheoryRecord) -> tuple[Section, ...]:
    """How to read, then one section for each part of the theory, with its figure if it has one."""
    parts = []
    for section, title in SECTIONS.items():
        statements = [r for r in record.statements if r.section == section]
        figure = {"width": "width", "6": "features"}.get(section)
        curves = [curve for curve in record.curves if curve.figure == figure]
        if statements:
            heading = title if section == "width" else f"{section} {title}"
            rows = tuple(Row(_cells(record)) for record in statements)
            table, words = Table(TABLE_COLUMNS, rows, stacks=True), _words(statements)
            parts.append(Section(heading, (table, *_figure(curves), words, *_numbers(curves))))
    return (reading_section(record), *parts)


def reading_section(record: TheoryRecord) -> Section:
    """What the columns mean, and what does not hold."""
    blocks: list[PageBlock] = []
    if record.failed:
        items = tuple(f"{failed.title}: {contradiction(failed)}." for failed in record.failed)
        blocks.append(Notice("The numbers contradict:", items))
    blocks.append(Prose(_HOW_TO_READ))
    return Section("How to read this page", tuple(blocks))


_HOW_TO_READ = (
    "Every statement is computed in two ways that share no code. Left and right side are the two "
    "values of one entry: the largest, or, where the sides disagree, the one where they are "
    "furthest apart. The error is the largest deviation of any entry, relative to the largest "
    "entry of its kernel. Formulas are written out from the papers, "
    "paths are listed one by one, expectations are taken over every sign of every weight, or over "
    "random draws.",
    "The bound is the tolerance (≤) of an exact statement, the least difference (≥) where two "
    "sides must differ, or the largest standard error of any entry (±) of a mean over draws. "
    f"Verdicts follow from the numbers: a mean holds if its worst entry is within "
    f"{MOST_STANDARD_ERRORS:g} standard errors (se).",
    "NPK: the neural path kernel. E[NTK]: the neural tangent kernel of the weights network, its "
    "mean over independent weights of variance σ², with gates fixed. G: gates, x: the data, d: "
    "weight layers.",
)


def _words(statements: Sequence[StatementRecord]) -> Fold:
    """What the statements say, and what was computed, behind a fold."""
    terms = DefinedTerms(
        tuple(DefinedTerm(record.title, _in_words(record)) for record in statements)
    )
    return Fold("What each says, and how both sides were computed", terms)


def _cells(record: StatementRecord) -> tuple[str, ...]:
    return (
        record.title,
        number(record.left),
        number(record.right),
        share(record.error),
        bound(record),
        f"{record.n:,} {record.unit}",
        short_verdict(record),
    )


def _in_words(record: StatementRecord) -> str:
    worst = f" Furthest apart: {record.details}." if record.details else ""
    return (
        f"{record.text} Left: {record.left_is}. Right: {record.right_is}.{worst} "
        f"{record.verdict[:1].upper()}{record.verdict[1:]}. Source: {record.source}."
    )


def _figure(curves: Sequence[CurveRecord]) -> tuple[Figures, ...]:
    """The figure of these curves; nothing if there are none."""
    if not curves:
        return ()
    name = curves[0].figure
    svg = figure_svg(error_curves(curves, AXES[name]), f"theory-{name}", CAPTIONS[name])
    networks = "; ".join(
        f"{curve.label}: {curve.network} (slope {curve.slope:.2f} ± {curve.slope_error:.2f} from "
        f"{curve.fit_from} on)"
        for curve in curves
    )
    caption = f"{CAPTIONS[name]} {networks[:1].upper()}{networks[1:]}."
    return (Figures((Panel(svg, caption),)),)


def _numbers(curves: Sequence[CurveRecord]) -> tuple[Fold, ...]:
    """The figure's numbers behind a fold; nothing if there are none."""
    if not curves:
        return ()
    columns = (
        f"Line, {AXES[curves[0].figure]}",
        "Estimates",
        "Error of one, %: rms",
        "mean ± sd",
        "Error of the mean of all, %",
    )
    rows = tuple(
        Row(
            (
                f"{curve.label}, {point.size:,}",
                f"{point.draws:,}",
                f"{100 * point.error_rms:.1f}",
                f"{100 * point.error_mean:.1f} ± {100 * point.error_sd:.1f}",
                f"{100 * point.mean_off:.2f}",
            ),
            curve.kind,
        )
        for curve in curves
        for point in curve.points
    )
    return (Fold("The figure’s numbers", Table(columns, rows, stacks=True)),)


def provenance_section(record: TheoryRecord) -> Section:
    """Where the numbers come from, and every statement's time."""
    origin = record.provenance
    facts = (
        ("Seed", str(record.seed)),
        ("Size", "quick: fewer draws, fewer widths" if record.quick else "full"),
        ("Seconds", f"{record.seconds:.0f}"),
        ("Numbers", "float64"),
        ("Commit", origin.code),
        ("dualview", origin.dualview),
        ("PyTorch", origin.torch),
        ("Python", origin.python),
        ("Device", origin.device),
        ("Machine", origin.machine),
        ("Finished", origin.finished),
    )
    rows = tuple(
        Row((r.name, r.section, f"{r.n:,} {r.unit}", f"{r.seconds:.2f}")) for r in record.statements
    )
    times = Table(("Statement", "Section", "Over", "Seconds"), rows, (_TIMES_NOTE,))
    return Section("Provenance", (Facts(facts), Fold("Time of every statement", times)))


_TIMES_NOTE = (
    "Statements about one measurement share it, and its time is counted in each of them; all "
    "times are those of a machine that may have been doing other work."
)
