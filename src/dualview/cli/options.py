"""Options that several commands share: fields of settings, which say what the options do."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from dualview.architectures import NAMES
from dualview.cli.parser import switch
from dualview.experiments.selection import Sharing
from dualview.experiments.settings import KINDS, ComparisonSettings, DataSettings
from dualview.files.user_code import is_place
from dualview.training import SettingsError, TrainSettings
from dualview.training.settings import CHOICES, READ

Settings = TypeVar("Settings")

FLAGS = {"source": ("--data",), "accelerator": ("--device", "--accelerator")}
"""Of fields whose option is not their name."""

METAVARS = {
    "source": "NAME_OR_PATH",
    "kinds": "KIND",
    "validation": "SHARE",
    "test": "SHARE",
    "label_smoothing": "SHARE",
    "learning_rate": "RATE",
    "momentum": "M",
    "weight_decay": "W",
    "beta": "B",
    "only": "JOB",
    "seeds": "N|A-B|A,B,...",
    "crop": "PIXELS",
    "others": "NAME",
    "categories": "COLUMN",
    "leave_out": "COLUMN",
}
"""What values are called, where they are neither numbers (N) nor names (NAME)."""

LISTED = {"`dualview.architectures.NAMES`": NAMES, "`KINDS`": KINDS}
"""What help spells out; what is not among them is refused by the settings, with the nearest."""


def add_fields(group: Any, kind: type, *names: str, unset: Mapping[str, str] | None = None) -> None:
    """Add the option of each named field: name, type, default, choices and help are the field's.

    Args:
        group: of a parser.
        kind: a dataclass that describes its fields under `Attributes:`; what follows "Default:"
            there is shown as the default where the field's is None.
        names: of the fields.
        unset: what is taken where the option is not given, by field; the option is then None.
    """
    said, hints = _described(kind), get_type_hints(kind)
    by_name = {field.name: field for field in fields(kind)}
    for name in names:
        _add_field(group, by_name[name], hints[name], said.get(name, ""), (unset or {}).get(name))


def _add_field(group: Any, field: Field[Any], hint: Any, said: str, unset: str | None) -> None:
    name = field.name
    flags = FLAGS.get(name, ("--" + name.replace("_", "-"),))
    text, _, otherwise = said.partition(" Default: ")
    text, otherwise = _without_stop(text), _without_stop(unset or otherwise)
    default = None if unset or field.default is MISSING else field.default
    if hint is bool and not unset:
        text += " (on)" if default else ""
        return switch(group, flags[0][2:], text, default=bool(default))
    if otherwise:
        text += f" (default: {otherwise})"
    more: dict[str, Any] = {"help": text, "default": default}
    if name in FLAGS:
        more["dest"] = "data" if name == "source" else name
    if CHOICES in field.metadata:
        more["choices"] = list(field.metadata[CHOICES])
    elif READ in field.metadata:
        more.update(metavar=METAVARS.get(name, "VALUE"), type=field.metadata[READ])
    elif bool in get_args(hint):
        more["action"] = argparse.BooleanOptionalAction
    else:
        is_list = any(get_origin(part) is tuple for part in (hint, *get_args(hint)))
        number = {int, float} & {hint, *get_args(hint)}
        more["metavar"] = METAVARS.get(name, "N" if number else "NAME")
        more["type"] = str if is_list else hint | None if unset else hint
        if is_list:
            more.update(nargs="+", default=None if default is None else list(default))
    return group.add_argument(*flags, **more)


def _described(kind: type) -> dict[str, str]:
    """What the docstring says of each attribute, in one line each."""
    from docstring_parser import parse

    said = {}
    for param in parse(kind.__doc__ or "").params:
        text = " ".join((param.description or "").split())
        for name, values in LISTED.items():
            text = text.replace(name, ", ".join(values))
        said[param.arg_name] = text
    return said


def _without_stop(text: str) -> str:
    return text if text.endswith("...") else text.removesuffix(".")


def add_data_options(parser: Any, unset: Mapping[str, str] | None = None) -> None:
    """Which data, and how it is read."""
    names = [field.name for field in fields(DataSettings) if field.name != "split_seed"]
    add_fields(parser.add_argument_group("data"), DataSettings, *names, unset=unset)


def add_network_options(parser: Any) -> None:
    """Which networks are compared."""
    names = ("arch", "width", "batch_norm", "kinds", "beta", "max_pool", "weights")
    add_fields(parser.add_argument_group("networks"), ComparisonSettings, *names)


MACHINE = ("accelerator", "devices", "precision", "compile", "threads")
"""Fields of the settings of a training run that say where it runs."""


def add_training_options(parser: Any) -> None:
    """How each network is trained."""
    others = {*MACHINE, "seed", "tensorboard"}
    names = [field.name for field in fields(TrainSettings) if field.name not in others]
    add_fields(parser.add_argument_group("training"), TrainSettings, *names)


def add_machine_options(parser: Any, unset: Mapping[str, str] | None = None) -> None:
    """Where it runs: PyTorch Lightning's own options."""
    group = parser.add_argument_group("machine (as PyTorch Lightning takes them)")
    add_fields(group, TrainSettings, *MACHINE, unset=unset)


def add_sharing_options(group: Any) -> None:
    """Which jobs are done, and by whom; and `--dry-run`."""
    add_fields(group, Sharing, "only", "scheduler", "workers")
    group.add_argument(
        "--dry-run",
        action="store_true",
        help="list the jobs with what each needs and how long it should take, and do none",
    )


def sharing_settings(options: Any) -> Sharing:
    """What `add_sharing_options` gathered."""
    only = None if options.only is None else tuple(options.only)
    return gathered(Sharing, options, only=only)


def gathered(kind: type[Settings], options: Any, **given: Any) -> Settings:
    """Settings whose fields are the options of the same names, but for those that are given."""
    # A type variable cannot say that its types are dataclasses, which `fields` wants to know.
    named = (field.name for field in fields(kind) if field.name not in given)  # type: ignore[arg-type]
    own = {name: getattr(options, name) for name in named if hasattr(options, name)}
    return kind(**own, **given)


def add_out(group: Any, said: str) -> None:
    """The folder of what a command writes; none is a name made of the other options."""
    group.add_argument("--out", metavar="FOLDER", type=str | None, help=said)


def page_beside_numbers(out: str, example: str) -> Path:
    """The path of a page that has a .json file of its numbers beside it.

    Raises:
        SettingsError: it is a folder, or ends in .json.
    """
    path = Path(out)
    if path.is_dir() or path.suffix == ".json":
        raise SettingsError(f"--out: expected a file such as {example}, got {out}")
    return path


def check_named_here(arch: str | None, command: str) -> None:
    """See that code of the user's own is named on the command line, not by a file of options.

    Raises:
        SettingsError: it is not.
    """
    words = shlex.split(command)
    if arch is None or not is_place(arch) or arch in words or f"--arch={arch}" in words:
        return
    raise SettingsError(
        f"arch: expected your own architecture on the command line, got {arch!r} from a file, and "
        f"files never bring code. Repair: take it out of the file, and give --arch {arch}"
    )


def data_settings(options: Any) -> DataSettings:
    """What `add_data_options` gathered."""
    return gathered(DataSettings, options, source=options.data)


def train_settings(options: Any) -> TrainSettings:
    """What `add_training_options` and `add_machine_options` gathered; seeds are the runs'."""
    return gathered(TrainSettings, options)
