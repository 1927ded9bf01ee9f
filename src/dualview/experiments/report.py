"""Run records -> one HTML page that compares the kinds of network: table, figures, provenance.

The page's sections are built here, one function each, and composed and written by `page`. An
experiment with a table or figure of its own passes further sections to `write_report`. Numbers come
from `experiments.summary`, as in the table that a terminal shows. Records tell everything; no
network is loaded.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from dualview.arguments import file_path, instance_of, several, takes, text_value
from dualview.errors import RunError
from dualview.experiments.curves import (
    by_kind,
    is_stretched,
    learning_curves,
    recovered_accuracy,
    recovered_by_seed,
)
from dualview.experiments.naming import counted, epoch_span
from dualview.experiments.records import RunRecord
from dualview.experiments.summary import (
    REFERENCE_KIND,
    SummaryRow,
    grouped,
    kind_name,
    percent,
    summarise,
)
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
    drawing,
    write_page,
)
from dualview.pages.style import KIND_STYLES, figure_svg

HEADLINE_KINDS = ("dlgn", "dlgn-sf", "dlgn-ones", "dlgn-sf-ones", "dgn", "dgn-ones", "dnn-ones")
"""The headline tells of the first of these that can be compared with the DNN."""


@takes(
    RunError,
    records=several(instance_of(RunRecord), "records of runs", empty=True),
    path=file_path,
    title=text_value,
    sections=several(instance_of(Section), "sections of a page", empty=True),
)
def write_report(
    records: Sequence[RunRecord],
    path: Path,
    title: str = "DNN, DGN and DLGN compared",
    sections: Sequence[Section] = (),
) -> Path:
    """Write one self-contained HTML page about `records`.

    The same records give the same file, in whatever order they come.

    Args:
        records: runs of one setting, or of several (other data, architecture or width), which then
            have sections of their own.
        path: the file to write; its folder is made. It appears whole or not at all.
        title: of the page.
        sections: further ones, set after the learning curves.

    Returns:
        `path`.

    Raises:
        RunError: there are no records, two tell of the same run, or a kind is unknown.
        MissingExtraError: matplotlib or jinja2 is not installed.
    """
    return write_page(report_page(records, title, sections), Path(path))


def report_page(records: Sequence[RunRecord], title: str, sections: Sequence[Section] = ()) -> Page:
    """The page that `write_report` writes; see there."""
    settings = _settings(records)
    if not settings:
        raise RunError(
            "expected at least one run record to report on, got none; train something first, or "
            "name a folder that holds finished runs"
        )
    found: list[Section] = []
    for number, runs in enumerate(settings):
        parts = setting_sections(runs, f"setting{number}")
        if len(settings) > 1:  # one section each, or the contents list would be long
            blocks = tuple(block for part in parts for block in part.blocks)
            parts = (Section(setting_name(runs[0]), blocks),)
        found.extend(parts)
    ordered = [run for runs in settings for run in runs]
    return Page(
        title=title,
        headlines=tuple(headline(runs) for runs in settings),
        standfirst=standfirst(ordered),
        sections=(
            *found,
            *sections,
            explanation_section(run.kind for run in ordered),
            runs_section(ordered, len(settings) > 1),
            provenance_section(ordered),
        ),
    )


def _settings(records: Sequence[RunRecord]) -> list[list[RunRecord]]:
    """Records of one setting together, sorted: settings by name, runs by kind and seed."""
    groups = grouped(records, lambda r: (r.experiment, r.data, r.architecture, r.width or 0))
    return [
        [run for runs in by_kind(groups[key]).values() for run in runs] for key in sorted(groups)
    ]


def setting_name(record: RunRecord) -> str:
    """Data, architecture and width in words: "digits, fc of width 256"."""
    width = "" if record.width is None else f" of width {record.width}"
    return f"{record.data}, {record.architecture}{width}"


# ------------------------------------------------------------------------------------- the headline


def headline(records: Sequence[RunRecord]) -> str:
    """The result of one setting as a sentence, from the summary's numbers."""
    rows = {row.kind: row for row in summarise(records)}
    data = records[0].data
    for kind in HEADLINE_KINDS:
        row = rows.get(kind)
        if row and row.recovered_mean is not None:
            return (
                f"{kind_name(kind)} reaches {_unbroken(row.recovered_mean, row.recovered_sd)} of "
                f"the DNN’s accuracy on {data} ({counted(row.n_pairs, 'seed')})"
            )
    for kind in (*HEADLINE_KINDS, REFERENCE_KIND):
        row = rows.get(kind)
        if row and row.accuracy_mean is not None:
            return (
                f"{kind_name(kind)} reaches {_unbroken(row.accuracy_mean, row.accuracy_sd)} test "
                f"accuracy on {data} ({counted(row.n, 'seed')})"
            )
    return f"Every run on {data} diverged, so there is no result"


