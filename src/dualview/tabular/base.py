"""What the estimators of tables share: options, data in and out, training, files.

Axes: rows on axis 0, columns on axis 1. What a fitted one holds and gives is NumPy's or PyTorch's
float64; it is trained in the type of X.
"""

# ruff: noqa: N803  scikit-learn's interface names the data X
from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch

from dualview.arguments import (
    Check,
    UnfitError,
    expect_fitted,
    flag,
    fraction,
    number,
    one_of,
    random_seed,
    refused_data,
    require,
    said,
    takes,
    whole,
)
from dualview.arguments import file_path as path_value
from dualview.errors import TableError, needs
from dualview.progress import Terminal, Unseen
from dualview.tabular.fitting import Descent, Rows, descend
from dualview.tabular.network import (
    Scales,
    Shape,
    finished,
    for_training,
    fresh_network,
    standardise,
)
from dualview.tabular.readable import Readable
from dualview.tabular.saving import (
    SavedState,
    classes_as_saved,
    classes_from,
    read_network,
    read_state,
    write_estimator,
)

with needs("train", "an estimator of tables"):
    from sklearn.base import BaseEstimator
    from sklearn.exceptions import NotFittedError
    from sklearn.model_selection import train_test_split
    from sklearn.utils.validation import validate_data

MANY_ROWS = 200
"""From so many on `early_stopping="auto"` holds rows back."""

AUTOMATIC_BATCH = (128, 512)
"""`batch_size="auto"`: all rows up to the first, a 64th of them up to the second."""


class TableTypeError(TableError, TypeError):
    """Data of a type that is no data; scikit-learn promises a TypeError."""


class NotYetFittedError(TableError, NotFittedError):
    """Asked before it was fitted; scikit-learn promises its own error."""


def _automatic(check: Check) -> Check:
    """A check as `dualview.arguments` has them: "auto", or what the check takes."""

    def checked(value: Any) -> Any:
        if isinstance(value, str) and value == "auto":
            return value
        try:
            return check(value)
        except UnfitError as unfit:
            raise UnfitError(f"'auto', or {unfit.expected}", unfit.repair, unfit.got) from None

    return checked


OPTIONS: dict[str, Check] = {
    "kind": one_of("dlgn", "dlgn-sf"),
    "weights_input": one_of("data", "ones"),
    "gates": one_of("hard", "annealed", "soft"),
    "beta": number(above=0),
    "width": whole(1),
    "depth": whole(2),
    "learning_rate": number(above=0),
    "weight_decay": number(least=0),
    "batch_size": _automatic(whole(1)),
    "max_iter": whole(1),
    "tol": number(least=0),
    "early_stopping": _automatic(flag),
    "validation_fraction": fraction,
    "n_iter_no_change": whole(1),
    "warm_start": flag,
    "verbose": flag,
}
"""Option -> its check; `random_state` has its own."""


