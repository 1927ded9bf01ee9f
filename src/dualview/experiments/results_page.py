"""Collected records -> `docs/results.md` and the figures it shows.

Everything but the comments comes from the records: for each experiment its question, and for each
data set its tables (published numbers beside the measured ones), figures and a line on where the
numbers come from. Comments in words are written by hand in `docs/discussion/EXPERIMENT.md`.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from dualview.experiments.claims import COLUMNS, Part, verdict_rows, verdict_table
from dualview.experiments.collected import Collected, read_collected, slug
from dualview.experiments.experiment import Experiment, plan_in
from dualview.experiments.experiment_report import caption, figures_of, write_figures
from dualview.experiments.naming import counted
from dualview.experiments.records import RunRecord
from dualview.experiments.registry import EXPERIMENTS
from dualview.experiments.summary import summary_table
from dualview.experiments.tables import Table, to_markdown
from dualview.experiments.theory.claims import theory_row
from dualview.files.foreign_text import file_name, markdown_text
from dualview.files.writing import write_text

if TYPE_CHECKING:
    from dualview.experiments.theory.run import TheoryRecord

PAGE = "results.md"
IMAGES = "images"
THEORY = "theory.json"
START = "index.md"
BEGIN = "<!-- verdicts: the lines below are made by `dualview results` -->"
END = "<!-- end of verdicts -->"
FIRST_ROWS = 5
"""Of the table of verdicts, so many stand on the landing page too."""
DISCUSSION = "discussion"

TITLE = "# Results"
HOW_TO_READ = """\
## How to read this page

This page is made from the records in `results/` by `dualview results`; comments are those of
`docs/discussion/`. Numbers called published are the papers'; all others were measured with this
code, on the machine named below each table. `dualview reproduce NAME` repeats an experiment. Of
each experiment the data nearest to the paper's come first; the others are folded.

*JPEG re-encoding*: a copy of CIFAR-10 whose images were stored as JPEG, which changes pixels a
little. *Own split*: the division into train and test is not the original one. *(paper)* behind the
name of data: the papers' sizes and settings (`--preset paper`); without it, those of the `cpu`
preset, for two cores.
"""
EMPTY = "\nNo records yet.\n"


def write_results(results: Path, docs: Path, own: Sequence[Experiment] = ()) -> list[Path]:
    """Write the page and its figures; the same records give the same files.

    Args:
        results: folder of collected records.
        docs: folder of the page; figures go to `docs/images`, comments are read from
            `docs/discussion`.
        own: experiments that are not listed in this package. What has records and is not among
            them gets one table, and says no more of itself than its name.

    Returns:
        The files written, the page first.

    Raises:
        RunError: a record cannot be read.
    """
    collected = read_collected(results)
    described = _described(collected, own)
    docs.mkdir(parents=True, exist_ok=True)
    figures = [
        path
        for name, by_data in collected.items()
        for data, records in by_data.items()
        for path in write_figures(
            figures_of(described[name], records), docs / IMAGES, ("svg",), f"{name}-{data}-"
        )
    ]
    theory = read_theory(results)
    write_text(docs / PAGE, results_text(collected, docs, own, theory))
    start = docs / START
    table = verdicts({name: parts_of(data) for name, data in collected.items()}, described, theory)
    if start.exists():
        write_text(start, with_verdicts(start.read_text(encoding="utf-8"), table))
    return [docs / PAGE, *figures]


def with_verdicts(text: str, table: Table) -> str:
    """The landing page with the first rows of the table between its two marks, if it has them.

    Args:
        text: of the page.
        table: as `verdicts` makes it.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        return text
    kept = [COLUMNS.index(column) for column in ("Claim", "Verdict", "Measured here")]
    rows = tuple(tuple(row[k] for k in kept) for row in table.rows[:FIRST_ROWS])
    columns = tuple(COLUMNS[k] for k in kept)
    shown = to_markdown(Table("first", "", columns, rows, texts=columns))
    return f"{before}{begin}\n{shown}\n{end}{after}"


def results_text(
    collected: Collected,
    docs: Path,
    own: Sequence[Experiment] = (),
    theory: TheoryRecord | None = None,
) -> str:
    """The page as Markdown.

    Args:
        collected: the records.
        docs: where the comments are read from.
        own: as `write_results` takes them.
        theory: what `dualview theory` left, if it was kept.
    """
    described = _described(collected, own)
    if not collected:
        return "\n\n".join([TITLE, HOW_TO_READ]) + EMPTY
    parts = {name: parts_of(by_data) for name, by_data in collected.items()}
    sections = [_experiment_text(described[name], parts[name], docs) for name in collected]
    table = verdicts(parts, described, theory)
    verdict_text = [f"**{table.title}**", to_markdown(table)] if table.rows else []
    return "\n\n".join([TITLE, *verdict_text, HOW_TO_READ, *sections])


def verdicts(
    parts: Mapping[str, Sequence[Part]],
    described: Mapping[str, Experiment],
    theory: TheoryRecord | None,
) -> Table:
    """The table that the page opens with: the theory first, then claim by claim."""
    rows = [] if theory is None else [theory_row(theory)]
    for name, experiment in described.items():
        for claim in experiment.claims:
            rows += verdict_rows(claim, parts.get(name, ()))
    return verdict_table(rows)


