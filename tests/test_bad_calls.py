"""2,000 calls of public functions in which one or two arguments make no sense.

- every public function takes the good values of `tests.bad_calls`; a new one without is missed here
  by name;
- no such call ends in an error of PyTorch, NumPy, scikit-learn or Python: each is refused with an
  error of `dualview.errors` in words that can be printed, and what was expected;
- what is taken all the same has a meaning there, which `MEANT` of `tests.bad_values` lists, and
  gives finite numbers;
- nothing is written outside the folder at hand.
"""

from __future__ import annotations

import dataclasses
import random
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

import dualview as dv
from dualview.errors import DualviewError
from tests.bad_calls import Target, X, good_arguments, targets
from tests.bad_values import BAD, MEANT, NETWORK_ITSELF, NOT_A_NUMBER

EACH, SEED = 22, 2110

TARGETS = {target.name: target for target in targets()}

CALLED = [name for name, target in TARGETS.items() if target.parameters]


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    """Relative paths lead into a folder of the test's own; warnings are not what is tested."""
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def is_meant(target: Target, parameter: str, kind: str) -> bool:
    """Whether the value means something there."""
    place = f"{target.name}.{parameter}"
    if place in NETWORK_ITSELF:
        return True
    if kind == "None" and target.parameters[parameter].default is None:
        return True
    return kind in MEANT.get(parameter, ()) or kind in MEANT.get(place, ())


def is_finite(result: Any) -> bool:
    """Whether all numbers in a result are."""
    if isinstance(result, torch.Tensor):
        return not result.is_floating_point() or bool(result.isfinite().all())
    if isinstance(result, np.ndarray):
        return result.dtype.kind != "f" or bool(np.isfinite(result).all())
    if isinstance(result, float):
        return bool(np.isfinite(result))
    if isinstance(result, Mapping):
        return all(map(is_finite, result.values()))
    if isinstance(result, tuple | list):
        return all(map(is_finite, result))
    if dataclasses.is_dataclass(result) and not isinstance(result, type):
        return all(is_finite(getattr(result, f.name)) for f in dataclasses.fields(result))
    return True


def fault(target: Target, bad: dict[str, str], folder: Any) -> str:
    """What is wrong with how a call ends; empty if nothing is."""
    arguments = good_arguments(target, folder)
    arguments |= {name: BAD[kind]() for name, kind in bad.items()}
    try:
        result = target.call(**arguments)
    except DualviewError as error:
        str(error).encode(errors="surrogateescape")  # names of files may be no UTF-8
        return ""
    except (Exception, SystemExit) as error:
        return f"{type(error).__name__}: {_text(error)}"
    taken = [name for name, kind in bad.items() if not is_meant(target, name, kind)]
    if taken:
        return f"taken: {', '.join(taken)}"
    itself = {f"{target.name}.{name}" for name in bad} & NETWORK_ITSELF
    allowed = itself or target.name in NOT_A_NUMBER
    return "" if allowed or is_finite(result) else "not finite"


def _text(error: BaseException) -> str:
    try:
        return str(error)[:200]
    except Exception:
        return "whose text cannot be made"


@pytest.mark.parametrize("name", TARGETS)
def test_good_values_are_taken(name, tmp_path):
    target = TARGETS[name]
    try:
        arguments = good_arguments(target, tmp_path)
    except KeyError as missing:
        pytest.fail(f"{name}: tests/bad_calls.py has no good value for its parameter {missing}")
    target.call(**arguments)


@pytest.mark.parametrize("name", CALLED)
def test_what_makes_no_sense_is_refused(name, tmp_path):
    """The draw depends on the name alone, so that a new function changes no other's calls."""
    target, draw = TARGETS[name], random.Random(f"{SEED} {name}")
    parameters, kinds, faults = list(target.parameters), list(BAD), []
    for number in range(EACH):
        count = min(len(parameters), draw.choice((1, 1, 2)))
        bad = {parameter: draw.choice(kinds) for parameter in draw.sample(parameters, count)}
        folder = tmp_path / str(number)
        folder.mkdir()
        if problem := fault(target, bad, folder):
            given = ", ".join(f"{parameter}={kind}" for parameter, kind in bad.items())
            faults.append(f"{name}({given}): {problem}")
    assert not faults, "\n".join(faults)


def test_there_are_2000_calls():
    assert len(CALLED) * EACH >= 2000


@pytest.mark.parametrize(
    ("name", "option", "expected"),
    [
        ("npk", {"batch_norm": "scales"}, "'identity' or 'scale', got 'scales'; did you mean"),
        ("npk", {"normalise": "no"}, "normalise: expected True or False, got 'no'"),
        ("npk", {"x1": None}, "x1: expected a floating-point tensor .*, got None"),
        ("npk", {"net": torch.nn.Linear(4, 2)}, r"net: expected a GatedNetwork, .*disentangle\("),
        ("empirical_ntk", {"weights": {"0.wieght": X}}, "weights: expected parameters .*wieght"),
        ("TrainSettings", {"flip": "no"}, "flip: expected True or False, got 'no'"),
        ("Batches", {"flip": "no"}, "flip: expected True or False, got 'no'"),
        ("disentangle", {"gate_order": {0: 0}}, "gate_order: expected a permutation"),
        ("fc", {"width": 0}, "width: expected a whole number from 1 on, or None, got 0"),
        ("c4gap", {"widths": []}, "widths: expected a width, from 1 on, for each convolution"),
        ("build", {"width": 0}, "width: expected a whole number from 1 on, or None, got 0"),
        ("npk_features", {"seed": 1.0}, "seed: expected a whole number from 0 on, got 1.0"),
        ("primal_filters", {"layer": True}, "layer: expected a whole number from 0 to 0, got True"),
    ],
)
def test_options_that_once_meant_something_else(name, option, expected, tmp_path):
    target = TARGETS[name]
    with pytest.raises(DualviewError, match=expected):
        target.call(**{**good_arguments(target, tmp_path), **option})


@pytest.mark.parametrize("kind", ["dnn", "dlgn"])
def test_networks_that_a_stack_would_train_otherwise(kind, tmp_path):
    """A DNN shares its parameters, and a stack would train a copy."""
    target = TARGETS["train_stacked"]
    arguments = good_arguments(target, tmp_path)
    arguments["nets"] = [dv.disentangle(net, kind) for net in arguments["nets"]]
    with pytest.raises(DualviewError, match=f"got one of kind '{kind}'"):
        target.call(**arguments)


def test_a_frozen_layer_stays_frozen(tmp_path):
    target = TARGETS["train_stacked"]
    arguments = good_arguments(target, tmp_path)
    next(arguments["nets"][0].parameters()).requires_grad_(False)
    with pytest.raises(DualviewError, match="frozen"):
        target.call(**arguments)
