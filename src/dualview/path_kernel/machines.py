"""Kernel machines on the neural path kernel, as scikit-learn classifiers.

Given the gates, learning the weights is linear in path space (theory, section 5): ridge regression
on the NPK predicts f(x) = offset + sum_j alpha_j NPK(x, x_j), each training example's part
explicit. Beyond the size of a Gram matrix the same regression runs on random features of the NPK.

Axes: examples on axis 0, classes on the last. Everything after the network is numpy float64.
"""

# ruff: noqa: N803, N806  scikit-learn's interface names the data X
from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence, Set
from types import MappingProxyType
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from dualview.architectures import fc
from dualview.arguments import (
    Check,
    byte_count,
    expect_fitted,
    flag,
    number,
    one_of,
    optional,
    random_seed,
    refused_data,
    require,
    whole,
)
from dualview.arguments import shape as shape_of
from dualview.conversion.disentangling import disentangle
from dualview.conversion.examples import gated
from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.modes import evaluation_mode
from dualview.errors import ExampleInputError, PathKernelError, needs
from dualview.path_kernel.examples import LAW, BatchNorm, Gates, check_computable
from dualview.path_kernel.features import npk_features
from dualview.path_kernel.kernel import npk
from dualview.path_kernel.ridge import RIDGES, RidgeFit, checked_ridges, fit_features, fit_gram

with needs("kernel", "a kernel machine"):
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import validate_data

__all__ = ["NPKClassifier", "NPKFeatureClassifier"]


class _PathKernelClassifier(ClassifierMixin, BaseEstimator):
    """What the two classifiers share: data in and out, the network, and the choice of class."""

    net: GatedNetwork | None
    ridge: float | Sequence[float] | Literal["auto"]
    gates: Gates
    biases: bool
    bias_variance: float
    batch_norm: BatchNorm
    input_shape: tuple[int, ...] | None
    random_state: Any
    _own_checks: Mapping[str, Check]

    def fit(self, X: Any, y: Any) -> Any:
        """Fit to examples.

        Args:
            X: (n, features), or shaped as the network takes them, (n, channels, h, w).
            y: class of each example (n,), numbers or names.

        Returns:
            The estimator itself.

        Raises:
            PathKernelError: an option, the network or the data cannot be used; of data, in
                scikit-learn's words (and where those are a TypeError's, a TypeError too).
        """
        self._check_options()
        with refused_data("X and y", PathKernelError, _DataTypeError):
            rows, shape = _as_rows(X)
            rows, y = validate_data(self, rows, y, dtype=_dtype_of(self.net), ensure_min_samples=2)
            check_classification_targets(y)
            self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise PathKernelError(
                f"y: expected at least 2 classes, got 1 class, {self.classes_[0]!r}, for all "
                f"{len(labels)} examples"
            )
        self.seed_ = random_seed(self.random_state, PathKernelError)
        self.input_shape_ = self._shape_for_network(shape)
        self.net_ = self._network()
        x = self._tensor(rows)
        check_computable(self.net_)
        _check_takes(self.net_, x)
        ridges = _candidates(self.ridge)
        fit = self._regress(x, rows, np.eye(len(self.classes_))[labels], ridges)
        self.intercept_, self.ridge_ = fit.offset, fit.ridge
        self.leave_one_out_errors_ = fit.errors
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """Score of each class (n, classes); for two classes the second's less the first's (n,)."""
        scores = self._scores_of(X)
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def predict(self, X: Any) -> np.ndarray:
        """The class with the highest score, for each example (n,)."""
        best = self._scores_of(X).argmax(1)
        return self.classes_[best]

    def _scores_of(self, X: Any) -> np.ndarray:
        """Scores (n, classes), float64: offset + kernel or features @ coefficients."""
        expect_fitted(self, _NotFittedError)
        with refused_data("X", PathKernelError, _DataTypeError):
            rows, shape = _as_rows(X)
        if shape is not None and shape != self.input_shape_:
            raise PathKernelError(
                f"X: expected examples of shape {self.input_shape_}, as in fit, got {shape}"
            )
        with refused_data("X", PathKernelError, _DataTypeError):
            rows = validate_data(self, rows, dtype=_dtype_of(self.net_), reset=False)
        return self.intercept_ + self._linear_part(self._tensor(rows))

    def _check_options(self) -> None:
        checks = {
            "net": optional(gated),
            "gates": one_of(*get_args(Gates)),
            "input_shape": optional(shape_of()),
            **LAW,
            **self._own_checks,
        }
        for name, check in checks.items():
            require(name, getattr(self, name), check, PathKernelError)
        _candidates(self.ridge)

    def _law(self) -> dict[str, Any]:
        """What the weights are drawn for, as `npk` and `npk_features` take it."""
        return {
            "gates": self.gates,
            "biases": self.biases,
            "bias_variance": self.bias_variance,
            "batch_norm": self.batch_norm,
        }

    def _shape_for_network(self, shape: tuple[int, ...] | None) -> tuple[int, ...]:
        """Shape of one example as the network takes it."""
        wanted = None if self.input_shape is None else tuple(self.input_shape)
        if wanted is None:
            return shape or (self.n_features_in_,)
        if shape not in (None, wanted) or math.prod(wanted) != self.n_features_in_:
            raise PathKernelError(
                f"input_shape: expected the shape of one example, {shape or self.n_features_in_}, "
                f"got {wanted}"
            )
        return wanted

    def _network(self) -> GatedNetwork:
        """A copy, so that training `net` later does not change this estimator; or the default."""
        if self.net is not None:
            return copy.deepcopy(self.net)
        return _default_network(self.input_shape_, len(self.classes_), self.seed_)

    def _tensor(self, rows: np.ndarray) -> Tensor:
        """Rows (n, features) as the network takes them, on its device."""
        like = next(self.net_.parameters(), torch.empty(0))
        x = torch.tensor(rows, dtype=like.dtype, device=like.device)
        return x.reshape(-1, *self.input_shape_)

    def _regress(
        self, x: Tensor, rows: np.ndarray, targets: np.ndarray, ridges: Sequence[float]
    ) -> RidgeFit:
        """Keep the coefficients of one-hot targets (n, classes), and tell how they were found."""
        raise NotImplementedError

    def _linear_part(self, x: Tensor) -> np.ndarray:
        """Scores (n, classes) without their offset."""
        raise NotImplementedError


