"""Experiment `shallow`: does a DLGN need depth in the network that decides its gates?

In a DLGN the gating network is deep linear; in a DLGN-SF ("shallow features") each gated layer's
pre-activations are one linear map of the input, learnt on its own. Both describe the same functions
of the input as candidates for a gate (every deep linear map is a linear map), and differ in how
these are learnt and shared.

Source: arXiv 2110.03403 (DLGN-SF).
"""

from __future__ import annotations

from dualview.experiments.curves import COMPARISON_CAPTIONS, comparison_figures
from dualview.experiments.experiment import Experiment, plan_in
from dualview.experiments.published import DLGN_PAPER
from dualview.experiments.shallow import tables

EXPERIMENT = Experiment(
    name="shallow",
    title="Deep or shallow gates",
    question="A deep linear network can compute no more than a single linear map. Does it matter, "
    "then, that the DLGN’s gates are decided by a deep one (DLGN) rather than by one linear map "
    "for each layer (DLGN-SF)?",
    source=DLGN_PAPER,
    duration="digits: 5 minutes",
    default_data="digits",
    plan=plan_in("dualview.experiments.shallow.plan"),
    tables=tables.tables,
    figures=comparison_figures,
    captions=COMPARISON_CAPTIONS,
    options=("arch", "width", "kinds"),
)
