"""Values that hardly any function takes, and where they mean something all the same."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import dualview as dv
from tests.bad_calls import X, gated_net, one_epoch


class Hostile:
    """An object that raises whatever is asked of it."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    def __len__(self) -> int:
        raise RuntimeError("no len")

    def __iter__(self) -> Iterator[Any]:
        raise RuntimeError("no iter")


def _file() -> Path:
    """A file in the folder at hand, which is one of the test's own."""
    path = Path("a file")
    path.touch()
    return path


def _endless() -> Iterator[int]:
    return itertools.islice(itertools.count(), 10**5)


def _infinite(value: float) -> torch.Tensor:
    x = X.clone()
    x[1, 2] = value
    return x


BAD: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "text": lambda: "no",
    "empty text": lambda: "",
    "surrogate": lambda: "\udc80",
    "null byte": lambda: "a\0b",
    "bytes": lambda: b"no",
    "True": lambda: True,
    "False": lambda: False,
    "zero": lambda: 0,
    "one": lambda: 1,
    "negative": lambda: -1,
    "very negative": lambda: -(10**30),
    "large": lambda: 2**63,
    "huge": lambda: 10**30,
    "endless digits": lambda: 10**5000,
    "fraction": lambda: 1.5,
    "whole float": lambda: 2.0,
    "minus float": lambda: -0.5,
    "NaN": lambda: math.nan,
    "infinity": lambda: math.inf,
    "complex": lambda: 1j,
    "NumPy NaN": lambda: np.float32("nan"),
    "NumPy text": lambda: np.str_("no"),
    "object": object,
    "hostile object": Hostile,
    "class": lambda: int,
    "module": lambda: math,
    "lambda": lambda: lambda: 0,
    "generator": lambda: (value for value in "ab"),
    "empty list": list,
    "empty dict": dict,
    "dict": lambda: {0: 1, 1: 0},
    "set": lambda: {0, 1},
    "nested list": lambda: [[1], [2, 3]],
    "list of lists": lambda: [[0.0] * 4] * 3,
    "list of None": lambda: [None, None, None],
    "list of texts": lambda: ["a", "b", "c"],
    "list of NaN": lambda: [math.nan] * 3,
    "list of numbers": lambda: [0, 1, 1],
    "negative list": lambda: [-1, -2, -3],
    "float list": lambda: [0.5, 1.5],
    "huge list": lambda: [2**63, 2**63, 2**63],
    "deep list": lambda: [[[[[[1]]]]]],
    "array": lambda: np.ones((3, 4)),
    "array of objects": lambda: np.array([None, {}, "a"], dtype=object),
    "array of texts": lambda: np.array(["a", "b", "c"]),
    "array of dates": lambda: np.array(["2020-01-01"] * 3, dtype="datetime64[D]"),
    "array with NaN": lambda: np.full((3, 4), np.nan),
    "complex array": lambda: np.ones((3, 4), dtype=complex),
    "empty array": lambda: np.empty((0, 4)),
    "array without axes": lambda: np.array(2.5),
    "whole tensor": lambda: torch.ones(3, 4, dtype=torch.int64),
    "bool tensor": lambda: torch.ones(3, 4, dtype=torch.bool),
    "double tensor": lambda: torch.ones(3, 4, dtype=torch.float64),
    "half tensor": lambda: torch.ones(3, 4, dtype=torch.float16),
    "byte-sized floats": lambda: torch.ones(3, 4).to(torch.float8_e4m3fn),
    "complex tensor": lambda: torch.ones(3, 4, dtype=torch.complex64),
    "wide tensor": lambda: torch.ones(3, 7),
    "one example": lambda: torch.ones(4),
    "image tensor": lambda: torch.ones(3, 2, 4, 4),
    "many axes": lambda: torch.ones(1, 1, 1, 1, 1, 1, 4),
    "no examples": lambda: torch.ones(0, 4),
    "no features": lambda: torch.ones(3, 0),
    "tensor without axes": lambda: torch.tensor(2.5),
    "tensor with NaN": lambda: _infinite(math.nan),
    "tensor with infinity": lambda: _infinite(-math.inf),
    "meta tensor": lambda: torch.ones(3, 4, device="meta"),
    "sparse tensor": lambda: torch.ones(3, 4).to_sparse(),
    "list of tensors": lambda: [torch.ones(4)] * 3,
    "plain module": lambda: nn.Linear(4, 2),
    "convolution": lambda: nn.Conv2d(1, 2, 3),
    "untrained network": lambda: nn.Sequential(nn.Linear(4, 2), nn.ReLU()),
    "meta model": lambda: nn.Sequential(nn.Linear(4, 2, device="meta"), nn.ReLU()),
    "other network": lambda: gated_net("dnn"),
    "gate": dv.HardGate,
    "path": lambda: _file() / "x",
    "file": lambda: _file(),
    "long path": lambda: Path("x" * 5000),
    "settings": one_epoch,
    "range": lambda: range(2),
    "endless": _endless,
    "dtype": lambda: torch.float32,
    "exception": lambda: ValueError("no"),
}
"""Kind of value -> makes one."""

