"""Properties proved here.

1. Every None is filled in by the number of train examples, what was given is kept, and resolving
   twice changes nothing.
2. Each value that cannot be meant is refused with its name, and so are options that do not go
   together; a misspelt choice names the nearest.
3. What differs between two sets of options is said in words.
"""

import dataclasses

import pytest

from dualview.training import OPTIMIZERS, SCHEDULES, SettingsError, TrainSettings, choose
from dualview.training.settings import changed_settings


@pytest.mark.parametrize(
    ("n_train", "epochs", "batch_size"),
    [(1, 40, 64), (4_999, 40, 64), (5_000, 20, 64), (19_999, 20, 64), (20_000, 10, 128)],
)
def test_defaults_go_by_the_size_of_the_data(n_train, epochs, batch_size):
    settings = TrainSettings().resolved(n_train)
    assert (settings.epochs, settings.batch_size) == (epochs, batch_size)
    assert settings.resolved(n_train) == settings


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_each_optimizer_has_a_default_rate(optimizer):
    rate = TrainSettings(optimizer=optimizer).resolved(10).learning_rate
    assert rate is not None
    assert 0 < rate < 1


def test_what_was_given_is_kept():
    given = TrainSettings(epochs=3, batch_size=5, learning_rate=0.25, schedule="steps", seed=9)
    assert given.resolved(100_000) == given


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("epochs", 1.5),
        ("epochs", True),
        ("batch_size", 0),
        ("crop", -1),
        ("seed", -1),
        ("threads", 0),
        ("learning_rate", 0.0),
        ("learning_rate", -1.0),
        ("learning_rate", float("inf")),
        ("learning_rate", float("nan")),
        ("momentum", 1.0),
        ("momentum", -0.1),
        ("weight_decay", -1e-4),
        ("weight_decay", float("nan")),
        ("optimizer", "adagrad"),
        ("loss", "hinge"),
        ("schedule", "linear"),
        ("decayed", "none"),
        ("label_smoothing", 1.0),
        ("label_smoothing", -0.1),
        ("label_smoothing", float("nan")),
    ],
)
def test_wrong_values_are_refused_by_name(name, value):
    with pytest.raises(SettingsError, match=f"^{name}: expected"):
        dataclasses.replace(TrainSettings(), **{name: value})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "squared", "label_smoothing": 0.1}, "label_smoothing: .*'squared'"),
        ({"nesterov": True}, "nesterov: .*'sgd' with momentum, got 'adam'"),
        ({"nesterov": True, "optimizer": "sgd", "momentum": 0.0}, "nesterov: .*momentum 0"),
    ],
)
def test_options_that_do_not_go_together(options, message):
    with pytest.raises(SettingsError, match=f"^{message}"):
        TrainSettings(**options)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_misspelt_choice_names_the_nearest(schedule):
    with pytest.raises(SettingsError, match=f"did you mean '{schedule}'"):
        choose("schedule", schedule[:-1].upper(), SCHEDULES)


def test_nothing_near_gives_no_hint():
    with pytest.raises(SettingsError) as caught:
        choose("schedule", "zzz", SCHEDULES)
    assert "did you mean" not in str(caught.value)


def test_differences():
    assert changed_settings({"epochs": 3, "seed": 0}, {"seed": 0, "epochs": 3}) == []
    assert changed_settings({"a": None}, {}) == ["a was the default, is now not set"]
