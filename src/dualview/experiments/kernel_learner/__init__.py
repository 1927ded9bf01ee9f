"""Experiment `kernel-learner`: is the exact path kernel as good a learner as the network?

Given the gates, learning the weights is linear in path space, and ridge regression on the neural
path kernel is its solution for infinitely wide weights. Both learn here from the same images, on
the same gates:

| gates | network | kernel machine |
| --- | --- | --- |
| learnt | a DLGN, gates and weights together | ridge regression on the kernel of its gates |
| drawn | the same, its gating network never trained | the same, on those |

The kernel is that of hard gates; the network is tested with soft and with hard ones.
"""

from __future__ import annotations

from dualview.experiments.experiment import Experiment, plan_in
from dualview.experiments.kernel_learner import figures, tables
from dualview.experiments.published import NPK_PAPER

EXPERIMENT = Experiment(
    name="kernel-learner",
    title="The exact kernel as a learner",
    question="Given the gates of a trained DLGN, does ridge regression on their neural path kernel "
    "classify as well as the network that learnt them, from the same images? And on gates that "
    "nobody trained?",
    source=f"none; kernel regression on the gates of a network is that of {NPK_PAPER}, section 5",
    duration="digits: 3 minutes",
    default_data="digits",
    plan=plan_in("dualview.experiments.kernel_learner.plan"),
    tables=tables.tables,
    figures=figures.figures,
    captions=figures.CAPTIONS,
    options=("arch", "width", "kinds"),
)
