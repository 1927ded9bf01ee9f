"""How a gated network was made, as plain values: what it takes to make its like again by code."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dualview.architectures.record import Architecture
from dualview.conversion.gates import (
    Gate,
    GELUGate,
    HardGate,
    HardswishGate,
    LeakyGate,
    MishGate,
    ReLU6Gate,
    SiLUGate,
    SoftGate,
)
from dualview.errors import SavedNetworkError

OWN = "own"

DESCRIBED_GATES: dict[str, type[Gate]] = {
    gate.__name__: gate
    for gate in (
        HardGate,
        SoftGate,
        LeakyGate,
        ReLU6Gate,
        GELUGate,
        SiLUGate,
        HardswishGate,
        MishGate,
    )
}
"""Gates that numbers and texts describe: each option is an attribute of the same name."""


@dataclass(frozen=True)
class Recipe:
    """The model and the options that `disentangle` was given, beside what the network itself shows.

    Attributes:
        model: name of the model's class.
        architecture: where the model is a reference architecture, which one.
        gate: as `describe_gate` gives it; None: a gate of the user's own.
        max_pool: "average" or "switch".
        example_shape: the shape of one example of the example input, if there was one.
        seed: of the freshly drawn parameters, if one was given.
        mode: "evaluation", or None.
        output: which of the model's outputs was taken, if one was named.
        multipliers: names of layers that give a multiplier.
        weights: "copied", where the weights network started from the model's own; else None.
        example_inputs: the example input where that was not one tensor of floating-point numbers,
            as `example_outline.described` gives it; empty: it held what only code makes again.
    """

    model: str
    architecture: Architecture | None
    gate: Mapping[str, Any] | None
    max_pool: str
    example_shape: tuple[int, ...] | None
    seed: int | None
    mode: str | None = None
    output: str | int | None = None
    multipliers: tuple[str, ...] = ()
    example_inputs: Mapping[str, Any] | None = None
    weights: str | None = None


def describe_gate(gate: Gate | str) -> dict[str, Any] | None:
    """A gate's class name and options, or the name "own"; None: it has no description.

    >>> describe_gate(SoftGate(beta=2)), describe_gate("own")
    ({'name': 'SoftGate', 'beta': 2.0, 'eps': 0.0}, {'name': 'own'})
    """
    if isinstance(gate, str):
        return {"name": gate}
    kind = type(gate)
    if DESCRIBED_GATES.get(kind.__name__) is not kind:
        return None
    return {"name": kind.__name__, **{name: getattr(gate, name) for name in gate_options(kind)}}


def gate_options(kind: type[Gate]) -> tuple[str, ...]:
    """The names of the options that a described gate is made with.

    >>> gate_options(SoftGate), gate_options(HardGate)
    (('beta', 'eps'), ())
    """
    options = inspect.signature(kind).parameters.values()
    # A gate without options of its own has nn.Module's (*args, **kwargs).
    return tuple(o.name for o in options if o.kind is o.POSITIONAL_OR_KEYWORD)


def gate_from(description: Mapping[str, Any]) -> Gate | str:
    """The gate that `describe_gate` described; "own" as it is. Only known names make anything.

    Raises:
        SavedNetworkError: unknown name, or options that the gate does not take.

    >>> gate_from({"name": "SoftGate", "beta": 2.0, "eps": 0.0})
    SoftGate(beta=2, eps=0)
    """
    options = {name: value for name, value in description.items() if name != "name"}
    name = description.get("name")
    if name == OWN and not options:
        return OWN
    kind = DESCRIBED_GATES.get(name) if isinstance(name, str) else None
    if kind is None:
        raise SavedNetworkError(
            f"gate: expected 'own' or one of {', '.join(DESCRIBED_GATES)}, got {repr(name)[:80]}"
        )
    expected = gate_options(kind)
    if set(options) != set(expected) or not all(map(_is_option, options.values())):
        raise SavedNetworkError(
            f"gate: {name} has the options {', '.join(expected) or '(none)'}, finite numbers or "
            f"texts; got {repr(options)[:80]}"
        )
    try:
        return kind(**options)
    except (TypeError, ValueError) as error:
        raise SavedNetworkError(f"gate: {name} cannot be made so: {error}") from error


def _is_option(value: Any) -> bool:
    if isinstance(value, str):
        return value in ("none", "tanh")  # the approximations of GELU
    # A whole number in JSON may be larger than any float; NaN fails the comparison.
    return isinstance(value, int | float) and abs(value) <= sys.float_info.max
