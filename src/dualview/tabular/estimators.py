"""`DLGNClassifier` and `DLGNRegressor`: small DLGNs of tables, as scikit-learn estimators.

Axes: rows on axis 0, columns on axis 1, classes or targets on the last.
"""

# ruff: noqa: N803  scikit-learn's interface names the data X
from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch

from dualview.arguments import refused_data, said
from dualview.errors import TableError, needs
from dualview.tabular.base import TableEstimator, TableTypeError
from dualview.tabular.network import standardise

with needs("train", "an estimator of tables"):
    from sklearn.base import ClassifierMixin, RegressorMixin
    from sklearn.utils.multiclass import check_classification_targets

__all__ = ["DLGNClassifier", "DLGNRegressor"]


class DLGNClassifier(ClassifierMixin, TableEstimator):
    """A small DLGN that tells classes of a table's rows, and that can be read.

    Every gate is one hyperplane of the columns, in their own units; between hyperplanes the score
    is linear. It standardises columns itself and carries that with it (`net_.input_transform`).
    Text and missing values go through scikit-learn's own transformers first (the guide "Tables").

    Args:
        kind: "dlgn": hyperplanes from a deep linear network; "dlgn-sf": each layer's from one
            linear map of the columns.
        weights_input: "data": scores are linear between hyperplanes; "ones": constant.
        gates: "hard": 1{q > 0} from the start, learnt with the derivative of sigmoid(beta q);
            "annealed": learnt as sigmoid(beta q), beta growing to 400 over `max_iter` epochs, and
            then made hard; "soft": sigmoid(beta q), also when it predicts.
        beta: slope of gates; what it starts from where it grows.
        width: gates of each layer.
        depth: weight layers; `depth - 1` layers have gates.
        learning_rate: of Adam, at first; it falls along a half cosine over `max_iter` epochs.
        weight_decay: decoupled (AdamW), of weights and not of biases.
        batch_size: rows of a step. "auto": all up to 128 rows, else a 64th of them, from 128 to
            512.
        max_iter: passes over the rows, at most.
        tol: where no rows are held back: by how much the loss has to fall to be better.
        early_stopping: hold `validation_fraction` of the rows back, and keep the epoch that is best
            on them. "auto": from 200 rows on.
        validation_fraction: share of the rows held back, of every class.
        n_iter_no_change: epochs without anything better, after which training stops.
        warm_start: let `fit` go on from what it learnt before, on the same columns and classes.
        verbose: show a bar of the epochs, or a line at every tenth where there are no bars.
        random_state: seed of parameters, order and split: a whole number, a
            `numpy.random.RandomState`, or None for chance.

    Attributes:
        net_: the `GatedNetwork`, float64, which takes rows as they are; every function of this
            package takes it.
        classes_: (k,).
        n_features_in_, feature_names_in_: of the columns; names if X had any.
        n_iter_: epochs done.
        loss_curve_: loss of each.
        validation_scores_: accuracy on the rows held back, after each; empty if there were none.
        seed_: of everything drawn.

    Source: arXiv 2110.03403 (DLGN); "Deep networks learn features from local discontinuities in the
    label function" (ICLR 2025), on tables.

    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = DLGNClassifier(width=8, max_iter=50).fit(X, y)
    >>> classifier.score(X, y) > 0.9
    True
    """

    def partial_fit(
        self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None
    ) -> DLGNClassifier:
        """One pass over some of the rows, as they come; the first call begins anew.

        Columns are standardised by the rows of the first call. The learning rate does not fall.

        Args:
            X: as in `fit`.
            y: as in `fit`.
            classes: all of them; needed in the first call.
            sample_weight: as in `fit`.

        Raises:
            TableError: as `fit`; or a class that `classes` did not name.
        """
        first = not hasattr(self, "net_")
        if first:
            if classes is None:
                raise TableError(
                    "classes: expected all classes in the first call, got None. Repair: "
                    "partial_fit(X, y, classes=numpy.unique(all_y))"
                )
            with refused_data("classes", TableError, TableTypeError):
                self.classes_ = np.unique(np.asarray(classes))
        elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise TableError(
                f"classes: expected those of the first call, {said(self.classes_.tolist())}, got "
                f"{said(classes)}"
            )
        options = self._checked_options()
        return self._learn(options, X, y, sample_weight, first, known=True, once=True)

    def predict(self, X: Any) -> np.ndarray:
        """The class with the highest score, of each row (n,)."""
        best = self._outputs(X).argmax(1)
        return self.classes_[best]

    def decision_function(self, X: Any) -> np.ndarray:
        """Score of each class (n, classes); for two classes the second's less the first's (n,)."""
        scores = self._outputs(X)
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probability of each class (n, classes): the softmax of the scores."""
        return torch.from_numpy(self._outputs(X)).softmax(1).numpy()

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Logarithm of `predict_proba` (n, classes)."""
        return torch.from_numpy(self._outputs(X)).log_softmax(1).numpy()

    def _as_targets(self, y: np.ndarray, first: bool, known: bool) -> np.ndarray:
        with refused_data("y", TableError, TableTypeError):
            check_classification_targets(y)
            found = np.unique(y)
        if not known:
            self.classes_ = found
        if len(self.classes_) < 2:
            raise TableError(
                f"y: expected at least 2 classes, got 1 class, {self.classes_[0]!r}, for all "
                f"{len(y)} rows"
            )
        unknown = np.setdiff1d(found, self.classes_)
        if len(unknown):
            raise TableError(
                f"y: expected classes among {said(self.classes_.tolist())}, got "
                f"{said(unknown.tolist())}"
            )
        return np.searchsorted(self.classes_, y).astype(np.int64)

    def _target_scales(
        self, targets: np.ndarray, weights: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros(len(self.classes_)), np.ones(len(self.classes_))


class DLGNRegressor(RegressorMixin, TableEstimator):
    """A small DLGN that predicts numbers from a table's rows, and that can be read.

    As `DLGNClassifier`, with the squared error of standardised targets; `net_` gives targets in
    their own units.

    Args:
        kind: as of `DLGNClassifier`, and so all others.
        weights_input: "data": predictions are linear between hyperplanes; "ones": constant.
        gates: "hard", "annealed" or "soft".
        beta: slope of gates.
        width: gates of each layer.
        depth: weight layers.
        learning_rate: of Adam, at first.
        weight_decay: decoupled, of weights.
        batch_size: rows of a step, or "auto".
        max_iter: passes over the rows, at most.
        tol: by how much the loss has to fall to be better.
        early_stopping: hold rows back, and keep the epoch that is best on them.
        validation_fraction: share of the rows held back.
        n_iter_no_change: epochs without anything better, after which training stops.
        warm_start: let `fit` go on from what it learnt before.
        verbose: show how training goes on.
        random_state: seed of everything drawn.

    Attributes:
        net_: the `GatedNetwork`, float64; rows and targets are in their own units.
        n_features_in_, feature_names_in_: of the columns.
        n_iter_, loss_curve_: epochs done, and the loss of each, half the mean squared error of
            standardised targets.
        validation_scores_: R^2 on the rows held back, after each epoch.
        seed_: of everything drawn.

    Source: as `DLGNClassifier`.

    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True)
    >>> regressor = DLGNRegressor(width=8, max_iter=30).fit(X, y)
    >>> regressor.score(X, y) > 0.4
    True
    """

    _wanted_targets: ClassVar[dict[str, bool]] = {"multi_output": True, "y_numeric": True}

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn's own checks ask: several targets are taken."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> DLGNRegressor:
        """One pass over some of the rows, as they come; the first call begins anew.

        Columns and targets are standardised by the rows of the first call. The learning rate does
        not fall.

        Args:
            X: as in `fit`.
            y: as in `fit`.
            sample_weight: as in `fit`.

        Raises:
            TableError: as `fit`.
        """
        options, first = self._checked_options(), not hasattr(self, "net_")
        return self._learn(options, X, y, sample_weight, first, known=True, once=True)

    def predict(self, X: Any) -> np.ndarray:
        """Of each row (n,); (n, outputs) where y had two axes."""
        found = self._outputs(X)
        return found[:, 0] if self._single else found

    def _as_targets(self, y: np.ndarray, first: bool, known: bool) -> np.ndarray:
        targets = np.array(y, dtype=np.float64)
        single = targets.ndim == 1
        targets = targets[:, None] if single else targets
        outputs = targets.shape[1] if first else len(self._scales.target_means)
        if targets.ndim != 2 or targets.shape[1] != outputs:
            raise TableError(
                f"y: expected targets (n,) or (n, outputs), {outputs} of them as before, got "
                f"{said(y)}"
            )
        self._single = single
        return targets

    def _target_scales(
        self, targets: np.ndarray, weights: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        return standardise(targets, weights, "y")
