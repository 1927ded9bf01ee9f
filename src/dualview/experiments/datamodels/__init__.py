"""Experiment `datamodels`: do the training examples that an attribution names matter?

Many networks are trained on random halves of the training examples. An attribution to training
examples says beforehand how sure each of them will be: the sum of what it gives those that are in
the half. The rank correlation of the two over the halves is the *linear datamodelling score*.
"""

from __future__ import annotations

from dualview.experiments.datamodels import figures, tables
from dualview.experiments.experiment import Experiment, plan_in

EXPERIMENT = Experiment(
    name="datamodels",
    title="Which training examples made a prediction?",
    question="The kernel machine on the neural path kernel gives every training example its part "
    "in a prediction. When networks are trained on half of the examples, do they come out as those "
    "parts say? Beside similarity of gradients and TRAK.",
    source="none; the score is that of arXiv 2303.14186 (TRAK), the kernel machine that of "
    "arXiv 2006.10529",
    duration="digits: 4 minutes",
    default_data="digits",
    plan=plan_in("dualview.experiments.datamodels.plan"),
    tables=tables.tables,
    figures=figures.figures,
    captions=figures.CAPTIONS,
    options=("arch", "width"),
)
