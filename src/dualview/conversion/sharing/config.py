"""`config.json` of a saved network: plain values, each checked before it is used."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from dualview.architectures.record import Architecture
from dualview.conversion.example_outline import is_description, is_size
from dualview.conversion.promises import Kind, MaxPooling, WeightsInput
from dualview.conversion.recipe import Recipe
from dualview.conversion.tracing import Mode
from dualview.errors import SavedNetworkError
from dualview.files.opening import text_of

CONFIG = "config.json"
FORMAT = "dualview network 1"
MOST_BYTES = 16_000_000
"""Of a config; the outline of ResNet-110, the longest architecture here, takes a fraction of it."""
MOST_LETTERS, MOST_VERSIONS = 80, 8
"""Of a name or version, and of libraries: messages and model cards show them."""

DTYPES = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16"}
"""Floating-point types of PyTorch, and their names in safetensors."""


@dataclass(frozen=True)
class SavedConfig:
    """How to make a network again, and what must then be true of it.

    Attributes:
        recipe: the model and the options it was made with; its architecture is None where only the
            user can give the model.
        kind: as of `GatedNetwork`.
        weights_input: as of `GatedNetwork`.
        gate_order: as of `GatedNetwork`.
        dtype: of all floating-point tensors, a key of `DTYPES`.
        graph: the outline of both networks and the gates.
        sha256: of the parameter file, in hexadecimal.
        versions: of dualview and PyTorch, which saved it.
        input_transform: mean and standard deviation of the network's input transform, if it has
            one.
    """

    recipe: Recipe
    kind: str
    weights_input: str
    gate_order: tuple[int, ...]
    dtype: str
    graph: tuple[str, ...]
    sha256: str
    versions: Mapping[str, str]
    input_transform: tuple[tuple[float, ...], tuple[float, ...]] | None = None


def config_to_json(config: SavedConfig) -> dict[str, Any]:
    """The config as the JSON object that is written."""
    recipe, made = config.recipe, config.recipe.architecture
    assert recipe.gate is not None
    # Without a transform there is no entry, as before networks had one: older readers know none.
    front = {}
    if config.input_transform is not None:
        mean, std = config.input_transform
        front = {"input_transform": {"mean": list(mean), "std": list(std)}}
    return {
        "format": FORMAT,
        "model": recipe.model,
        "architecture": made and {"name": made.name, "options": dict(made.options)},
        "kind": config.kind,
        "gate": dict(recipe.gate),
        "weights_input": config.weights_input,
        "gate_order": list(config.gate_order),
        "max_pool": recipe.max_pool,
        "example_shape": recipe.example_shape and list(recipe.example_shape),
        "seed": recipe.seed,
        **{name: value for name in _CHOICES if (value := getattr(recipe, name)) is not None},
        **({"multipliers": list(recipe.multipliers)} if recipe.multipliers else {}),
        "dtype": config.dtype,
        "versions": dict(config.versions),
        "sha256": config.sha256,
        "graph": list(config.graph),
        **front,
    }


def read_config(path: Path) -> SavedConfig:
    """The config in a file.

    Raises:
        SavedNetworkError: it is too large, no JSON, of another format, or has entries of another
            form than `config_to_json` gives.
    """
    try:
        value = json.loads(text_of(path, MOST_BYTES), parse_constant=_no_constant)
    except (OSError, ValueError, RecursionError) as error:
        raise SavedNetworkError(
            f"{path}: expected the JSON of a saved network, got {type(error).__name__}: {error}. "
            f"Repair: get the file again"
        ) from error
    return config_from_json(value, str(path))


def config_from_json(value: Any, where: str) -> SavedConfig:
    """The config in a JSON value; `where` names it in messages.

    Raises:
        SavedNetworkError: as `read_config`.
    """
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        found = value.get("format") if isinstance(value, dict) else type(value).__name__
        raise SavedNetworkError(
            f"{where}: expected the config of a saved network, format {FORMAT!r}; got "
            f"{repr(found)[:80]}. Repair: give a folder that GatedNetwork.save_pretrained "
            f"wrote (a run of `dualview compare` is none), or read it with the "
            f"dualview that wrote it"
        )
    unknown = [name for name in value if name not in (*_FORMS, *_OPTIONAL, "format")]
    if unknown:
        raise SavedNetworkError(
            f"{where}: expected the entries {', '.join(_FORMS)}, got "
            f"{repr(unknown[0])[:80]} too. Repair: take out what save_pretrained did not write"
        )
    for name, (fits, form) in (_FORMS | {n: f for n, f in _OPTIONAL.items() if n in value}).items():
        if name not in value or not fits(value[name]):
            got = repr(value[name])[:80] if name in value else "none"
            raise SavedNetworkError(f"{where}: {name}: expected {form}, got {got}")
    return _made(value)


def _made(value: Mapping[str, Any]) -> SavedConfig:
    """The configuration that checked JSON tells."""
    architecture, shape = value["architecture"], value["example_shape"]
    recipe = Recipe(
        model=value["model"],
        architecture=architecture and Architecture(architecture["name"], architecture["options"]),
        gate=value["gate"],
        max_pool=value["max_pool"],
        example_shape=None if shape is None else tuple(shape),
        seed=value["seed"],
        multipliers=tuple(value.get("multipliers", ())),
        **{name: value.get(name) for name in _CHOICES},
    )
    return SavedConfig(
        recipe,
        value["kind"],
        value["weights_input"],
        tuple(value["gate_order"]),
        value["dtype"],
        tuple(value["graph"]),
        value["sha256"],
        value["versions"],
        _transform(value.get("input_transform")),
    )


def _transform(value: Any) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    return value and (tuple(map(float, value["mean"])), tuple(map(float, value["std"])))


def _no_constant(name: str) -> Any:
    raise ValueError(f"the number {name}")


def is_option(value: Any) -> bool:
    """Whether an option of an architecture can be saved: None, true or false, numbers, lists.

    >>> is_option([8, 8]), is_option(0), is_option("os.system")
    (True, False, False)
    """
    if isinstance(value, list | tuple):
        return all(map(is_size, value))
    return value is None or isinstance(value, bool) or is_size(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_name(value: Any) -> bool:
    return _is_text(value) and value.isidentifier() and len(value) <= MOST_LETTERS


def _are_versions(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and len(value) <= MOST_VERSIONS
        and all(map(_is_short, (*value, *value.values())))
    )


def _is_short(value: Any) -> bool:
    return _is_text(value) and value.isprintable() and len(value) <= MOST_LETTERS


def _is_architecture(value: Any) -> bool:
    if value is None:
        return True
    if not isinstance(value, dict) or set(value) != {"name", "options"}:
        return False
    options = value["options"]
    return (
        _is_text(value["name"])
        and isinstance(options, dict)
        and all(map(_is_name, options))
        and all(map(is_option, options.values()))
    )


def _is_transform(value: Any) -> bool:
    if not isinstance(value, dict) or set(value) != {"mean", "std"}:
        return False
    mean, std = value["mean"], value["std"]
    lists = isinstance(mean, list) and isinstance(std, list) and 0 < len(mean) == len(std)
    return lists and all(map(_is_number, (*mean, *std))) and min(std) > 0


def _is_number(value: Any) -> bool:
    # A whole number in JSON may be larger than any float.
    whole = isinstance(value, int | float) and not isinstance(value, bool)
    return whole and abs(value) <= sys.float_info.max


def _is_list(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(fits, value))


def _one_of(*choices: str) -> tuple[Callable[[Any], bool], str]:
    return lambda value: _is_text(value) and value in choices, f"one of {', '.join(choices)}"


def _is_whole(value: Any) -> bool:
    return value == 0 or is_size(value)


_FORMS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "model": (_is_name, "the name of a class"),
    "architecture": (
        _is_architecture,
        "null, or the name of an architecture and its options: null, true, false, numbers above 0",
    ),
    "kind": _one_of(*get_args(Kind)),
    "gate": (lambda value: isinstance(value, dict), "the name of a gate and its options"),
    "weights_input": _one_of(*get_args(WeightsInput)),
    "gate_order": (_is_list(_is_whole), "a list of whole numbers"),
    "max_pool": _one_of(*get_args(MaxPooling)),
    "example_shape": (
        lambda value: value is None or _is_list(is_size)(value),
        "null, or a list of whole numbers above 0",
    ),
    "seed": (lambda value: value is None or _is_whole(value), "null, or a whole number"),
    "dtype": _one_of(*DTYPES),
    "versions": (_are_versions, "the versions of a few libraries"),
    "sha256": (_is_text, "a checksum in hexadecimal"),
    "graph": (_is_list(_is_text), "a list of lines"),
}
"""Entry -> whether a value has its form, and the form in words."""

_CHOICES = ("mode", "output", "example_inputs", "weights")
"""Options of `disentangle` that are written only where they say something."""

_OPTIONAL: dict[str, tuple[Callable[[Any], bool], str]] = {
    "mode": _one_of(*get_args(Mode)),
    "output": (
        lambda value: _is_whole(value) or (_is_short(value) and bool(value)),
        "the name or number of an output",
    ),
    "multipliers": (_is_list(_is_short), "a list of names of layers"),
    "weights": _one_of("copied"),
    "example_inputs": (
        is_description,
        "a tensor's type and shape, or a tuple, list or dict of such, or plain values",
    ),
    "input_transform": (
        _is_transform,
        "mean and std, lists of as many finite numbers, those of std above 0",
    ),
}
"""The same for entries that may be missing."""
