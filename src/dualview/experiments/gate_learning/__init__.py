"""Experiment `gate-learning`: what are the gates worth at each stage of their learning?

A ReLU network is trained in stages. At its initialisation (stage 0) and after each stage its gates
are copied and frozen, hard, and two learners get them: a fresh weights network, trained by gradient
descent, and kernel regression on the neural path kernel of those gates, on a subset of the data.
Recorded, too, is how far the gates have moved from the initial ones, layer by layer.

The stages are one training run, cut into pieces: each goes on from the last one's checkpoint, with
the optimiser's memory and an order of the data that no earlier epoch had. So the network at the end
is that of an uncut run. Gates and weights networks are as in the regime FLNPF of `regimes`, and so
is the data.

Source: arXiv 2006.10529, section 5 (continuous gate learning).
"""

from __future__ import annotations

from dualview.experiments.experiment import Experiment, plan_in
from dualview.experiments.gate_learning import figures, tables
from dualview.experiments.gate_learning.claims import CLAIMS
from dualview.experiments.published import NPK_PAPER

EXPERIMENT = Experiment(
    name="gate-learning",
    title="Gates in the making",
    question="How good are the gates before any training, and after each stage of it? A fresh "
    "weights network and a kernel machine that knows nothing but the gates learn on them, frozen, "
    "at every stage.",
    source=f"{NPK_PAPER}, section 5, continuous gate learning",
    duration="digits: 4 minutes",
    default_data="digits",
    plan=plan_in("dualview.experiments.gate_learning.plan"),
    tables=tables.tables,
    figures=figures.figures,
    captions=figures.CAPTIONS,
    options=("arch", "width"),
    claims=CLAIMS,
)
