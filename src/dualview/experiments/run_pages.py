"""Pages about one network: what distillation kept of it, and what its explanations are worth."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dualview.experiments.curves import learning_curves
from dualview.experiments.explanations.figures import curves
from dualview.experiments.explanations.tables import table_of
from dualview.experiments.records import RunRecord
from dualview.experiments.report import provenance_section, runs_section
from dualview.pages.page import Figures, Page, Panel, Prose, Row, Section, Table, write_page
from dualview.pages.style import figure_svg

ACCURACIES: Mapping[str, str] = {
    "teacher": "the trained network",
    "before": "{kind} with its parameters, before training",
    "soft": "after it, with the gates it was trained with",
    "hard": "with hard gates",
}
"""Measurement of a distilled network -> of what it is the accuracy."""


def accuracies(record: RunRecord) -> list[tuple[str, float]]:
    """What was tested, and the fraction that was right, of a distilled network."""
    found = record.measurements
    return [(text.format(kind=record.kind.upper()), found[key]) for key, text in ACCURACIES.items()]


def write_distilled_page(record: RunRecord, path: Path) -> Path:
    """The page of one distillation that finished: accuracies, the way there, the settings."""
    name = f"{record.architecture}, distilled"
    share = record.measurements["hard"] / max(record.measurements["teacher"], 1e-12)
    table = Table(
        ("Network", "Test accuracy, %"),
        tuple(Row((text, f"{100 * value:.2f}")) for text, value in accuracies(record)),
        (f"{record.n_test:,} test examples. Recovered with hard gates: {100 * share:.1f} %.",),
    )
    sections = [Section("What is left of its accuracy", (table,))]
    if record.curve:
        label = "Test accuracy after each epoch, with the gates of that epoch."
        drawing = figure_svg(learning_curves([record]), "learning", label)
        sections.append(Section("The way there", (Figures((Panel(drawing, label),)),)))
    return write_page(
        Page(
            title=name,
            headlines=(f"{100 * share:.1f} % of {record.architecture} in a {record.kind.upper()}",),
            standfirst="A network with linear gating, which started from the trained parameters "
            f"and learnt the trained network’s logits on {record.data}.",
            sections=(*sections, runs_section([record], False), provenance_section([record])),
        ),
        path,
    )


def write_evaluated_page(measured: Mapping[str, Any], name: str, path: Path) -> Path:
    """The page of explanations that were tried: their table, and both curves.

    Args:
        measured: as `explanations.trial.tried` gives it.
        name: of the network and its data.
        path: of the page.
    """
    table = table_of(measured, f"Explanations of {name}")
    label = (
        "Probability of the predicted class while pixels are taken away (left) or given back "
        "(right), those first that speak most for it; bands of one standard error."
    )
    drawing = figure_svg(curves(measured, name), "curves", label)
    return write_page(
        Page(
            title=f"Explanations of {name}",
            headlines=("Are the explanations true?",),
            standfirst=f"{measured['examples']} decisions of {name}, explained by pixels; each "
            "explanation was tried on the network itself.",
            sections=(
                Section(
                    "What was found",
                    (
                        Table(
                            table.columns,
                            tuple(Row(row) for row in table.rows),
                            table.notes,
                            stacks=True,
                        ),
                    ),
                ),
                Section("Pixels taken away and given back", (Figures((Panel(drawing, label),)),)),
                Section("How gates were softened", (Prose((_softening(measured),)),)),
            ),
        ),
        path,
    )


def _softening(measured: Mapping[str, Any]) -> str:
    return (
        "Softened paths weigh each path by gates sigmoid(βq) in place of steps, with the "
        f"pre-activations q that the network has; β = {measured['soften']:g}."
    )