def _unbroken(mean: float | None, sd: float | None) -> str:
    """Percent with its sign, for a line of text that must not break inside it."""
    return f"{percent(mean, sd)} %".replace(" ", "\N{NO-BREAK SPACE}")


def standfirst(records: Sequence[RunRecord]) -> str:
    """What was trained, and how much of it finished."""
    settings = list(dict.fromkeys(setting_name(record) for record in records))
    kinds = len({record.kind for record in records})
    span = epoch_span(record.epochs for record in records)
    diverged = sum(record.status != "finished" for record in records)
    outcome = f"{diverged} diverged" if diverged else "all finished"
    what = settings[0] if len(settings) == 1 else counted(len(settings), "setting")
    return (
        f"{what[:1].upper()}{what[1:]}. {counted(kinds, 'kind')} of network, "
        f"{counted(len(records), 'run')} of {span}: {outcome}."
    )


# ------------------------------------------------------------------------------ sections of results


def setting_sections(records: Sequence[RunRecord], name: str) -> tuple[Section, ...]:
    """What is known of one setting; `name` tells its drawings from another setting's."""
    return (
        result_section(records),
        *recovered_section(records, f"{name}-recovered"),
        *curves_section(records, f"{name}-curves"),
    )


def result_section(records: Sequence[RunRecord]) -> Section:
    """The summary table of one setting, and what must be known to read it."""
    rows = summarise(records)
    table = Table(
        columns=(
            "Network",
            "Test accuracy, %",
            "Recovered, %",
            "Max over epochs, %",
            "Parameters",
            "Training, s",
            "Runs",
        ),
        rows=tuple(_summary_row(row) for row in rows),
        notes=_table_notes(rows, records),
        stacks=True,
    )
    return Section("Result", (table, *_notices(rows, records)))


def _summary_row(row: SummaryRow) -> Row:
    return Row(
        cells=(
            kind_name(row.kind),
            percent(row.accuracy_mean, row.accuracy_sd),
            row.recovered,
            percent(row.max_accuracy_mean, None),
            f"{row.parameters:,}",
            _number(row.seconds_mean),
            row.runs,
        ),
        kind=row.kind,
    )


def _table_notes(rows: Sequence[SummaryRow], records: Sequence[RunRecord]) -> tuple[str, ...]:
    if all(row.n == 0 for row in rows):
        return ()
    spread = (
        ": mean ± sample standard deviation over seeds"
        if any(row.accuracy_sd is not None for row in rows)
        else ". One seed of each kind finished, so nothing is known of the spread"
    )
    n_test = max(record.n_test for record in records)
    return (
        f"Test accuracy is that of the last epoch{spread}. Recovered is a run’s test accuracy "
        f"divided by that of the DNN with the same seed. The test split has {n_test:,} examples, "
        f"so one of them is {100 / max(n_test, 1):.2g} percentage points. Training is the mean "
        f"time of a run.",
        "Max over epochs is not the score. It picks the best epoch by looking at the test set, so "
        "it is too high; it stands here only for comparison with papers that report it.",
        *_parameters_note(rows),
    )


def _parameters_note(rows: Sequence[SummaryRow]) -> tuple[str, ...]:
    """How much larger the two-network kinds are than the DNN, where both were trained."""
    reference = next((row.parameters for row in rows if row.kind == REFERENCE_KIND), 0)
    ratios = [
        row.parameters / reference for row in rows if reference and row.kind != REFERENCE_KIND
    ]
    if not ratios or max(ratios) < 1.1:
        return ()
    low, high = f"{min(ratios):.1f}", f"{max(ratios):.1f}"
    times = low if low == high else f"{low} to {high}"
    return (
        f"The gated kinds consist of two networks and train {times} times the DNN’s parameters: "
        f"compare at equal parameters too before reading much into a small difference.",
    )


