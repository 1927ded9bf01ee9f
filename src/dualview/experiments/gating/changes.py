"""What is compared in the experiment `gating`: a network, and what sets it apart. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Change:
    """One network of the comparison; what is not named is as the preset has it."""

    title: str
    """As tables and progress name it."""
    kind: str = "dlgn"
    """As `compare` takes it."""
    network: Mapping[str, Any] = field(default_factory=dict)
    """Options of `ComparisonSettings`."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """Options of `TrainSettings`."""
    times: Mapping[str, float] = field(default_factory=dict)
    """Numbers of `TrainSettings` that are multiplied."""
    average_pools: bool = False
    """Whether the architecture itself has average pools in the place of its max pools."""
    late_pools: bool = False
    """Whether it has its pools behind activations; as `plan.LATE` says."""


BASE = "dlgn"
"""What the others are compared with."""

CHANGES: Mapping[str, Change] = {
    "dnn": Change("DNN", "dnn"),
    "dnn-average": Change("DNN, average pools", "dnn", average_pools=True),
    "dnn-late": Change("DNN, pools behind activations", "dnn", late_pools=True),
    "dgn": Change("DGN", "dgn"),
    "dgn-average": Change("DGN, average pools", "dgn", average_pools=True),
    BASE: Change("DLGN"),
    "dlgn-late": Change("DLGN, pools behind activations", late_pools=True),
    "dlgn-switch": Change("DLGN, max pools replayed", network={"max_pool": "switch"}),
    "dlgn-late-switch": Change(
        "DLGN, pools behind activations replayed",
        network={"max_pool": "switch"},
        late_pools=True,
    ),
    "dlgn-copied": Change("DLGN, both networks of one draw", network={"weights": "copied"}),
    "dlgn-beta1": Change("DLGN, gates of slope 1", network={"beta": 1.0}),
    "dlgn-beta2": Change("DLGN, gates of slope 2", network={"beta": 2.0}),
    "dlgn-beta8": Change("DLGN, gates of slope 8", network={"beta": 8.0}),
    "dlgn-slow": Change("DLGN, learning rate × 0.5", times={"learning_rate": 0.5}),
    "dlgn-fast": Change("DLGN, learning rate × 2", times={"learning_rate": 2.0}),
    "dlgn-decay": Change("DLGN, weight decay ÷ 5", times={"weight_decay": 0.2}),
    "dlgn-labels": Change("DLGN, labels not smoothed", training={"label_smoothing": 0.0}),
}
"""Kind of a record -> what it is of; in the order of tables and figures."""