def parts_of(by_data: Mapping[str, Sequence[RunRecord]]) -> list[Part]:
    """The records of an experiment by data, those with a paper's settings first, small data last.

    Args:
        by_data: folder -> records, as `read_collected` gives them.
    """

    def place(folder: str) -> tuple[bool, int, str]:
        return not _faithful(folder), -by_data[folder][0].n_train, folder

    return [
        Part(_data_name(folder, by_data[folder]), tuple(by_data[folder]), _faithful(folder), folder)
        for folder in sorted(by_data, key=place)
    ]


def _faithful(folder: str) -> bool:
    return folder.endswith("-paper")


def read_theory(results: Path) -> TheoryRecord | None:
    """The record of `dualview theory` among the collected ones, if there is one."""
    from dualview.experiments.theory.run import load_theory  # needs torch

    path = results / THEORY
    return load_theory(path) if path.exists() else None


def _described(collected: Collected, own: Sequence[Experiment]) -> Mapping[str, Experiment]:
    """Name -> experiment, for all that have records."""
    given = {**EXPERIMENTS, **{experiment.name: experiment for experiment in own}}
    return {name: given.get(name) or _undescribed(name) for name in collected}


def _undescribed(name: str) -> Experiment:
    """What is known of an experiment that nobody described: a name, and records."""
    return Experiment(
        name=name,
        title=name.replace("-", " ").capitalize(),
        question="An experiment of its author’s own, of which nothing but the records was at hand.",
        source="its author",
        duration="unknown",
        default_data="digits",
        plan=plan_in(""),
        tables=lambda records: [summary_table(records)],
    )


def _experiment_text(experiment: Experiment, parts: Sequence[Part], docs: Path) -> str:
    """Question, comments, and the data: the first at length, the others folded."""
    text = [
        f"## {markdown_text(experiment.title)}",
        experiment.question,
        f"`dualview reproduce {file_name(experiment.name)}`. Source: {experiment.source}.",
    ]
    comments = docs / DISCUSSION / f"{experiment.name}.md"
    if comments.exists():
        text.append(comments.read_text(encoding="utf-8").strip())
    first, *others = parts
    text += [f"### On {markdown_text(first.name)}", *_data_text(experiment, first)]
    for part in others:
        name = f"On {part.name}"
        text += _folded(
            html.escape(name),
            _data_text(experiment, part),
            f' id="{slug(f"{experiment.name} {name}")}"',
        )
    return "\n\n".join(text) + "\n"


def _folded(summary: str, text: Iterable[str], anchor: str = "") -> list[str]:
    """Text that a click opens, on the page and where Markdown is shown."""
    return [f'<details{anchor} markdown="1">\n<summary>{summary}</summary>', *text, "</details>"]


def _data_text(experiment: Experiment, part: Part) -> list[str]:
    """Tables, figures and provenance of one data set; all but the first of each are folded."""
    tables = [
        [f"**{markdown_text(table.title)}**", to_markdown(table)]
        for table in experiment.tables(part.records)
    ]
    figures = [
        _figure_text(experiment, part, name) for name in figures_of(experiment, part.records)
    ]
    shown = [line for group in (*tables[:1], *figures[:1]) for line in group]
    more = [line for group in (*tables[1:], *figures[1:]) for line in group]
    summary = f"{_count(len(tables[1:]), 'table')} and {_count(len(figures[1:]), 'figure')} more"
    return [*shown, *(_folded(summary, more) if more else []), provenance_line(part.records)]


def _figure_text(experiment: Experiment, part: Part, name: str) -> list[str]:
    image = f"{IMAGES}/{file_name(f'{experiment.name}-{part.folder}-{name}')}.svg"
    shown = markdown_text(name.replace("-", " "))
    return [f"![{shown}]({quote(image)})", f"*{markdown_text(caption(experiment, name))}*"]


def _count(number: int, what: str) -> str:
    return counted(number, what) if number else f"no {what}s"


def _data_name(folder: str, records: Sequence[RunRecord]) -> str:
    """The data as reports name it, with what its folder adds: "digits (paper)"."""
    names = dict.fromkeys(record.data for record in records)
    # Records may say which part they used: "MNIST, 4 against 7".
    for name in (*names, *(name.rpartition(",")[0] for name in names if "," in name)):
        suffix = folder.removeprefix(slug(name))
        if suffix != folder:
            return f"{name} ({suffix.strip('-')})" if suffix else name
    return "data of its own" if folder == "no-data" else folder


def provenance_line(records: Sequence[RunRecord]) -> str:
    """Machine, device, commit and numbers of runs and examples, in one paragraph."""
    origins = [record.provenance for record in records]
    finished = sorted(origin.finished for origin in origins)
    seeds = len({record.seed for record in records})
    diverged = sum(record.status != "finished" for record in records)
    lost = f" ({diverged} diverged)" if diverged else ""
    facts = (
        f"{counted(len(records), 'run')}{lost}, {counted(seeds, 'seed')}",
        f"epochs: {_distinct(str(record.epochs) for record in records)}",
        f"examples: {_distinct(_examples(record) for record in records)}",
        f"device: {_distinct(origin.device for origin in origins)}",
        f"machine: {_distinct(origin.machine for origin in origins)}",
        f"PyTorch {_distinct(origin.torch for origin in origins)}",
        f"commit {_distinct(origin.code for origin in origins)}",
        f"finished {' to '.join(dict.fromkeys((finished[0][:10], finished[-1][:10])))}",
    )
    return f"Where this comes from: {markdown_text('; '.join(facts))}."


def _examples(record: RunRecord) -> str:
    return f"{record.n_train:,} to train, {record.n_test:,} to test"


def _distinct(values: Iterable[str]) -> str:
    return " and ".join(dict.fromkeys(values))