def _notices(rows: Sequence[SummaryRow], records: Sequence[RunRecord]) -> tuple[Notice, ...]:
    """Diverged runs, and a missing DNN."""
    found: list[Notice] = []
    diverged = [record for record in records if record.status != "finished"]
    if diverged:
        verb = "run diverged and is" if len(diverged) == 1 else "runs diverged and are"
        text = f"{len(diverged)} {verb} in no mean:"
        found.append(Notice(text, tuple(_divergence(run) for run in diverged)))
    if all(row.recovered_mean is None for row in rows):
        found.append(
            Notice(
                "Recovered accuracy is “–”: it needs a DNN that finished with the same seed on "
                "the same data, and these runs have none."
            )
        )
    return tuple(found)


def _divergence(run: RunRecord) -> str:
    after = counted(len(run.curve), "complete epoch")
    reason = run.message or "no reason given"
    return f"{kind_name(run.kind)}, seed {run.seed}, after {after}: {reason}"


def recovered_section(records: Sequence[RunRecord], name: str) -> tuple[Section, ...]:
    """The figure of recovered accuracy; no section where nothing can be compared with a DNN."""
    recovered = recovered_by_seed(records)
    if not any(recovered.values()):
        return ()
    single = all(len(seeds) < 2 for seeds in recovered.values())
    bar = "" if single else " The bar below is their mean ± sample standard deviation."
    caption = (
        f"Each marker is one seed: its test accuracy divided by that of the DNN trained with the "
        f"same seed.{bar} The dashed line is the share that the DLGN paper (arXiv 2110.03403) "
        f"says is exceeded on CIFAR-10 and CIFAR-100 with C4GAP, VGG-16 and ResNet-110; other data "
        f"and networks do not test that claim."
    )
    panel = Panel(figure_svg(recovered_accuracy(records), name, "Recovered accuracy"), caption)
    return (Section("Recovered accuracy", (Figures((panel,)),)),)


def curves_section(records: Sequence[RunRecord], name: str) -> tuple[Section, ...]:
    """Test accuracy and training loss over epochs; no section where no epoch was completed."""
    if not any(record.curve for record in records):
        return ()
    panels = tuple(
        Panel(
            figure_svg(learning_curves(records, metric), f"{name}-{metric}", caption),
            caption + (_STRETCHED if is_stretched(metric, records) else ""),
        )
        for metric, caption in (
            ("test_accuracy", "Accuracy on the test split after each epoch."),
            ("train_loss", "Mean loss of each epoch’s training batches."),
        )
    )
    how = Prose((_how_to_read_curves(records),))
    return (Section("Learning curves", (Figures(panels), how)),)


_STRETCHED = (
    " The scale is stretched towards 100 %: halving the error is about the same step everywhere, "
    "so 98 to 99 % is as far as 96 to 98 %."
)


def _how_to_read_curves(records: Sequence[RunRecord]) -> str:
    finished = by_kind(record for record in records if record.status == "finished")
    many = any(len(runs) > 1 for runs in finished.values())
    sentences = [
        "Thick lines are means over seeds, thin lines the seeds." if many else "One seed each."
    ]
    if any(KIND_STYLES[record.kind].ones for record in records):
        sentences.append("Dashed lines and hollow markers are kinds with a constant-1 input.")
    if any(record.status != "finished" and record.curve for record in records):
        sentences.append("A dotted line that ends in a cross is a run that diverged.")
    return " ".join(sentences)


# --------------------------------------------------------------------- sections that say what it is

_TERMS = (
    DefinedTerm(
        "DNN",
        "The network as it was written. A ReLU multiplies its pre-activation q by a gate that is 1 "
        "where q > 0 and 0 elsewhere, so one set of weights decides both which gates open and what "
        "passes through them.",
        "dnn",
    ),
    DefinedTerm(
        "DGN, deep gated network",
        "Two networks of that architecture. The gating network is a DNN, and its pre-activations "
        "make the gates; the weights network has no activations, and each of its hidden layers is "
        "multiplied by those gates.",
        "dgn",
    ),
    DefinedTerm(
        "DLGN, deep linearly gated network",
        "A DGN whose gating network is linear: its activations are removed, so every "
        "pre-activation is an affine function of the input (primal linearity). Given the gates, "
        "the output is linear in the products of weights along paths (dual linearity).",
        "dlgn",
    ),
    DefinedTerm(
        "Constant-1 input, “ones”",
        "The weights network reads 1 in every coordinate in place of the data. All that it learns "
        "of an example then comes through the gates: what accuracy remains, the gates carry.",
        "dlgn-ones",
    ),
)
_SHALLOW = DefinedTerm(
    "DLGN-SF, shallow features",
    "A DLGN in which each gating layer reads the input directly, not the layer before it. Every "
    "gate is then one linear map of the input, learnt on its own.",
    "dlgn-sf",
)