class TableEstimator(Readable, BaseEstimator):
    """A small DLGN of a table; a subclass says what its targets are."""

    n_features_in_: int
    classes_: np.ndarray
    feature_names_in_: np.ndarray
    _single: bool = True
    _wanted_targets: ClassVar[dict[str, bool]] = {}
    """Options of scikit-learn's check of targets."""

    def __init__(
        self,
        *,
        kind: Literal["dlgn", "dlgn-sf"] = "dlgn",
        weights_input: Literal["data", "ones"] = "data",
        gates: Literal["hard", "annealed", "soft"] = "hard",
        beta: float = 4.0,
        width: int = 32,
        depth: int = 4,
        learning_rate: float = 5e-3,
        weight_decay: float = 1.0,
        batch_size: int | Literal["auto"] = "auto",
        max_iter: int = 200,
        tol: float = 1e-4,
        early_stopping: bool | Literal["auto"] = "auto",
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 20,
        warm_start: bool = False,
        verbose: bool = False,
        random_state: Any = 0,
    ) -> None:
        self.kind = kind
        self.weights_input = weights_input
        self.gates = gates
        self.beta = beta
        self.width = width
        self.depth = depth
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.tol = tol
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.verbose = verbose
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit to rows.

        Args:
            X: (n, columns), finite numbers: an array, or a table with names of columns. In float32
                it is trained in float32, else in float64.
            y: (n,) classes, as numbers or names; or targets (n,) or (n, outputs).
            sample_weight: (n,), from 0 on: a row of weight 2 counts as two rows.

        Returns:
            The estimator itself.

        Raises:
            TableError: an option or the data cannot be used; of data, in scikit-learn's words (and
                where those are a TypeError's, a TypeError too).
            DivergenceError: a loss is not finite.
        """
        options = self._checked_options()
        first = not (options["warm_start"] and hasattr(self, "net_"))
        return self._learn(options, X, y, sample_weight, first, known=not first)

    @takes(TableError, path=path_value)
    def save(self, path: str | Path) -> None:
        """Write the fitted estimator as one safetensors file, whole or not at all.

        It holds numbers and text, no code; `load` reads it. joblib and pickle work too, and run
        code when they are read.

        Args:
            path: of the file.

        Raises:
            TableError: it is not fitted, or has classes that are no numbers, texts or booleans.
            RunError: it cannot be written there.
        """
        self._expect_fitted()
        classes = getattr(self, "classes_", None)
        state = SavedState(
            estimator=type(self).__name__,
            options=self._fitted,
            seed=self.seed_,
            columns=self.n_features_in_,
            names=tuple(getattr(self, "feature_names_in_", ())) or None,
            classes=None if classes is None else classes_as_saved(classes),
            target_means=tuple(self._scales.target_means.tolist()),
            target_deviations=tuple(self._scales.target_deviations.tolist()),
            single=self._single,
            losses=tuple(self.loss_curve_),
            scores=tuple(self.validation_scores_),
        )
        write_estimator(state, self.net_, Path(path))

    @classmethod
    @takes(TableError, path=path_value)
    def load(cls, path: str | Path) -> Self:
        """The estimator that `save` wrote, with its seed for `random_state`.

        Args:
            path: of the file.

        Raises:
            SavedNetworkError: no such file, or one that is damaged, unfit or of another class.
        """
        path = Path(path)
        saved = read_state(path, cls.__name__, OPTIONS)
        made = cls(**saved.options, random_state=saved.seed)
        if saved.classes is not None:
            made.classes_ = classes_from(saved.classes, len(saved.target_means), path)
        made._fitted = dict(saved.options)
        made.n_features_in_, made._single = saved.columns, saved.single
        if saved.names is not None:
            made.feature_names_in_ = np.array(saved.names, dtype=object)
        blank = np.ones(saved.columns)
        means, deviations = (np.array(v) for v in (saved.target_means, saved.target_deviations))
        made._scales = Scales(blank, blank, means, deviations)
        shape = made._shape()
        made.net_ = read_network(path, shape, made._scales, made.gates, made.beta)
        transform = made.net_.input_transform
        assert transform is not None
        made._scales = Scales(transform.mean.numpy(), transform.std.numpy(), means, deviations)
        made.seed_, made._moments = saved.seed, None
        made.loss_curve_, made.validation_scores_ = list(saved.losses), list(saved.scores)
        made.n_iter_ = len(saved.losses)
        return made

    def _learn(
        self,
        options: dict[str, Any],
        X: Any,
        y: Any,
        sample_weight: Any,
        first: bool,
        *,
        known: bool,
        once: bool = False,
    ) -> Self:
        """Learn from rows, beginning anew at `first`; `once`: one pass, with no row held back."""
        self._check_shape(options, first)
        rows, targets, weights = self._checked_data(X, y, sample_weight, first, known)
        if first:
            self._begin(options, rows, targets, weights)
        held = options["early_stopping"]
        held = len(rows) >= MANY_ROWS if held == "auto" else held
        self._train(options, rows, targets, weights, hold=held and not once, steadily=once)
        return self

    def _checked_options(self) -> dict[str, Any]:
        """Their plain values; the estimator keeps what it was given."""
        return {
            name: require(name, getattr(self, name), check, TableError)
            for name, check in OPTIONS.items()
        }

    def _check_shape(self, options: dict[str, Any], first: bool) -> None:
        """Refuse to go on with a network that the options no longer describe."""
        for name in () if first else ("kind", "weights_input", "width", "depth"):
            if options[name] != self._fitted[name]:
                raise TableError(
                    f"{name}: expected {self._fitted[name]!r}, as the network to go on from has "
                    f"it, got {options[name]!r}. Repair: clone(estimator), to begin anew"
                )

    def _checked_data(
        self, X: Any, y: Any, sample_weight: Any, first: bool, known: bool
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows (n, columns), targets as training takes them in their own units, and weights (n,).

        Rows without weight are left out. `first`: columns are new; `known`: classes are not.
        """
        with refused_data("X and y", TableError, TableTypeError):
            rows, y = validate_data(
                self,
                X,
                y,
                dtype=(np.float64, np.float32),
                reset=first,
                ensure_min_samples=2 if first else 1,
                **self._wanted_targets,
            )
        weights = _checked_weights(sample_weight, len(rows))
        targets = self._as_targets(y, first, known)
        chosen = weights > 0
        return rows[chosen], targets[chosen], weights[chosen]

    def _as_targets(self, y: np.ndarray, first: bool, known: bool) -> np.ndarray:
        """Targets as the loss takes them; of classifier and regressor each its own."""
        raise NotImplementedError

    def _target_scales(
        self, targets: np.ndarray, weights: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Means and deviations of the targets, one for each output of the network."""
        raise NotImplementedError

    def _begin(
        self,
        options: dict[str, Any],
        rows: np.ndarray,
        targets: np.ndarray,
        weights: np.ndarray,
    ) -> None:
        """An untrained network, and the scales that it will carry."""
        self._fitted = options
        self.seed_ = random_seed(self.random_state, TableError)
        columns = standardise(rows.astype(np.float64), weights, "X")
        self._scales = Scales(*columns, *self._target_scales(targets, weights))
        self.net_ = fresh_network(self._shape(), self.seed_)
        self.n_iter_ = 0
        self.loss_curve_: list[float] = []
        self.validation_scores_: list[float] = []
        self._moments: dict[str, Any] | None = None

    def _shape(self) -> Shape:
        return Shape(
            self.n_features_in_,
            len(self._scales.target_means),
            *(self._fitted[name] for name in ("kind", "weights_input", "width", "depth")),
        )

    def _train(
        self,
        options: dict[str, Any],
        rows: np.ndarray,
        targets: np.ndarray,
        weights: np.ndarray,
        *,
        hold: bool,
        steadily: bool = False,
    ) -> None:
        """Train `net_`; steadily: at one learning rate, with the moments of the last call."""
        dtype = torch.float32 if rows.dtype == np.float32 else torch.float64
        everything = self._tensors(rows, targets, weights, dtype)
        kept, held = self._split(everything, options) if hold else (everything, None)
        gates, beta, size = options["gates"], options["beta"], options["batch_size"]
        learning = for_training(self.net_, self._scales, gates, beta, dtype)
        if size == "auto":
            size = min(AUTOMATIC_BATCH[1], max(AUTOMATIC_BATCH[0], len(kept) // 64))
        plan = Descent(
            epochs=1 if steadily else options["max_iter"],
            batch_size=size,
            learning_rate=options["learning_rate"],
            weight_decay=options["weight_decay"],
            patience=options["n_iter_no_change"],
            tolerance=options["tol"],
            annealed_from=beta if gates == "annealed" and not steadily else None,
            constant=steadily,
        )
        found = descend(
            learning,
            kept,
            held,
            plan,
            torch.Generator().manual_seed(self.seed_ + self.n_iter_),
            Terminal() if options["verbose"] else Unseen(),
            title=type(self).__name__,
            moments=self._moments if steadily else None,
        )
        self.net_ = finished(learning, self._scales, gates, beta)
        self._fitted = options
        self.n_iter_ += len(found.losses)
        self.loss_curve_ = self.loss_curve_ + found.losses
        self.validation_scores_ = self.validation_scores_ + found.scores
        self._moments = found.moments if steadily else None

    def _tensors(
        self, rows: np.ndarray, targets: np.ndarray, weights: np.ndarray, dtype: torch.dtype
    ) -> Rows:
        """Standardised, as the network is trained on them."""
        scales = self._scales
        x = (rows.astype(np.float64) - scales.column_means) / scales.column_deviations
        y = torch.from_numpy(targets)
        if targets.dtype != np.int64:
            y = torch.from_numpy((targets - scales.target_means) / scales.target_deviations)
            y = y.to(dtype)
        return Rows(torch.from_numpy(x).to(dtype), y, torch.from_numpy(weights).to(dtype))

    def _split(self, rows: Rows, given: dict[str, Any]) -> tuple[Rows, Rows]:
        """Rows to learn from, and those held back, of every class its share where it can be."""
        classes = rows.y.numpy() if rows.y.dtype == torch.int64 else None
        options = {"test_size": given["validation_fraction"], "random_state": self.seed_ % 2**32}
        numbers = np.arange(len(rows))
        with refused_data("validation_fraction", TableError, TableTypeError):
            try:
                parts = train_test_split(numbers, stratify=classes, **options)
            except ValueError:  # a class of one row, or fewer rows held back than classes
                parts = train_test_split(numbers, **options)
        learnt, held = (rows.at(torch.from_numpy(part)) for part in parts)
        return learnt, held

    def take_rows(self, X: Any) -> torch.Tensor:
        """Rows as the network takes them, (n, columns), float64.

        Raises:
            TableError: it is not fitted, or X has other columns.
        """
        self._expect_fitted()
        with refused_data("X", TableError, TableTypeError):
            rows = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        return torch.from_numpy(np.array(rows, dtype=np.float64))  # a copy, to be written to

    def _outputs(self, X: Any) -> np.ndarray:
        """What the network gives (n, outputs)."""
        x = self.take_rows(X)
        with torch.no_grad():
            blocks = [self.net_(block).expand(len(block), -1) for block in x.split(16384)]
        return torch.cat(blocks).numpy()

    def _expect_fitted(self) -> None:
        expect_fitted(self, NotYetFittedError)


def _checked_weights(value: Any, count: int) -> np.ndarray:
    """(count,), from 0 on and not all 0, float64."""
    if value is None:
        return np.ones(count)
    with refused_data("sample_weight", TableError, TableTypeError):
        weights = np.asarray(value, dtype=np.float64)
        weights = np.full(count, float(weights)) if weights.ndim == 0 else weights
    if weights.shape != (count,) or not np.isfinite(weights).all() or (weights < 0).any():
        raise TableError(
            f"sample_weight: expected {count} finite numbers from 0 on, one for each row, got "
            f"{said(value)}"
        )
    if not (weights > 0).any():
        raise TableError("sample_weight: expected a row whose weight is not zero, got none")
    return weights
