"""Experiment `pruning`: which weights can go, by their size or by their paths?

Trained networks lose weights, the least important first, and are tested without training further.
Importance is |w|; |w| once units are balanced (`dualview.rescaled`); or the sum of |path value|
over the paths through w (`dualview.path_magnitudes`), which no rescaling changes.
"""

from __future__ import annotations

from dualview.experiments.experiment import Experiment, plan_in
from dualview.experiments.pruning import figures, tables
from dualview.experiments.pruning.claims import CLAIMS

EXPERIMENT = Experiment(
    name="pruning",
    title="Which weights can go?",
    question="How much accuracy is left when the weights of a trained network are removed, those "
    "first that matter least: by size, by size in the balanced network, or by what their paths "
    "carry? And what does the path norm promise of the change?",
    source="arXiv 2310.01225 and 2405.15006 (path norms, path-magnitude pruning)",
    duration="digits: 3 minutes",
    default_data="digits",
    plan=plan_in("dualview.experiments.pruning.plan"),
    tables=tables.tables,
    figures=figures.figures,
    captions=figures.CAPTIONS,
    options=("arch", "width", "kinds"),
    claims=CLAIMS,
)
