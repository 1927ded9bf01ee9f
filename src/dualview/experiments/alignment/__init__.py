"""Do the gates learn the labels? The NPK's alignment with the labels while a network trains.

Published ([NPK] arXiv 2006.10529): MNIST digits 4 against 7 as -1 and +1, bias-free FC of six
weight layers of width 100, weights +-sqrt(2 / width), squared loss, RMSprop 1e-4, batch 64, 50
epochs, 5 runs; every two epochs, on 100 points of each class, y' (H / tr H)^-1 y with H the NPK at
hard gates.

Measurements of a record: "complexity", "alignment", "rank" and "condition" (see `label_alignment`),
each a list over "epoch", and "points", the number of examples they are taken on.
"""

from __future__ import annotations

from dualview.experiments.alignment import figures, tables
from dualview.experiments.alignment.claims import CLAIMS
from dualview.experiments.experiment import Experiment, plan_in
from dualview.experiments.published import NPK_PAPER

EXPERIMENT = Experiment(
    name="alignment",
    title="Alignment of the neural path kernel with the labels",
    question="While a network learns to tell two digits apart, does the kernel of its gates come "
    "to suit the labels?",
    source=f"{NPK_PAPER}, the figure on the alignment of the NPK during training",
    duration="digits: 12 minutes",
    default_data="digits",
    plan=plan_in("dualview.experiments.alignment.plan"),
    tables=tables.tables,
    figures=figures.figures,
    captions=figures.CAPTIONS,
    options=("width", "kinds"),
    claims=CLAIMS,
)
