"""What one random tree's labels teach each estimator, and where a DLGN's hyperplanes go."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from dualview.errors import needs
from dualview.experiments.trees.labels import RandomTree, random_tree
from dualview.tabular.estimators import DLGNClassifier
from dualview.tabular.readings import Hyperplanes

with needs("train", "this experiment"):
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier
    from sklearn.tree import DecisionTreeClassifier

UNMOVED = 1e-30
"""A learning rate at which nothing moves: one epoch gives the untrained network."""

MOMENTS = (1, 2, 4, 8, 16)
"""Passes over the rows after which the gates are looked at."""


@dataclass(frozen=True)
class Task:
    """Rows with the labels of one tree.

    Attributes:
        columns: of rows.
        rows: to learn from.
        unseen: to be asked for.
        tree_depth: of the tree.
        width: gates of a layer, units of the ReLU network's.
        depth: weight layers of the networks.
        epochs: of the networks, at most.
        seed: of everything drawn.
    """

    columns: int
    rows: int
    unseen: int
    tree_depth: int
    width: int
    depth: int
    epochs: int
    seed: int


def tree_measured(task: Task) -> dict[str, Any]:
    """Accuracies on unseen rows, and the distances of the tree's hyperplanes from gates.

    Returns:
        "estimators", "accuracies", "seconds" (of training); "levels" of the tree's nodes; for
        ENDING in "dlgn", "dlgn-sf": "angles-ENDING" and "offsets-ENDING" of the nearest gate after
        training, with "-start" before it (degrees; standard deviations); "passes" over the rows,
        and "moving-KIND", "moving-offsets-KIND" the same after each of them, at one learning rate.
    """
    generator = np.random.default_rng(task.seed)
    tree = random_tree(task.columns, task.tree_depth, generator)
    x = generator.standard_normal((task.rows + task.unseen, task.columns)).astype(np.float32)
    y = tree.labels(x)
    train, test = (x[: task.rows], y[: task.rows]), (x[task.rows :], y[task.rows :])
    found: dict[str, Any] = {"estimators": [], "accuracies": [], "seconds": []}
    found["levels"] = tree.levels.tolist()

    def keep(name: str, accuracy: float, seconds: float) -> None:
        found["estimators"].append(name)
        found["accuracies"].append(accuracy)
        found["seconds"].append(seconds)

    for name, model in estimators(task).items():
        started = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # as many epochs as the others
            model.fit(*train)
        keep(name, float(model.score(*test)), time.perf_counter() - started)
        if isinstance(model, DLGNClassifier):
            started = time.perf_counter()
            read = model.to_tree(train[0], max_depth=task.tree_depth)
            keep(f"{name}-tree", read.score(*test), time.perf_counter() - started)
            first = dlgn(task, model.kind, learning_rate=UNMOVED, max_iter=1).fit(*train)
            for ending, one in (("-start", first), ("", model)):
                angles, offsets = nearest_gates(tree, one.hyperplanes())
                found[f"angles-{name}{ending}"] = angles.tolist()
                found[f"offsets-{name}{ending}"] = offsets.tolist()
            moved = moving_gates(task, tree, model.kind, train)
            found |= {f"moving-{name}": moved[0], f"moving-offsets-{name}": moved[1]}
    found["passes"] = [passes for passes in MOMENTS if passes <= task.epochs]
    return found


def moving_gates(
    task: Task, tree: RandomTree, kind: str, rows: tuple[np.ndarray, np.ndarray]
) -> tuple[list[list[float]], list[list[float]]]:
    """Angles and offsets of the nearest gates, each (moments, nodes), while a network learns."""
    model = dlgn(task, kind)
    found: tuple[list[list[float]], list[list[float]]] = ([], [])
    for passes in range(1, min(task.epochs, MOMENTS[-1]) + 1):
        model.partial_fit(*rows, classes=np.unique(rows[1]))
        if passes in MOMENTS:
            for kept, values in zip(found, nearest_gates(tree, model.hyperplanes()), strict=True):
                kept.append(values.tolist())
    return found


def estimators(task: Task) -> Mapping[str, Any]:
    """Name -> estimator, not fitted; the networks have the same widths, depth and epochs."""
    hidden = (task.width,) * (task.depth - 1)
    return {
        "dlgn": dlgn(task, "dlgn"),
        "dlgn-sf": dlgn(task, "dlgn-sf"),
        "dnn": MLPClassifier(
            hidden, max_iter=task.epochs, early_stopping=True, random_state=task.seed
        ),
        "forest": RandomForestClassifier(random_state=task.seed),
        "boosting": HistGradientBoostingClassifier(random_state=task.seed),
        "cart": DecisionTreeClassifier(random_state=task.seed),
    }


def dlgn(task: Task, kind: str, **options: Any) -> DLGNClassifier:
    """A DLGN of the task's size."""
    given = {"max_iter": task.epochs, "early_stopping": True, **options}
    return DLGNClassifier(
        kind=cast(Any, kind),  # which the estimator checks
        width=task.width,
        depth=task.depth,
        random_state=task.seed,
        **given,
    )


def nearest_gates(tree: RandomTree, planes: Hyperplanes) -> tuple[np.ndarray, np.ndarray]:
    """Of each node's hyperplane, the gate whose direction is nearest.

    Args:
        tree: whose nodes are looked at.
        planes: of all gates, in the same columns.

    Returns:
        Angles between the two (nodes,), from 0 to 90 degrees; and how far apart they are along the
        node's direction (nodes,), in units of the columns, whose deviation is 1.
    """
    lengths = np.linalg.norm(planes.normals, axis=1)
    alive = lengths > 0
    normals = planes.normals[alive] / lengths[alive, None]
    places = -planes.offsets[alive] / lengths[alive]
    cosines = tree.normals @ normals.T
    best = np.abs(cosines).argmax(1)
    rows = np.arange(len(best))
    nearest = cosines[rows, best]
    angles = np.degrees(np.arccos(np.minimum(np.abs(nearest), 1.0)))
    return angles, np.abs(np.sign(nearest) * places[best] - tree.thresholds)
