"""Experiment `explanations`: are explanations by input positions true?

A ReLU network and a DLGN are trained, and decisions about test images explained: by path
contributions, by those with softened gates, and by methods of others. Each explanation is tried on
the network that it is of (`dualview.evaluate_explanations`). `dualview evaluate RUN` does the same
for one trained network.
"""

from __future__ import annotations

from dualview.experiments.experiment import Experiment, plan_in
from dualview.experiments.explanations import figures, tables

EXPERIMENT = Experiment(
    name="explanations",
    title="Are the explanations true?",
    question="When the pixels that an explanation names are taken away, does the network change "
    "its mind as much as the explanation says? Path contributions beside other methods.",
    source="none; softened paths are the excitation pullbacks of arXiv 2507.22832, the measures "
    "those of arXiv 1806.07421 and 1711.06104",
    duration="digits: 7 minutes",
    default_data="digits",
    plan=plan_in("dualview.experiments.explanations.plan"),
    tables=tables.tables,
    figures=figures.figures,
    captions=figures.CAPTIONS,
    options=("arch", "width", "kinds"),
)
