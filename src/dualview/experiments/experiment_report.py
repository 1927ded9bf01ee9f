"""The records of an experiment -> tables and figures in files, and one HTML page.

`write_outputs` leaves in a folder `tables/NAME.md` and `.csv`, `figures/NAME.svg` and `.png`, and
`report.html`. Records tell everything; no network is loaded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dualview.errors import RunError
from dualview.experiments.experiment import Experiment
from dualview.experiments.naming import architecture_name
from dualview.experiments.records import RunRecord
from dualview.experiments.report import provenance_section, runs_section
from dualview.experiments.tables import Table, to_csv, to_markdown
from dualview.files.foreign_text import file_name, markdown_text
from dualview.files.locking import make_own_folder
from dualview.files.writing import write_text
from dualview.pages.page import (
    Figures,
    Notice,
    Page,
    Panel,
    Prose,
    Row,
    Section,
    write_page,
)
from dualview.pages.page import Table as PageTable
from dualview.pages.style import figure_svg, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REPORT = "report.html"
REPAIR = "take the link away, or choose another folder"


def write_outputs(experiment: Experiment, records: Sequence[RunRecord], out: Path) -> Path:
    """Write tables, figures and page of one experiment; the same records give the same files.

    Returns:
        The page's path.

    Raises:
        RunError: there are no records.
        MissingExtraError: matplotlib or jinja2 is not installed.
    """
    _require_records(experiment, records)
    tables = experiment.tables(records)
    figures = figures_of(experiment, records)
    write_tables(tables, out / "tables")
    write_figures(figures, out / "figures", ("svg", "png"))
    return write_page(experiment_page(experiment, records, tables, figures), out / REPORT)


def figures_of(experiment: Experiment, records: Sequence[RunRecord]) -> Mapping[str, Figure]:
    """The experiment's figures by name; none where every run diverged."""
    if not any(record.status == "finished" for record in records):
        return {}
    return experiment.figures(records)


def caption(experiment: Experiment, name: str) -> str:
    """How to read a figure.

    >>> from dualview.experiments.registry import EXPERIMENTS
    >>> caption(EXPERIMENTS["shallow"], "c4gap-curves")
    'C4GAP. Test accuracy after each epoch; thick lines are means over seeds.'
    """
    if name in experiment.captions:
        return experiment.captions[name]
    arch, _, kind = name.partition("-")
    while kind:  # names of architectures and of figures may both have a "-"
        if kind in experiment.captions:
            return f"{architecture_name(arch)}. {experiment.captions[kind]}"
        more, _, kind = kind.partition("-")
        arch = f"{arch}-{more}"
    return name.replace("-", " ").capitalize() + "."


def write_tables(tables: Sequence[Table], folder: Path) -> None:
    """Each table as Markdown and as CSV."""
    make_own_folder(folder, REPAIR)
    for table in tables:
        title = f"# {markdown_text(table.title)}\n\n"
        write_text(folder / f"{file_name(table.name)}.md", title + to_markdown(table) + "\n")
        write_text(folder / f"{file_name(table.name)}.csv", to_csv(table))


def write_figures(
    figures: Mapping[str, Figure], folder: Path, formats: Sequence[str], prefix: str = ""
) -> list[Path]:
    """Each figure in each format, in the light scheme."""
    make_own_folder(folder, REPAIR)
    return [
        save_figure(figure, folder / f"{file_name(prefix + name)}.{suffix}")
        for name, figure in figures.items()
        for suffix in formats
    ]


def experiment_page(
    experiment: Experiment,
    records: Sequence[RunRecord],
    tables: Sequence[Table],
    figures: Mapping[str, Figure],
) -> Page:
    """The page of one experiment: its tables, its figures, its runs, where they come from."""
    _require_records(experiment, records)
    ordered = sorted(records, key=_place)
    several = len({(r.data, r.architecture, r.width) for r in ordered}) > 1
    return Page(
        title=experiment.title,
        headlines=(experiment.title,),
        standfirst=experiment.question,
        sections=(
            *(Section(table.title, (page_table(table),)) for table in tables),
            *_diverged_section(ordered),
            *_figure_sections(experiment, figures),
            Section("Source", (Prose((experiment.source,)),)),
            runs_section(ordered, several),
            provenance_section(ordered),
        ),
    )


def _place(record: RunRecord) -> tuple[str, str, int, str, str]:
    """An order of runs that does not depend on how they were read."""
    options = json.dumps(record.config, sort_keys=True)
    return record.architecture, record.kind, record.seed, record.data, options


def page_table(table: Table) -> PageTable:
    """The same table as a block of a page."""
    return PageTable(table.columns, tuple(Row(row) for row in table.rows), table.notes, stacks=True)


def _diverged_section(records: Sequence[RunRecord]) -> tuple[Section, ...]:
    """Runs that diverged; no section where none did."""
    diverged = tuple(
        f"{record.architecture}, {record.kind}, seed {record.seed}: {record.message}"
        for record in records
        if record.status != "finished"
    )
    notice = Notice("These runs diverged and are in no mean:", diverged)
    return (Section("Diverged runs", (notice,)),) if diverged else ()


def _figure_sections(experiment: Experiment, figures: Mapping[str, Figure]) -> tuple[Section, ...]:
    """All figures, each with how to read it; no section where there is none."""
    panels = tuple(
        Panel(figure_svg(figure, name, read), read)
        for name, figure in figures.items()
        for read in (caption(experiment, name),)
    )
    return (Section("Figures", (Figures(panels),)),) if panels else ()


def _require_records(experiment: Experiment, records: Sequence[RunRecord]) -> None:
    if not records:
        raise RunError(
            f"{experiment.name}: expected at least one run record, got none; run `dualview "
            f"reproduce {experiment.name}` first"
        )
