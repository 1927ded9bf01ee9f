"""Experiment `trees`: do a DLGN's hyperplanes move to where labels change?

Labels are those of random oblique decision trees, so that it is known where they change: at the
tree's own hyperplanes (`labels`). A DLGN, one with shallow gates, a ReLU network, a random forest,
gradient boosting and CART learn from the same rows; of the DLGNs the gate nearest to each of the
tree's hyperplanes is looked for before and after training (`measure`).
"""

from __future__ import annotations

from dualview.experiments.experiment import Experiment, plan_in
from dualview.experiments.trees import claims, figures, tables

EXPERIMENT = Experiment(
    name="trees",
    title="Labels of oblique trees",
    question="Do the hyperplanes of a DLGN move to the discontinuities of the labels, and does it "
    "learn the labels of an oblique decision tree better than a ReLU network, forests and CART?",
    source="“Deep networks learn features from local discontinuities in the label function”, ICLR "
    "2025; half-space features: arXiv 2404.04312",
    duration="no data: 4 minutes",
    default_data="digits",
    plan=plan_in("dualview.experiments.trees.plan"),
    tables=tables.tables,
    figures=figures.figures,
    captions=figures.CAPTIONS,
    needs_data=False,
    options=("width",),
    claims=claims.CLAIMS,
)
