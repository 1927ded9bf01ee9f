"""The experiments by name, in the order in which they are listed."""

from __future__ import annotations

from collections.abc import Mapping

from dualview.experiments import (
    alignment,
    architectures,
    gate_learning,
    invariances,
    regimes,
    shallow,
    spectrum,
)
from dualview.experiments.experiment import Experiment

EXPERIMENTS: Mapping[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        regimes.EXPERIMENT,
        architectures.EXPERIMENT,
        invariances.EXPERIMENT,
        gate_learning.EXPERIMENT,
        alignment.EXPERIMENT,
        shallow.EXPERIMENT,
        spectrum.EXPERIMENT,
    )
}
"""Name -> experiment; each is the `EXPERIMENT` of a module of this package."""
