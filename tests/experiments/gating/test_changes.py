"""Every change names options that there are, changes something, and has a title of its own."""

from dataclasses import fields

from dualview.experiments.gating.changes import BASE, CHANGES, Change
from dualview.experiments.settings import KINDS, ComparisonSettings
from dualview.training import TrainSettings


def test_what_changes_name():
    of_network, of_training = (
        {field.name for field in fields(kind)} for kind in (ComparisonSettings, TrainSettings)
    )
    for name, change in CHANGES.items():
        assert change.kind in KINDS
        assert set(change.network) <= of_network
        assert {*change.training, *change.times} <= of_training
        assert (change == Change(change.title)) == (name == BASE)
    assert len({change.title for change in CHANGES.values()}) == len(CHANGES)