def explanation_section(kinds: Iterable[str] = ()) -> Section:
    """What the kinds of network are; shallow features only if they are among `kinds`."""
    shallow = any(kind.startswith("dlgn-sf") for kind in kinds)
    caption = (
        "The dual view. The gating network decides which units are open for an input, the weights "
        "network what flows through them. While gates are learnt they are soft, between 0 "
        "(empty) and 1 (filled)."
    )
    return Section(
        "What is compared",
        (
            Figures((Panel(drawing("dual_view"), caption),)),
            DefinedTerms((*_TERMS, _SHALLOW) if shallow else _TERMS),
        ),
    )


# ------------------------------------------------------------------------- sections for the careful


def runs_section(records: Sequence[RunRecord], several: bool = False) -> Section:
    """Every run on its own, folded; `several` settings give the table a column to tell them."""
    columns = (
        "Network",
        *(("Setting",) if several else ()),
        "Seed",
        "Test accuracy, %",
        "Max over epochs, %",
        "Status",
        "Epochs",
        "Parameters",
        "Training, s",
    )
    rows = tuple(
        Row(
            (
                kind_name(run.kind),
                *((setting_name(run),) if several else ()),
                str(run.seed),
                percent(run.test_accuracy, None),
                percent(run.max_test_accuracy_over_epochs, None),
                run.status,
                f"{len(run.curve)} of {run.epochs}",
                f"{run.parameters:,}",
                _number(run.seconds),
            ),
            run.kind,
        )
        for run in records
    )
    return Section("Runs", (Fold(f"All {counted(len(rows), 'run')}", Table(columns, rows)),))


def provenance_section(records: Sequence[RunRecord]) -> Section:
    """Where the numbers come from, and every option; differing values are listed one by one."""
    provenance = [record.provenance for record in records]
    finished = sorted(item.finished for item in provenance)
    facts = (
        ("Experiment", _distinct(record.experiment for record in records)),
        ("Data", _distinct(record.data for record in records)),
        ("Examples", _distinct(_examples(record) for record in records)),
        ("Commit", _distinct(item.code for item in provenance)),
        ("dualview", _distinct(item.dualview for item in provenance)),
        ("PyTorch", _distinct(item.torch for item in provenance)),
        ("Python", _distinct(item.python for item in provenance)),
        ("Device", _distinct(item.device for item in provenance)),
        ("Machine", _distinct(item.machine for item in provenance)),
        ("Finished", " to ".join(dict.fromkeys((finished[0], finished[-1])))),
    )
    return Section(
        "Settings and provenance",
        (Facts(facts), *_options(records)),
    )


def _options(records: Sequence[RunRecord]) -> tuple[PageBlock, ...]:
    """The options of all runs, folded: the shared ones, then those that differ."""
    names = sorted({name for record in records for name in record.config})
    if not names:
        return (Prose(("The records name no options.",)),)
    facts = tuple(
        (name, _distinct(_value(record.config.get(name)) for record in records)) for name in names
    )
    return (Fold(f"All {counted(len(facts), 'option')}", Facts(facts)),)


def _examples(record: RunRecord) -> str:
    return (
        f"{record.n_train:,} to train, {record.n_validation:,} to validate, "
        f"{record.n_test:,} to test"
    )


def _distinct(values: Iterable[str]) -> str:
    """Each value once, in order of appearance."""
    return " · ".join(dict.fromkeys(values))


def _value(value: Any) -> str:
    """An option's value in words."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)


def _number(seconds: float | None) -> str:
    if seconds is None:
        return percent(None, None)
    return f"{seconds:,.1f}" if seconds < 100 else f"{seconds:,.0f}"
