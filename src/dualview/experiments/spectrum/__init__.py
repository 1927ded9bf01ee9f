"""Experiment `spectrum`: is the DLGN a universal spectral approximator?

[DLGN] (arXiv 2110.03403) ends on this question and leaves it open. Three things are measured, with
the same sizes and settings for every kind of network:

- functions: sin(2 pi k x), and sin(2 pi k x_1) sin(2 pi k x_2), of growing frequency k: what is
  reached of each, and when (`functions`, `regression`);
- images: classification of their low frequencies, of all the others, and of both
  (`images`, `bands`);
- filters: the spectra of the composed filters of the DLGN's gating networks (`filters`).
"""

from __future__ import annotations

from dualview.experiments.experiment import Experiment, plan_in
from dualview.experiments.published import DLGN_PAPER
from dualview.experiments.spectrum import figures, tables

EXPERIMENT = Experiment(
    name="spectrum",
    title="Frequencies that are learnt",
    question="Is the DLGN a universal spectral approximator? Which frequencies of a function, and "
    "which of an image, do DNN, DGN and DLGN learn, and what do the DLGN’s filters let through?",
    source=f"{DLGN_PAPER}, the question it ends on; no numbers are published",
    duration="digits: 8 minutes",
    default_data="digits",
    plan=plan_in("dualview.experiments.spectrum.plan"),
    tables=tables.tables,
    figures=figures.figures,
    captions=figures.CAPTIONS,
    options=("width", "kinds"),
)
