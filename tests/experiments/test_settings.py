"""Properties proved here.

1. Each option that cannot be meant is refused by name, a misspelt kind names the nearest, and
   "dnn-ones" says why there is none.
2. Every kind splits into what `disentangle` takes, and the list of kinds is complete: each of its
   kinds, with data and, but for "dnn", with ones.
"""

from typing import get_args

import pytest

from dualview.conversion import promises
from dualview.experiments.settings import KINDS, MAX_POOLING, ComparisonSettings, split_kind
from dualview.training import SettingsError


@pytest.mark.parametrize(
    "options",
    [
        {"kinds": ()},
        {"kinds": ("dnn", "dnn")},
        {"kinds": ("cnn",)},
        {"seeds": 0},
        {"seeds": 1.5},
        {"width": 0},
        {"beta": 0.0},
        {"beta": float("nan")},
        {"max_pool": "max"},
        {"batch_norm": "maybe"},
    ],
)
def test_wrong_values_are_refused_by_name(options):
    (name,) = options
    with pytest.raises(SettingsError, match=f"^{name}: expected"):
        ComparisonSettings(**options)


def test_a_misspelt_kind_names_the_nearest():
    with pytest.raises(SettingsError, match="did you mean 'dlgn-ones'"):
        ComparisonSettings(kinds=("dnn", "dlgn_ones"))


def test_dnn_ones_says_why():
    with pytest.raises(SettingsError, match="one network, which reads the data"):
        ComparisonSettings(kinds=("dnn-ones",))


def test_kinds_are_complete():
    expected = {(kind, "data") for kind in get_args(promises.Kind)}
    expected |= {(kind, "ones") for kind, _ in expected if kind != "dnn"}
    assert {split_kind(kind) for kind in KINDS} == expected
    assert len(KINDS) == len(expected)


def test_max_pooling_choices_are_complete():
    assert set(MAX_POOLING) == set(get_args(promises.MaxPooling))


def test_seeds_reach_the_training():
    settings = ComparisonSettings()
    assert [settings.seeded(seed).seed for seed in (0, 5)] == [0, 5]
