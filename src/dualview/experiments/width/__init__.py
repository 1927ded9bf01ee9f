"""Experiment `width`: how wide must a network be for its tangent kernel to be what theory says?

Networks of several widths with random hard gates, which do not change. The spread of their NTK over
fresh weights is drawn (`dualview.ntk_spread`) and, where it has one, taken from its closed form
(`dualview.ntk_variance`); then the weights are trained.
"""

from __future__ import annotations

from dualview.experiments.experiment import Experiment, plan_in
from dualview.experiments.width import figures, tables
from dualview.experiments.width.claims import CLAIMS

EXPERIMENT = Experiment(
    name="width",
    title="How wide must it be?",
    question="The expected NTK of a network with fixed gates is exact at every width, a single "
    "draw’s is not. How far is it from the expectation, does the closed form say so, and what does "
    "width do for the accuracy when gates stay as they are?",
    source="arXiv 2006.10529 (the limit of width); the variance at finite width is derived here",
    duration="digits: 2 minutes",
    default_data="digits",
    plan=plan_in("dualview.experiments.width.plan"),
    tables=tables.tables,
    figures=figures.figures,
    captions=figures.CAPTIONS,
    options=("arch", "width"),
    claims=CLAIMS,
)