NETWORK_ITSELF = {
    "GatedNetwork.preactivations.x",
    "GatedNetwork.gates.x",
    "GatedNetwork.gates_and_switches.x",
    "GatedNetwork.transformed.x",
}
"""As `net(x)`: the layers are given what they take."""

NOT_A_NUMBER = {"class_overlap"}
"""Results that hold NaN where there is no number, as their documentation says."""

_FLAG = {"True", "False"}
_TEXT = {"text", "NumPy text"}
_COUNT = {"one"}
_INDEX = {"zero", "one"}
_NUMBER = {"one", "fraction", "whole float", "array without axes", "tensor without axes"}
_NUMBER |= {"large", "huge"}
_NUMBERS = {"float list", "list of numbers", "huge list", "range", "one example"}
_MATRIX = {"array", "double tensor", "half tensor", "byte-sized floats", "whole tensor"}
_MATRIX |= {"bool tensor", "list of lists", "list of tensors", "wide tensor"}
_ORDER = {"list of numbers", "range"}
_EMPTY = {"empty list", "empty array", "no examples"}
_POSITIONWISE = {"many axes", "image tensor"}
_CALLED = {"class", "plain module", "convolution", "untrained network", "meta model", "gate"}
_CALLED |= {"other network", "exception"}
_CLASSES = {"array of texts", "list of texts", "list of numbers", "negative list"}

