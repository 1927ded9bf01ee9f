"""Experiment `gating`: what holds a DLGN back?

One architecture with max pools, C6WHITE, is trained as DNN, DGN and DLGN, and as DLGNs that differ
from the plain one in one thing each (`changes.CHANGES`): pooling, slope of the gates, learning
rates, what keeps weights small. All have the same images and epochs. What is compared is accuracy
on the validation images, so that what is chosen by it can be tested afterwards.
"""

from __future__ import annotations

from dualview.experiments.experiment import Experiment, plan_in
from dualview.experiments.gating import figures, tables
from dualview.experiments.published import DLGN_PAPER

EXPERIMENT = Experiment(
    name="gating",
    title="What holds a DLGN back",
    question="Where a DLGN is less accurate than the ReLU network, is it for its linear gates, its "
    "average pools, the slope of its gates, or how it is trained? One thing is changed at a time.",
    source=f"none; the DLGN is that of {DLGN_PAPER}",
    duration="about two minutes a network on CIFAR-10, seconds on digits",
    default_data="digits",
    plan=plan_in("dualview.experiments.gating.plan"),
    tables=tables.tables,
    figures=figures.figures,
    captions=figures.CAPTIONS,
    options=("arch", "width", "kinds"),
)
