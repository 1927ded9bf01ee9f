"""Experiment `distillation`: what does a DLGN gain from a trained network?

A ReLU network is trained; then DLGNs of the same architecture, for as many epochs:

| route | starts from | learns |
| --- | --- | --- |
| nothing | drawn parameters | the labels |
| copied | the trained parameters in both networks | the labels |
| distilled | the same | the trained network's logits and the labels, gates growing hard |
| distilled, half | the same | the same, in half the epochs |

Each is tested with the gates it was trained with, and with hard ones.
"""

from __future__ import annotations

from dualview.experiments.distillation import figures, tables
from dualview.experiments.experiment import Experiment, plan_in
from dualview.experiments.published import DLGN_PAPER

EXPERIMENT = Experiment(
    name="distillation",
    title="From a trained network to a DLGN",
    question="How much of a trained ReLU network’s accuracy does a DLGN keep that starts from its "
    "parameters and learns its logits, and how much of that is left when the gates are made hard?",
    source=f"none; the DLGN is that of {DLGN_PAPER}",
    duration="digits: 7 minutes",
    default_data="digits",
    plan=plan_in("dualview.experiments.distillation.plan"),
    tables=tables.tables,
    figures=figures.figures,
    captions=figures.CAPTIONS,
    options=("arch", "width", "kinds"),
)
