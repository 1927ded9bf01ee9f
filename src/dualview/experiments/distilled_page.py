"""The page about one distilled network: what is left of the accuracy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dualview.experiments.curves import learning_curves
from dualview.experiments.records import RunRecord
from dualview.experiments.report import provenance_section, runs_section
from dualview.pages.page import Figures, Page, Panel, Row, Section, Table, write_page
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
