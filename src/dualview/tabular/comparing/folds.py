"""Estimators tried on the same folds of a table, then on the rows that were held out to the end."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from dualview.errors import needs
from dualview.progress import Progress
from dualview.tabular.comparing.baselines import DLGN, MODELS, column_titles, prepared
from dualview.tabular.comparing.columns import TargetTable
from dualview.tabular.comparing.settings import OTHERS, TableSettings
from dualview.tabular.tree import ObliqueTree

with needs("train", "comparing on a table"):
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import KFold, StratifiedKFold, train_test_split
    from sklearn.pipeline import Pipeline

TREE = "its tree"


@dataclass(frozen=True)
class ModelScores:
    """How far one estimator is right: accuracy of classes, R^2 of numbers.

    Attributes:
        name: of the estimator.
        folds: on each fold, learnt from the others.
        held_out: on the rows held out, learnt from all others.
        seconds: that this last training took.
    """

    name: str
    folds: tuple[float, ...]
    held_out: float
    seconds: float


@dataclass(frozen=True, eq=False)
class Tried:
    """All estimators, and those that saw every row but the ones held out.

    Attributes:
        scores: the DLGN's, its tree's, then the others'.
        fidelity: of the tree, on the rows held out.
        pipeline: the DLGN behind what prepares columns.
        tree: read off it.
        train: rows that it learnt from.
        test: rows held out.
    """

    scores: tuple[ModelScores, ...]
    fidelity: float
    pipeline: Pipeline
    tree: ObliqueTree
    train: np.ndarray
    test: np.ndarray


def try_all(table: TargetTable, settings: TableSettings, progress: Progress) -> Tried:
    """Fit and score every estimator on every fold, and once for all."""
    rows = np.arange(len(table.target))
    strata = table.target if table.classification else None
    train, test = train_test_split(
        rows, test_size=settings.test, stratify=strata, random_state=settings.seed
    )
    parts = [*_folds(table, settings, train), (train, test)]
    others = [OTHERS[name] for name in OTHERS if name in settings.others]
    models = [DLGN, *others]
    found: dict[str, list[float]] = {name: [] for name in (*models, TREE)}
    seconds: dict[str, float] = {}
    total = len(parts) * len(models)
    with progress.counting(total, "comparing", unit="fit") as advance:
        for learnt, asked in parts:
            for name in models:
                started = time.perf_counter()
                pipeline = fitted(name, table, settings, learnt)
                seconds[name] = time.perf_counter() - started
                found[name].append(scored(pipeline, table, asked))
                if name == DLGN:
                    own = pipeline
                    tree, seconds[TREE] = _tree_of(own, table, settings, learnt)
                    x = prepared_rows(own, table, asked)
                    found[TREE].append(tree.score(x, table.target[asked]))
                advance(1)
    order = [DLGN, TREE, *others]
    return Tried(
        scores=tuple(
            ModelScores(name, tuple(found[name][:-1]), found[name][-1], seconds[name])
            for name in order
        ),
        fidelity=tree.fidelity(x),  # the last part's, which was held out
        pipeline=own,
        tree=tree,
        train=np.sort(train),
        test=np.sort(test),
    )


def _folds(
    table: TargetTable, settings: TableSettings, rows: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    kind = StratifiedKFold if table.classification else KFold
    folds = kind(settings.folds, shuffle=True, random_state=settings.seed)
    for learnt, asked in folds.split(rows, table.target[rows]):
        yield rows[learnt], rows[asked]


def fitted(name: str, table: TargetTable, settings: TableSettings, rows: np.ndarray) -> Pipeline:
    """The estimator of `MODELS`, fitted to some rows of the table."""
    model = MODELS[name](table.classification, settings)
    pipeline = prepared(model, table.numbers, table.categories)
    with _quietly():
        return pipeline.fit(table.frame.iloc[rows], table.target[rows])


def scored(pipeline: Pipeline, table: TargetTable, rows: np.ndarray) -> float:
    """Accuracy, or R^2, on some rows of the table."""
    with _quietly():
        return float(pipeline.score(table.frame.iloc[rows], table.target[rows]))


def prepared_rows(pipeline: Pipeline, table: TargetTable, rows: np.ndarray | Sequence[int]) -> Any:
    """Rows of the table as the pipeline's last step takes them."""
    with _quietly():
        return pipeline[:-1].transform(table.frame.iloc[rows])


def _tree_of(
    pipeline: Pipeline, table: TargetTable, settings: TableSettings, rows: np.ndarray
) -> tuple[ObliqueTree, float]:
    """The tree of a fitted DLGN, and the seconds that reading it took."""
    x, started = prepared_rows(pipeline, table, rows), time.perf_counter()
    tree = pipeline[-1].to_tree(x, max_depth=settings.max_depth, columns=column_titles(pipeline))
    return tree, time.perf_counter() - started


@contextmanager
def _quietly() -> Iterator[None]:
    """Without what scikit-learn says of categories it has not seen, and of an MLP not yet done."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Found unknown categories", category=UserWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield
