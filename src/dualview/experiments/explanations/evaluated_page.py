"""The page about one network whose explanations were tried on it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dualview.experiments.experiment_report import page_table
from dualview.experiments.explanations.figures import curves
from dualview.experiments.explanations.tables import table_of
from dualview.pages.page import Figures, Page, Panel, Prose, Section, write_page
from dualview.pages.style import figure_svg


def write_evaluated_page(measured: Mapping[str, Any], name: str, path: Path) -> Path:
    """The page of explanations that were tried: their table, and both curves.

    Args:
        measured: as `trial.tried` gives it.
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
                Section("What was found", (page_table(table),)),
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
