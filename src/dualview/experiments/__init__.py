"""The comparisons and the papers' experiments, and what an experiment of one's own is made of.

The engine: `experiment` says what one is; `settings`, `seeds`, `recipes`, `data` and `networks`
what is trained; `classifiers` and `jobs` how; `selection` and `estimating` which jobs and for how
long; `running`, `finishing`, `carrying` and `carried` who does them; `run_folders`, `records` and
`collected` what is kept; `comparison` and `reproduction` do it all; `summary`, `tables`, `naming`,
`curves`, `report`, `experiment_report` and `results_page` show it. Each folder is an experiment,
which none of the others needs; `registry` lists them. Nothing is imported before it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dualview.experiments.classifiers import Variant, classifier_jobs, of_kind
    from dualview.experiments.comparison import compare, plan_comparison
    from dualview.experiments.curves import COMPARISON_CAPTIONS, comparison_figures
    from dualview.experiments.estimating import ExpectedJob, outlook, outlook_table
    from dualview.experiments.experiment import Experiment, Machine, Request, chosen_kinds, is_small
    from dualview.experiments.finished import FinishedRun, TrainedNetwork, load_network, load_run
    from dualview.experiments.jobs import Job, training_job
    from dualview.experiments.recipes import setting
    from dualview.experiments.records import RunRecord, load_records
    from dualview.experiments.registry import EXPERIMENTS, find
    from dualview.experiments.report import write_report
    from dualview.experiments.reproduction import plan_experiment, reproduce
    from dualview.experiments.selection import Sharing
    from dualview.experiments.settings import ComparisonSettings, DataSettings
    from dualview.experiments.summary import summary_table
    from dualview.experiments.tables import Table

__all__ = [
    "COMPARISON_CAPTIONS",
    "EXPERIMENTS",
    "ComparisonSettings",
    "DataSettings",
    "ExpectedJob",
    "Experiment",
    "FinishedRun",
    "Job",
    "Machine",
    "Request",
    "RunRecord",
    "Sharing",
    "Table",
    "TrainedNetwork",
    "Variant",
    "chosen_kinds",
    "classifier_jobs",
    "compare",
    "comparison_figures",
    "find",
    "is_small",
    "load_network",
    "load_records",
    "load_run",
    "of_kind",
    "outlook",
    "outlook_table",
    "plan_comparison",
    "plan_experiment",
    "reproduce",
    "setting",
    "summary_table",
    "training_job",
    "write_report",
]

_ROOMS = {
    "finished": ("FinishedRun", "TrainedNetwork", "load_network", "load_run"),
    "classifiers": ("Variant", "classifier_jobs", "of_kind"),
    "comparison": ("compare", "plan_comparison"),
    "curves": ("COMPARISON_CAPTIONS", "comparison_figures"),
    "experiment": ("Experiment", "Machine", "Request", "chosen_kinds", "is_small"),
    "jobs": ("Job", "training_job"),
    "estimating": ("ExpectedJob", "outlook", "outlook_table"),
    "recipes": ("setting",),
    "records": ("RunRecord", "load_records"),
    "registry": ("EXPERIMENTS", "find"),
    "report": ("write_report",),
    "reproduction": ("plan_experiment", "reproduce"),
    "selection": ("Sharing",),
    "settings": ("ComparisonSettings", "DataSettings"),
    "summary": ("summary_table",),
    "tables": ("Table",),
}
"""Room -> its public names."""


def __getattr__(name: str) -> Any:
    for room, names in _ROOMS.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{room}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
