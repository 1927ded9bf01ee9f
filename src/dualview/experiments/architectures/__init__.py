"""Experiment `architectures`: how much of the DNN's accuracy do DGN and DLGN recover, at what cost?

DNN, DGN and DLGN (reading the data, and the constant 1) of C4GAP, VGG-16, ResNet-20 and ResNet-110;
DNN and DGN of the vision transformer, of which there is no DLGN, where it is asked for.
A DGN or DLGN consists of two networks, so beside the DNN of the same width stands one widened until
it has as many parameters as the DLGN.

Images that are too small for VGG-16, which halves them four times, are enlarged by repeating each
pixel; the config says so.

Source: arXiv 2110.03403, abstract: the DLGN recovers more than 83.5 % of the DNN's performance.
"""

from __future__ import annotations

from dualview.experiments.architectures import tables
from dualview.experiments.architectures.claims import CLAIMS
from dualview.experiments.curves import COMPARISON_CAPTIONS, comparison_figures
from dualview.experiments.experiment import Experiment, plan_in
from dualview.experiments.published import DLGN_RECOVERY

EXPERIMENT = Experiment(
    name="architectures",
    title="Recovered accuracy of DGN and DLGN",
    question="How much of a ReLU network’s accuracy is left when its gates are learnt in one "
    "network and its weights in another (DGN), and when the network that decides the gates is deep "
    "linear (DLGN)? And is what is left due to the second network’s parameters?",
    source=DLGN_RECOVERY.source,
    duration="digits: 11 minutes; CIFAR-10 (C4GAP): 170 minutes",
    default_data="digits",
    plan=plan_in("dualview.experiments.architectures.plan"),
    tables=tables.tables,
    figures=comparison_figures,
    captions=COMPARISON_CAPTIONS,
    options=("arch", "width", "kinds"),
    claims=CLAIMS,
)
