"""Experiment `regimes`: how much do learnt gates matter, and when must they be learnt?

Five ways to train one architecture, which differ in where the gates come from:

| regime | gates | weights |
| --- | --- | --- |
| FRNPF(II) | of a random ReLU network, frozen | trained from an independent draw |
| FRNPF(DI) | the same | trained from that ReLU network's own parameters |
| DLNPF | learnt with the weights, by a second network, through (1 + 0.1) sigmoid(4 q) | trained |
| FLNPF | of the trained ReLU network, frozen | trained from an independent draw |
| ReLU | the network's own | trained |

Weights are Glorot-uniform with biases, pixels are divided by 255 and not normalised, images are not
augmented. The paper preset trains, as the paper, on the whole train split.

Source: arXiv 2006.10529, section 5 and its table of test accuracies.
"""

from __future__ import annotations

from dualview.experiments.experiment import Experiment, plan_in
from dualview.experiments.published import NPK_PAPER
from dualview.experiments.regimes import figures, tables
from dualview.experiments.regimes.claims import CLAIMS

EXPERIMENT = Experiment(
    name="regimes",
    title="Five regimes of gates",
    question="Is a network as good with the gates it happens to start with, or must its gates be "
    "learnt? And if they must: do learnt gates alone, copied and frozen, give a network with "
    "fresh weights the accuracy of the one they were learnt in? The regimes: gates frozen at "
    "random (FRNPF, fixed random neural path features), drawn independently of the weights (II) "
    "or equal to theirs (DI); gates learnt beside the weights (DLNPF, decoupled learning); gates "
    "copied from a trained ReLU network and frozen (FLNPF, fixed learnt); the ReLU network itself.",
    source=f"{NPK_PAPER}, table of test accuracies",
    duration="digits: 3 minutes; CIFAR-10 (GCONV): 110 minutes",
    default_data="digits",
    plan=plan_in("dualview.experiments.regimes.plan"),
    tables=tables.tables,
    figures=figures.figures,
    captions=figures.CAPTIONS,
    options=("arch", "width", "optimizer", "kinds"),
    claims=CLAIMS,
)