class NPKClassifier(_PathKernelClassifier):
    """Kernel ridge regression on the exact NPK of a network, as a scikit-learn classifier.

    It predicts the class with the highest `intercept_ + K(x, X_fit_) @ dual_coef_`, fitted to
    one-hot targets less their mean. The Gram matrix (n, n) is held in memory in float64, 8 n^2
    bytes (0.8 GB for 10,000 examples), its eigenvectors or factor take as much again, and solving
    it takes time n^3. Where that is too much, use `NPKFeatureClassifier`.

    Args:
        net: the network whose gates and architecture make the kernel; it is copied, and its weights
            network's own weights are not used. The kernel is computed in the network's type.
            Default: a ReLU network of 3 hidden layers of 256 units, with random weights and its own
            gates, in float64.
        ridge: penalty relative to the mean of the Gram matrix's diagonal; or candidates, of which
            the one with the least exact leave-one-out squared error on the training examples is
            taken; "auto": candidates `RIDGES`. If the gates were learnt from these examples, that
            error does not count it.
        gates: "model": as the network applies them; "hard": 1{q > 0}.
        biases: as `npk`.
        bias_variance: as `npk`.
        batch_norm: as `npk`.
        normalise: weights of variance 1 / fan-in (see `npk`). It matters to the numbers' size only.
        memory: bound, in bytes, on what one tile of the kernel's computation may hold.
        input_shape: shape of one example as the network takes it, where X is flat and the network
            is not. Default: as in X.
        random_state: seed of the default network; not used otherwise.

    Attributes:
        classes_: (k,).
        dual_coef_: alpha (n, k), float64.
        intercept_: (k,): each class's share of the training examples.
        X_fit_: training examples (n, features).
        y_fit_: their classes (n,), which `kernel_attribution` tells of.
        ridge_: the ridge used.
        leave_one_out_errors_: ridge -> mean squared error; empty if only one ridge was given.
        net_: the network used.
        input_shape_: of one example, as the network takes it.
        n_features_in_: numbers per example.

    Source: arXiv 2006.10529, section 6 (kernel regression on the NPK); theory, section 5.

    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> classifier = NPKClassifier(ridge=1e-3).fit(X[:300] / 16, y[:300])
    >>> classifier.score(X[300:400] / 16, y[300:400]) > 0.9
    True
    """

    _own_checks = MappingProxyType({"normalise": flag, "memory": byte_count})

    def __init__(
        self,
        net: GatedNetwork | None = None,
        *,
        ridge: float | Sequence[float] | Literal["auto"] = "auto",
        gates: Gates = "model",
        biases: bool = False,
        bias_variance: float = 1.0,
        batch_norm: BatchNorm = "identity",
        normalise: bool = True,
        memory: float = 512e6,
        input_shape: tuple[int, ...] | None = None,
        random_state: Any = 0,
    ) -> None:
        self.net = net
        self.ridge = ridge
        self.gates = gates
        self.biases = biases
        self.bias_variance = bias_variance
        self.batch_norm = batch_norm
        self.normalise = normalise
        self.memory = memory
        self.input_shape = input_shape
        self.random_state = random_state

    def _regress(
        self, x: Tensor, rows: np.ndarray, targets: np.ndarray, ridges: Sequence[float]
    ) -> RidgeFit:
        self.X_fit_, self.y_fit_ = rows, self.classes_[targets.argmax(1)]
        fit = fit_gram(self._kernel(x), targets, ridges)
        self.dual_coef_ = fit.coefficients
        return fit

    def _linear_part(self, x: Tensor) -> np.ndarray:
        return self._kernel(x, self._tensor(self.X_fit_)) @ self.dual_coef_

    def _kernel(self, x1: Tensor, x2: Tensor | None = None) -> np.ndarray:
        options: dict[str, Any] = {"normalise": self.normalise, "memory": self.memory}
        return _array(npk(self.net_, x1, x2, **self._law(), **options))