MEANT: dict[str, set[str]] = {
    **dict.fromkeys(
        (
            "batch_norm",
            "bias",
            "biases",
            "cache",
            "centre",
            "compile",
            "drop_last",
            "early_stopping",
            "flip",
            "force_download",
            "gelu",
            "hard",
            "local_files_only",
            "nesterov",
            "normalise",
            "overwrite",
            "progress",
            "push_to_hub",
            "shift",
            "shuffle",
            "tensorboard",
            "token",
            "validate",
            "verbose",
            "warm_start",
        ),
        _FLAG,
    ),
    **dict.fromkeys(("cache_dir", "folder", "out", "source"), _TEXT | {"surrogate"}),
    **dict.fromkeys(
        (
            "accelerator",
            "arch",
            "config",
            "description",
            "devices",
            "experiment",
            "image_column",
            "label_column",
            "optimizer",
            "precision",
            "repo_id",
            "revision",
            "subset",
        ),
        _TEXT,
    ),
    **dict.fromkeys(
        (
            "batch_size",
            "block",
            "depth",
            "devices",
            "draws",
            "epochs",
            "k",
            "limit",
            "max_iter",
            "n_features",
            "n_iter_no_change",
            "max_depth",
            "min_samples_leaf",
            "most",
            "num_classes",
            "per_draw",
            "threads",
            "width",
            "workers",
        ),
        _COUNT,
    ),
    **dict.fromkeys(
        ("against", "crop", "draw", "epoch", "label", "layer", "n_train", "output", "random_state"),
        _INDEX,
    ),
    **dict.fromkeys(("seed", "split_seed"), _INDEX | {"large"}),
    **dict.fromkeys(("beta", "c", "learning_rate", "memory"), _NUMBER),
    **dict.fromkeys(("bias_variance", "variances", "weight_decay"), _NUMBER | {"zero"}),
    "seeds": _COUNT | {"range"},
    "outlook.budget": _NUMBER | {"zero"},
    "outlook.jobs": _EMPTY,
    "only": {"array of texts", "list of texts", "generator"},
    "ridge": _NUMBER | _NUMBERS | {"zero"},
    "ridges": _NUMBERS,
    "eps": _NUMBER | {"zero", "minus float"},
    "tol": _NUMBER | {"zero"},
    "reach": _NUMBER,
    "Hyperplanes.in_words.gate": _INDEX,
    "TableEstimator.contributions.layer": _INDEX | {"negative"},
    "TableSettings.categories": {"array of texts", "list of texts", "generator", *_EMPTY},
    "TableSettings.leave_out": {"array of texts", "list of texts", "generator", *_EMPTY},
    "TableSettings.test": {"fraction"},
    "ObliqueTree.score.y": _CLASSES | _NUMBERS,
    "ObliqueTree.export_text.most": _COUNT | {"None"},
    "partition_map.example_names": {"array of texts", "list of texts", "generator"},
    "partition_map.axis_names": {"generator"},
    **dict.fromkeys(("first", "second", "row"), _INDEX),
    "DLGNClassifier.random_state": _INDEX | {"None"},
    "DLGNRegressor.random_state": _INDEX | {"None"},
    "DLGNRegressor.y": _MATRIX | _CLASSES | _NUMBERS,
    "momentum": {"zero"},
    "label_smoothing": {"zero"},
    "limit": _COUNT | {"large"},
    "mean": _NUMBERS | {"negative list"},
    "std": _NUMBERS | {"negative list"},
    "InputTransform.mean": _NUMBER | _INDEX | {"minus float", "negative", "very negative"},
    "InputTransform.std": _NUMBER | _COUNT,
    "targets": _MATRIX | _NUMBERS | {"negative list"},
    "train_labels": _CLASSES,
    "y": _CLASSES | {"array of dates"},
    "train_x": _MATRIX,
    "X": _MATRIX,
    "new": _MATRIX,
    "x": _POSITIONWISE | {"double tensor", "half tensor"},
    "data": _POSITIONWISE,
    "example_input": {
        *_POSITIONWISE,
        "no examples",
        "sparse tensor",
        "tensor with NaN",
        "tensor with infinity",
    },
    "net": {"other network"},
    "initial": {"other network"},
    "network": {
        "plain module",
        "convolution",
        "untrained network",
        "meta model",
        "other network",
        "gate",
    },
    "model": {"untrained network"},
    "gate": {"gate"},
    "channels": _INDEX | _ORDER | _EMPTY,
    "class_names": {"array of texts", "list of texts", "generator"},
    "names": {"array of texts", "list of texts", "generator"},
    "kinds": {"array of texts", "list of texts", "generator"},
    "filters": _POSITIONWISE,
    "images": {"image tensor"},
    "sections": _EMPTY,
    **dict.fromkeys(
        ("title", "question", "source", "duration", "default_data"), _TEXT | {"empty text"}
    ),
    "DataSettings.source": _TEXT | {"surrogate", "file", "path", "long path"},
    "command": _TEXT | {"empty text"},
    "class_overlap.gates": _MATRIX | _POSITIONWISE | {"negative list"},
    "gate_maps.gates": _MATRIX
    | _POSITIONWISE
    | {"nested list", "tensor with infinity", "tensor with NaN", "array with NaN"},
    "gate_training.overlaps": _MATRIX,
    "gate_training.epochs": _NUMBERS,
    "columns": _COUNT,
    "devices": _TEXT | _COUNT,
    "options": _EMPTY,
    "Dataset.description": _TEXT | {"surrogate", "empty text", "null byte"},
    "layer_contributions.layer": _INDEX | {"negative"},
    "tolerance": _NUMBER,
    "final_beta": _NUMBER,
    "from_arrays.name": _TEXT | {"empty text"},
    "kurtosis": _NUMBER,
    "classes": _CLASSES | {"generator"},
    "labels": _ORDER | _CLASSES | _NUMBERS,
    "weights": {"empty dict"},
    "memory": _NUMBER,
    "NPKFeatureClassifier.memory": _NUMBER | {"zero"},
    "x1": _POSITIONWISE | {"double tensor", "half tensor"},
    "x2": _POSITIONWISE | {"double tensor", "half tensor"},
    "tables": _CALLED,
    "figures": _CALLED,
    "plan": _CALLED,
    "measure": _CALLED,
    "initialise": _CALLED,
    "path": _TEXT | {"file", "surrogate"},
    "GatedNetwork.from_pretrained.cache_dir": {"file", "surrogate", "path", "long path"},
    **{
        f"{name}.x": {"one example", "double tensor", "half tensor"}
        for name in (
            "PathSearch",
            "top_paths",
            "layer_contributions",
            "input_contributions",
        )
    },
    "kernel_attribution.x": {"one example", "double tensor", "half tensor"},
    "settings": {"settings"},
    "training": {"settings"},
}
"""Parameter -> kinds of values that mean something there, though they may look odd."""
