"""The experiments by name, in the order in which they are listed."""

from __future__ import annotations

from collections.abc import Mapping

from dualview.experiments.alignment import plan as alignment
from dualview.experiments.architectures import plan as architectures
from dualview.experiments.experiment import Experiment
from dualview.experiments.gate_learning import plan as gate_learning
from dualview.experiments.invariances import plan as invariances
from dualview.experiments.regimes import plan as regimes
from dualview.experiments.shallow import plan as shallow
from dualview.experiments.spectrum import plan as spectrum

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