class NPKFeatureClassifier(_PathKernelClassifier):
    """Ridge regression on random features of the NPK: `NPKClassifier` at a cost linear in n.

    It predicts the class with the highest `intercept_ + features @ coef_`. Features are made batch
    by batch, so that memory does not grow with the number of examples (beyond `memory`), and any
    graph will do. With more features it tends to `NPKClassifier` on the same network.

    Args:
        net: as for `NPKClassifier`.
        n_features: of the NPK (see `npk_features`).
        ridge: as for `NPKClassifier`, relative to the features' mean squared length. Comparing
            candidates takes a second pass over the examples.
        gates: "model" or "hard".
        biases: as `npk`.
        bias_variance: as `npk`.
        batch_norm: as `npk`.
        per_draw: features for each draw of the weights (see `npk_features`).
        batch_size: examples at a time. Every batch draws the weights again.
        memory: bytes that may be used to keep the features of all examples for a second pass;
            if they do not fit, they are computed again.
        input_shape: as for `NPKClassifier`.
        random_state: seed of the features, and of the default network.

    Attributes:
        coef_: (n_features, k), float64.
        seed_: the `seed` of `npk_features` that gives the same features.
        classes_, intercept_, ridge_, leave_one_out_errors_, net_, input_shape_, n_features_in_: as
            for `NPKClassifier`.

    Source: theory, section 6.

    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> classifier = NPKFeatureClassifier(n_features=256).fit(X[:300] / 16, y[:300])
    >>> classifier.score(X[300:400] / 16, y[300:400]) > 0.8
    True
    """

    _own_checks = MappingProxyType(
        {
            "n_features": whole(1),
            "per_draw": whole(1),
            "batch_size": whole(1),
            "memory": number(least=0),  # 0 keeps nothing
        }
    )

    def __init__(
        self,
        net: GatedNetwork | None = None,
        *,
        n_features: int = 1024,
        ridge: float | Sequence[float] | Literal["auto"] = "auto",
        gates: Gates = "model",
        biases: bool = False,
        bias_variance: float = 1.0,
        batch_norm: BatchNorm = "identity",
        per_draw: int = 32,
        batch_size: int = 256,
        memory: float = 512e6,
        input_shape: tuple[int, ...] | None = None,
        random_state: Any = 0,
    ) -> None:
        self.net = net
        self.n_features = n_features
        self.ridge = ridge
        self.gates = gates
        self.biases = biases
        self.bias_variance = bias_variance
        self.batch_norm = batch_norm
        self.per_draw = per_draw
        self.batch_size = batch_size
        self.memory = memory
        self.input_shape = input_shape
        self.random_state = random_state

    def _regress(
        self, x: Tensor, rows: np.ndarray, targets: np.ndarray, ridges: Sequence[float]
    ) -> RidgeFit:
        size = len(x) * self.n_features * np.float64().nbytes
        kept = list(self._features(x)) if len(ridges) > 1 and size <= self.memory else None
        fit = fit_features(
            lambda: self._features(x) if kept is None else kept, targets, self.n_features, ridges
        )
        self.coef_ = fit.coefficients
        return fit

    def _linear_part(self, x: Tensor) -> np.ndarray:
        return np.concatenate([features @ self.coef_ for features in self._features(x)])

    def _features(self, x: Tensor) -> Iterator[np.ndarray]:
        """Features (b, n_features) of batch after batch."""
        options = {**self._law(), "per_draw": self.per_draw}
        for batch in x.split(self.batch_size):
            yield _array(
                npk_features(
                    self.net_,
                    batch,
                    self.n_features,
                    seed=self.seed_,
                    batch_size=self.batch_size,
                    **options,
                )
            )


