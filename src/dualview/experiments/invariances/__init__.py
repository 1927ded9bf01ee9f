"""Experiment `invariances`: what can be taken from a DGN or DLGN without much harm.

1. Its input: the weights network reads the constant 1 in place of the data, so that all it learns
   of an example comes through the gates.
2. The order of its gates: C4GAP has four gated layers of equal shape, so their gates have 24
   orders. A DLGN is trained anew with each (all of them, or a sample drawn with a fixed seed): the
   gates of layer l come from gating layer `gate_order[l]`.
3. Its residual blocks: a ResNet is, path by path, an ensemble of the networks that keep some of its
   blocks (arXiv 2110.03403: the NTK of a ResNet is a sum over such sub-networks). Blocks are
   dropped one at a time from a network trained as a whole, at test time, without training further;
   see `dropped_blocks` for what dropping means.

Source: arXiv 2203.16455, abstract; arXiv 2110.03403.
"""

from __future__ import annotations

from dualview.experiments.experiment import Experiment, plan_in
from dualview.experiments.invariances import figures, tables
from dualview.experiments.invariances.claims import CLAIMS
from dualview.experiments.published import DLGN_PAPER, DUAL_PAPER

EXPERIMENT = Experiment(
    name="invariances",
    title="What gated networks can do without",
    question="Does a DGN or DLGN still learn when its weights network sees the constant 1 in place "
    "of the data, when its gates are shuffled from layer to layer, and when residual blocks are "
    "dropped after training?",
    source=f"{DUAL_PAPER}, abstract; {DLGN_PAPER}",
    duration="digits: 7 minutes; CIFAR-10: 240 minutes",
    default_data="digits",
    plan=plan_in("dualview.experiments.invariances.plan"),
    tables=tables.tables,
    figures=figures.figures,
    captions=figures.CAPTIONS,
    options=("width",),
    claims=CLAIMS,
)
