"""Figures of every experiment: `FIGURES`, name -> function of its records.

An experiment whose figures are its own has a module `NAME_plots`; those that compare kinds of
network share the figures of `plots`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from dualview.experiments.alignment import figures as alignment_plots
from dualview.experiments.curves import learning_curves, recovered_accuracy, recovered_by_seed
from dualview.experiments.gate_learning import figures as gate_learning_plots
from dualview.experiments.invariances import figures as invariances_plots
from dualview.experiments.recipes import architecture_name, architecture_place
from dualview.experiments.records import RunRecord
from dualview.experiments.regimes import figures as regimes_plots
from dualview.experiments.spectrum import figures as spectrum_plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Figures = Callable[[Sequence[RunRecord]], Mapping[str, "Figure"]]
"""Records of one call -> name -> figure."""


def comparison_figures(records: Sequence[RunRecord]) -> Mapping[str, Figure]:
    """For each architecture: recovered accuracy, and the learning curves."""
    found = {}
    for arch in sorted({record.architecture for record in records}, key=architecture_place):
        runs = [record for record in records if record.architecture == arch]
        if any(recovered_by_seed(runs).values()):
            found[f"{arch}-recovered"] = recovered_accuracy(runs)
        if any(run.curve for run in runs):
            found[f"{arch}-curves"] = learning_curves(runs)
    return found


COMPARISON_CAPTIONS: Mapping[str, str] = {
    "recovered": "A marker is one seed: its test accuracy divided by the DNN’s with the same seed. "
    "The bar below is their mean ± sample standard deviation.",
    "curves": "Test accuracy after each epoch; thick lines are means over seeds.",
}
CAPTIONS: Mapping[str, str] = {
    **regimes_plots.CAPTIONS,
    **invariances_plots.CAPTIONS,
    **gate_learning_plots.CAPTIONS,
    **alignment_plots.CAPTIONS,
    **spectrum_plots.CAPTIONS,
}
"""Name of a figure -> how to read it."""


def caption(name: str) -> str:
    """How to read a figure.

    >>> caption("c4gap-curves")
    'C4GAP. Test accuracy after each epoch; thick lines are means over seeds.'
    """
    if name in CAPTIONS:
        return CAPTIONS[name]
    arch, _, kind = name.rpartition("-")
    if kind in COMPARISON_CAPTIONS:
        return f"{architecture_name(arch)}. {COMPARISON_CAPTIONS[kind]}"
    return name.replace("-", " ").capitalize() + "."


FIGURES: Mapping[str, Figures] = {
    "regimes": regimes_plots.figures,
    "architectures": comparison_figures,
    "invariances": invariances_plots.figures,
    "gate-learning": gate_learning_plots.figures,
    "alignment": alignment_plots.figures,
    "shallow": comparison_figures,
    "spectrum": spectrum_plots.figures,
}
"""Name of an experiment -> its figures."""