def kernel_rows(machine: NPKClassifier, rows: np.ndarray) -> np.ndarray:
    """The kernel (m, n), float64, of examples (m, ...) with those that a machine was fitted to."""
    return machine._kernel(machine._tensor(rows), machine._tensor(machine.X_fit_))


def _candidates(ridge: Any) -> tuple[float, ...]:
    """The ridges to compare: one, or several."""
    if isinstance(ridge, str):
        if ridge != "auto":
            raise PathKernelError(
                f"ridge: expected a number, several numbers or 'auto', got {ridge!r}"
            )
        return RIDGES
    try:
        several = list(ridge)
    except Exception:  # one number, or what no iteration is known of
        several = [ridge]
    if isinstance(ridge, Mapping | Set | bytes):
        several = [ridge]
    return checked_ridges(several)


class _DataTypeError(PathKernelError, TypeError):
    """Data of a type that is no data; scikit-learn promises a TypeError."""


class _NotFittedError(PathKernelError, NotFittedError):
    """Asked before it was fitted; scikit-learn promises its own error."""


def _as_rows(X: Any) -> tuple[Any, tuple[int, ...] | None]:
    """Examples as rows (n, features), and one example's shape if they were not flat."""
    if isinstance(X, Tensor):
        X = X.detach().cpu().numpy()
    if getattr(X, "ndim", 2) <= 2:
        return X, None
    X = np.asarray(X)
    return X.reshape(len(X), -1), X.shape[1:]


def _dtype_of(net: GatedNetwork | None) -> type:
    """The numpy type in which data is read for a network; float64 for the default one."""
    like = next(net.parameters(), torch.empty(0)) if net is not None else torch.empty(0).double()
    return np.float64 if like.dtype == torch.float64 else np.float32


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.double().cpu().numpy()


def _default_network(shape: tuple[int, ...], n_classes: int, seed: int) -> GatedNetwork:
    """A random ReLU network and its own gates; PyTorch's random state stays as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = fc(n_classes, (1, 1, math.prod(shape)), width=256, depth=4)
    return disentangle(model.double(), "dnn")


def _check_takes(net: GatedNetwork, x: Tensor) -> None:
    """Refuse data whose shape the network does not take as a batch."""
    problem = ""
    for batch in (x[:1], x[:2]):
        try:
            with evaluation_mode(net), torch.no_grad():
                gates = net.gates(batch)
        except (RuntimeError, ExampleInputError) as error:
            problem = str(error)
        else:  # a convolution takes a flat batch for the channels of one example
            wrong = [tuple(gate.shape) for gate in gates if len(gate) != len(batch)]
            problem = f"gates of shape {wrong[0]} for {len(batch)} example(s)" if wrong else ""
        if problem:
            raise PathKernelError(
                f"X: the network cannot take examples of shape {tuple(x.shape[1:])}: {problem}. "
                f"Repair: input_shape=(channels, height, width), or the shape it was built for"
            )
