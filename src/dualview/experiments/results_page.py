"""Collected records -> `docs/results.md` and the figures it shows.

Everything but the comments comes from the records: for each experiment its question, and for each
data set its tables (published numbers beside the measured ones), figures and a line on where the
numbers come from. Comments in words are written by hand in `docs/discussion/EXPERIMENT.md`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from dualview.experiments.collected import Collected, read_collected, slug
from dualview.experiments.experiment import Experiment, plan_in
from dualview.experiments.experiment_report import caption, figures_of, write_figures
from dualview.experiments.records import RunRecord
from dualview.experiments.registry import EXPERIMENTS
from dualview.experiments.summary import summary_table
from dualview.experiments.tables import to_markdown
from dualview.files.foreign_text import file_name, markdown_text
from dualview.files.writing import write_text

PAGE = "results.md"
IMAGES = "images"
DISCUSSION = "discussion"

HEAD = """\
# Results

This page is made from the records in `results/` by `dualview results`; comments are those of
`docs/discussion/`. Numbers called published are the papers'; all others were measured with this
code, on the machine named below each table. `dualview reproduce NAME` repeats an experiment.

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
    text = results_text(collected, docs, own)
    write_text(docs / PAGE, text)
    return [docs / PAGE, *figures]


def results_text(collected: Collected, docs: Path, own: Sequence[Experiment] = ()) -> str:
    """The page as Markdown.

    Args:
        collected: the records.
        docs: where the comments are read from.
        own: as `write_results` takes them.
    """
    described = _described(collected, own)
    if not collected:
        return HEAD + EMPTY
    sections = [
        _experiment_text(described[name], by_data, docs) for name, by_data in collected.items()
    ]
    return "\n".join([HEAD, *sections])


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


def _experiment_text(
    experiment: Experiment, by_data: Mapping[str, Sequence[RunRecord]], docs: Path
) -> str:
    parts = [
        f"## {markdown_text(experiment.title)}",
        experiment.question,
        f"`dualview reproduce {file_name(experiment.name)}`. Source: {experiment.source}.",
        *(_data_text(experiment, data, records) for data, records in by_data.items()),
    ]
    comments = docs / DISCUSSION / f"{experiment.name}.md"
    if comments.exists():
        parts += ["### Discussion", comments.read_text(encoding="utf-8").strip()]
    return "\n\n".join(parts) + "\n"


def _data_text(experiment: Experiment, data: str, records: Sequence[RunRecord]) -> str:
    """Tables, figures and provenance of one data set."""
    parts = [f"### On {markdown_text(_data_name(data, records))}"]
    for table in experiment.tables(records):
        parts += [f"**{markdown_text(table.title)}**", to_markdown(table)]
    for name in figures_of(experiment, records):
        image = f"{IMAGES}/{file_name(f'{experiment.name}-{data}-{name}')}.svg"
        shown = markdown_text(name.replace("-", " "))
        parts += [f"![{shown}]({quote(image)})", f"*{markdown_text(caption(experiment, name))}*"]
    return "\n\n".join([*parts, provenance_line(records)])


def _data_name(folder: str, records: Sequence[RunRecord]) -> str:
    """The data as reports name it, with what its folder adds: "digits (paper)"."""
    names = dict.fromkeys(record.data for record in records)
    # Records may say which part they used: "MNIST, 4 against 7".
    for name in (*names, *(name.rpartition(",")[0] for name in names if "," in name)):
        suffix = folder.removeprefix(slug(name))
        if suffix != folder:
            return f"{name} ({suffix.strip('-')})" if suffix else name
    return folder


def _span(first: str, last: str) -> str:
    return first if first == last else f"{first} to {last}"


def provenance_line(records: Sequence[RunRecord]) -> str:
    """Machine, device, commit and numbers of runs and examples, in one paragraph."""
    origins = [record.provenance for record in records]
    finished = sorted(origin.finished for origin in origins)
    seeds = len({record.seed for record in records})
    diverged = sum(record.status != "finished" for record in records)
    runs = f"{len(records)} run{'s' if len(records) > 1 else ''}" + (
        f" ({diverged} diverged)" if diverged else ""
    )
    facts = (
        f"{runs}, {seeds} {'seed' if seeds == 1 else 'seeds'}",
        f"epochs: {_distinct(str(record.epochs) for record in records)}",
        f"examples: {_distinct(_examples(record) for record in records)}",
        f"device: {_distinct(origin.device for origin in origins)}",
        f"machine: {_distinct(origin.machine for origin in origins)}",
        f"PyTorch {_distinct(origin.torch for origin in origins)}",
        f"commit {_distinct(origin.code for origin in origins)}",
        f"finished {_span(finished[0][:10], finished[-1][:10])}",
    )
    return f"Where this comes from: {markdown_text('; '.join(facts))}."


def _examples(record: RunRecord) -> str:
    return f"{record.n_train:,} to train, {record.n_test:,} to test"


def _distinct(values: Iterable[str]) -> str:
    return " and ".join(dict.fromkeys(values))
