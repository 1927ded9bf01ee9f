"""Trains one network, with PyTorch Lightning, which no other room imports.

`train` takes a network, data and `TrainSettings`, and returns a `TrainingResult`. It keeps a
checkpoint after every epoch and goes on from it when called again.

Each file has one subject: `settings` (options and their checks), `optimisation` (optimisers and
schedules), `losses`, `module` (what happens in a step and in an epoch), `checkpoints` and
`identity` (what survives a kill, and of which run it is), `keeping` (after each step and epoch),
`environment` and `interruption` (launchers and signals), `lightning` (the library, or which extra
brings it), `watcher` (who is told), `metrics` (what was measured), `parameters` (a
network's file), `run` (all of it together). Importing this package imports
neither torch nor Lightning.
"""

from dualview.training.environment import is_main_process
from dualview.training.interruption import Terminated
from dualview.training.metrics import EpochMetrics, TrainingResult
from dualview.training.run import (
    CHECKPOINT,
    METRICS,
    MODEL,
    TENSORBOARD,
    check_machine,
    cpu_threads,
    on_this_machine,
    require_lightning,
    train,
)
from dualview.training.settings import (
    DECAYED,
    LOSSES,
    OPTIMIZERS,
    SCHEDULES,
    SettingsError,
    TrainSettings,
    at_least,
    at_most,
    choose,
    positive,
)
from dualview.training.watcher import Unwatched, Watcher

__all__ = [
    "CHECKPOINT",
    "DECAYED",
    "LOSSES",
    "METRICS",
    "MODEL",
    "OPTIMIZERS",
    "SCHEDULES",
    "TENSORBOARD",
    "EpochMetrics",
    "SettingsError",
    "Terminated",
    "TrainSettings",
    "TrainingResult",
    "Unwatched",
    "Watcher",
    "at_least",
    "at_most",
    "check_machine",
    "choose",
    "cpu_threads",
    "is_main_process",
    "on_this_machine",
    "positive",
    "require_lightning",
    "train",
]
