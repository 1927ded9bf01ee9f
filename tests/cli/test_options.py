"""Properties proved here.

1. The defaults of the command line are those of the settings, so both faces do the same.
2. Every field of the settings can be set from the command line, and reaches its place.
3. The help lists every architecture, kind, loss, optimizer and schedule.
4. It says what the settings' docstring says of the field, with the default that is taken, or what
   takes its place where the option, not given, is None.
"""

import dataclasses
import re

import pytest

from dualview.architectures import ARCHITECTURES
from dualview.cli import options as cli
from dualview.cli.parser import Parser
from dualview.experiments.settings import KINDS, ComparisonSettings, DataSettings
from dualview.training import DECAYED, LOSSES, OPTIMIZERS, SCHEDULES, TrainSettings
from dualview.training.settings import CHOICES

NOT_OPTIONS = {"seed", "split_seed", "tensorboard"}
"""Set by the comparison, or from Python only."""


def _parse(*arguments):
    parser = Parser(prog="tool")
    for add in (
        cli.add_data_options,
        cli.add_network_options,
        cli.add_training_options,
        cli.add_machine_options,
    ):
        add(parser)
    return parser.parse_args(list(arguments))


def test_defaults_are_those_of_the_settings():
    options, defaults = _parse(), ComparisonSettings()
    assert cli.data_settings(options) == DataSettings()
    assert cli.train_settings(options) == TrainSettings()
    assert tuple(options.kinds) == defaults.kinds
    for name in ("arch", "width", "batch_norm", "beta", "max_pool"):
        assert getattr(options, name) == getattr(defaults, name)


VALUES = {
    "epochs": ("5", 5),
    "batch_size": ("7", 7),
    "loss": ("squared", "squared"),
    "optimizer": ("sgd", "sgd"),
    "learning_rate": ("0.5", 0.5),
    "momentum": ("0.25", 0.25),
    "nesterov": (None, True),
    "decayed": ("weights", "weights"),
    "label_smoothing": ("0.1", 0.1),
    "weight_decay": ("1e-4", 1e-4),
    "schedule": ("steps", "steps"),
    "flip": (None, True),
    "crop": ("4", 4),
    "accelerator": ("cpu", "cpu"),
    "devices": ("0,1", "0,1"),
    "precision": ("bf16-mixed", "bf16-mixed"),
    "compile": (None, True),
    "threads": ("3", 3),
    "source": ("somewhere", "somewhere"),
    "validation": ("0.3", 0.3),
    "test": ("0.4", 0.4),
    "image_column": ("img", "img"),
    "label_column": ("fine", "fine"),
    "subset": ("en", "en"),
    "cache": (None, False),
}
WITH: dict[str, dict[str, str]] = {"nesterov": {"optimizer": "sgd"}}
"""Other options that an option needs."""

FIELDS = [
    (settings, field.name)
    for settings in (DataSettings, TrainSettings)
    for field in dataclasses.fields(settings)
    if field.name not in NOT_OPTIONS
]


@pytest.mark.parametrize(("settings", "name"), FIELDS)
def test_every_field_can_be_set(settings, name):
    text, value = VALUES[name]
    flag = {"source": "--data", "cache": "--no-cache"}.get(name, "--" + name.replace("_", "-"))
    others = WITH.get(name, {})
    words = [word for other in others.items() for word in (f"--{other[0]}", other[1])]
    options = _parse(flag, *words) if text is None else _parse(flag, text, *words)
    made = cli.data_settings(options) if settings is DataSettings else cli.train_settings(options)
    assert made == dataclasses.replace(settings(), **{name: value}, **others)


def test_devices_may_be_a_number_and_device_another_name():
    options = _parse("--devices", "2", "--device", "gpu")
    assert (options.devices, options.accelerator) == (2, "gpu")


def test_batch_norm_has_three_states():
    states = [_parse(*flags).batch_norm for flags in ([], ["--batch-norm"], ["--no-batch-norm"])]
    assert states == [None, True, False]


def test_help_lists_every_choice():
    parser = Parser(prog="tool")
    cli.add_network_options(parser)
    cli.add_training_options(parser)
    words = re.sub(r'[,;{}"]', " ", parser.format_help()).split()
    assert {*ARCHITECTURES, *KINDS, *LOSSES, *OPTIMIZERS, *SCHEDULES, *DECAYED} <= set(words)


@dataclasses.dataclass
class Baking:
    """How to bake.

    Attributes:
        heat: of the oven, 100 % to 0 %.
        minutes: until it is done. Default: 40,
            or 50 for bread.
        shelf: "low" or "high".
        fan: let it blow.
    """

    heat: float = 0.5
    minutes: int | None = None
    shelf: str = dataclasses.field(default="low", metadata={CHOICES: ("low", "high")})
    fan: bool = True


def test_help_is_the_docstrings():
    parser = Parser(prog="tool")
    cli.add_fields(parser, Baking, "heat", "minutes", "shelf", "fan")
    help_ = " ".join(parser.format_help().split())
    assert "--heat N of the oven, 100 % to 0 % (default: 0.5)" in help_
    assert "--minutes N until it is done (default: 40, or 50 for bread)" in help_
    assert '--shelf {low,high} "low" or "high" (default: low)' in help_
    assert "--fan, --no-fan let it blow (on)" in help_


def test_what_is_taken_where_an_option_is_not_given():
    parser = Parser(prog="tool")
    cli.add_fields(parser, Baking, "heat", "shelf", unset={"heat": "the cook's"})
    assert "of the oven, 100 % to 0 % (default: the cook's)" in parser.format_help()
    assert (parser.parse_args([]).heat, parser.parse_args([]).shelf) == (None, "low")
    assert parser.parse_args(["--heat", "0.25"]).heat == 0.25
