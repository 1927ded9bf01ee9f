"""A fitted estimator as one file, and back: safetensors with a JSON text in its header, no code.

Every field is looked at before it is used, and the tensors' shapes before a network is made, so
that a file asks for no more memory than it has itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dualview.arguments import Check, require, several, text_value, whole
from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.parameters import load_parameters, opened_tensors, stored_tensors
from dualview.errors import SavedNetworkError, TableError, said
from dualview.files.json_fields import from_json
from dualview.files.writing import refused_by_the_system, write_atomically
from dualview.tabular.network import Scales, Shape, finished, fresh_network

KEY, FORMAT = "dualview-table", "dualview table 1"
"""Of the entry in the metadata of safetensors, and what it begins with."""

LONGEST_TEXT = 64_000_000
"""Of the JSON text; a name of 100 letters for each of 500,000 columns takes less."""


@dataclass(frozen=True)
class SavedState:
    """What an estimator is beside the numbers of its network.

    Attributes:
        format: `FORMAT`.
        estimator: name of its class.
        options: those of its constructor, without `random_state`.
        seed: of what was drawn.
        columns: how many.
        names: of the columns, or None.
        classes: NumPy's type of them and they themselves, or None.
        target_means: of each output, and `target_deviations`.
        single: whether targets had one axis.
        losses: of every epoch, and `scores` on rows held back.
    """

    estimator: str
    options: Mapping[str, Any]
    seed: int
    columns: int
    names: tuple[str, ...] | None
    classes: tuple[str, tuple[Any, ...]] | None
    target_means: tuple[float, ...]
    target_deviations: tuple[float, ...]
    single: bool
    losses: tuple[float, ...]
    scores: tuple[float, ...]
    format: str = FORMAT


def write_estimator(state: SavedState, net: GatedNetwork, path: Path) -> None:
    """Write both, whole or not at all.

    Raises:
        RunError: the file cannot be written.
    """
    from safetensors.torch import save_model

    text = json.dumps(asdict(state), allow_nan=False)
    with refused_by_the_system(path):
        write_atomically(path, lambda part: save_model(net, str(part), {KEY: text}))


def read_state(path: Path, estimator: str, options: Mapping[str, Check]) -> SavedState:
    """What a file says of itself.

    Args:
        path: of the file.
        estimator: the class that is wanted.
        options: name of each option -> its check.

    Raises:
        SavedNetworkError: no such file, or one that is damaged, unfit or of another class.
    """
    stored_tensors(path)  # a file of tensors
    with opened_tensors(path) as file:
        text = (file.metadata() or {}).get(KEY, "")
    if not 0 < len(text) <= LONGEST_TEXT:
        raise SavedNetworkError(
            f"{path}: expected an estimator that {estimator}.save wrote, got tensors that do not "
            f"say what they are. Repair: GatedNetwork.from_pretrained for a saved network"
        )
    try:
        state = from_json(SavedState, json.loads(text), KEY)
    except (ValueError, RecursionError) as error:
        raise SavedNetworkError(
            f"{path}: expected an estimator that {estimator}.save wrote, got a header that is "
            f"damaged: {error}. Repair: get the file again"
        ) from error
    if (state.format, state.estimator) != (FORMAT, estimator):
        raise SavedNetworkError(
            f"{path}: expected {FORMAT!r} of {estimator}, got {said(state.format)} of "
            f"{said(state.estimator)}. Repair: load it with that class, or a version that knows it"
        )
    _check(state, options, path)
    return state


def read_network(path: Path, shape: Shape, scales: Scales, gates: str, beta: float) -> GatedNetwork:
    """The network in a file, which is that of `shape`.

    Raises:
        SavedNetworkError: it is another one, or has numbers that cannot be.
    """
    stored = stored_tensors(path)
    widths = [shape.columns] + [shape.width] * (shape.depth - 1) + [shape.outputs]
    for layer in range(min(shape.depth, len(stored) + 1)):
        name = f"weights_network.{2 * layer}.weight"
        got = stored[name].shape if name in stored else None
        if got != (widths[layer + 1], widths[layer]):
            raise SavedNetworkError(
                f"{path}: {name}: expected {(widths[layer + 1], widths[layer])}, as the file says "
                f"of itself, got {got}. Repair: get the file again"
            )
    net = finished(fresh_network(shape, 0), scales, gates, beta)
    load_parameters(net, path)
    assert net.input_transform is not None
    if not bool((net.input_transform.std > 0).all()):
        raise SavedNetworkError(
            f"{path}: input_transform.std: expected positive numbers, got others. Repair: get the "
            f"file again"
        )
    return net


def classes_as_saved(classes: np.ndarray) -> tuple[str, tuple[Any, ...]]:
    """NumPy's type, and values that JSON can hold.

    Raises:
        TableError: they are objects other than texts.

    >>> classes_as_saved(np.array(["no", "yes"]))
    ('<U3', ('no', 'yes'))
    """
    values = classes.tolist()
    if classes.dtype.kind not in "biufUO" or (
        classes.dtype.kind == "O" and not all(isinstance(value, str) for value in values)
    ):
        raise TableError(
            f"classes_: expected numbers, texts or booleans, which a file can hold, got "
            f"{said(values)}. Repair: sklearn.preprocessing.LabelEncoder, or joblib.dump"
        )
    return classes.dtype.str, tuple(values)


def classes_from(saved: tuple[str, tuple[Any, ...]], count: int, path: Path) -> np.ndarray:
    """The classes as they were, in order, so many.

    Raises:
        SavedNetworkError: they are not all of the type that the file says, or not in order.
    """
    name, values = saved
    try:
        dtype = np.dtype(name)
        wanted = {"b": bool, "U": str, "O": str, "f": float}.get(dtype.kind, int)
        if dtype.kind not in "biufUO" or not all(type(value) is wanted for value in values):
            raise ValueError(f"{name} and {said(list(values))}")
        classes = np.array(values, dtype=dtype)
        if len(values) != count or count < 2 or not np.array_equal(np.unique(classes), classes):
            raise ValueError(f"{said(list(values))}, which are not {count} in order")
    except (ValueError, TypeError, OverflowError) as error:
        raise SavedNetworkError(
            f"{path}: classes: expected NumPy's type of them, and they themselves, got {error}. "
            f"Repair: get the file again"
        ) from error
    return classes


def _check(state: SavedState, options: Mapping[str, Check], path: Path) -> None:
    """Refuse values that no estimator writes."""
    if state.options.keys() != options.keys():
        raise SavedNetworkError(
            f"{path}: options: expected {', '.join(options)}, got {said(list(state.options))}"
        )
    for name, check in options.items():
        require(f"{path}: {name}", state.options[name], check, SavedNetworkError)
    require(f"{path}: seed", state.seed, whole(0, 2**32 - 1), SavedNetworkError)
    require(f"{path}: columns", state.columns, whole(1), SavedNetworkError)
    if state.names is not None:
        names = several(text_value, "a name for each column", length=state.columns)
        require(f"{path}: names", state.names, names, SavedNetworkError)
    means, deviations = (np.array(v) for v in (state.target_means, state.target_deviations))
    finite = np.isfinite(means).all() and np.isfinite(deviations).all()
    if not finite or means.shape != deviations.shape or not len(means) or (deviations <= 0).any():
        raise SavedNetworkError(
            f"{path}: target_means and target_deviations: expected as many finite numbers, "
            f"deviations above 0, got others. Repair: get the file again"
        )
