"""Ridge regression on a Gram matrix, or on features that come in batches, by exact leave-one-out.

A *ridge* is relative everywhere: the penalty on the weights, which is what the diagonal of the Gram
matrix gets added, is ridge * (mean of that diagonal). So it means the same whatever the kernel's
scale, and for a kernel and for features of it.

Axes: examples on axis 0, targets (one column a class) on the last; a path over r ridges puts them
first. Everything is numpy float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dualview.arguments import array, flag, number, require, sequence, takes
from dualview.errors import PathKernelError, needs

with needs("kernel", "kernel regression"):
    from scipy import linalg

RIDGES = tuple(float(10**exponent) for exponent in np.arange(-6, 2.1, 0.5))
"""Candidates of ridge="auto": 1e-6 to 1e2, two a decade."""

MOST_RIDGES = 10_000
"""Candidates that are compared at most: each keeps all coefficients."""

ROWS_AT_ONCE = 1024
"""Rows of a large matrix for which a temporary copy is made."""


@takes(PathKernelError, gram=array, targets=array)
def fit_kernel_regression(gram: np.ndarray, targets: np.ndarray, ridge: float) -> np.ndarray:
    """Coefficients alpha of kernel ridge regression: (K + ridge * mean(diag K) I) alpha = targets.

    The prediction for x is `sum_j alpha_j K(x, x_j)`, so that each example's part in it is known.

    Args:
        gram: kernel of the training examples (n, n), symmetric.
        targets: (n,), or (n, k) for k regressions at once. For classes: one-hot rows less their
            mean, which is then added to the prediction.
        ridge: relative to the mean of the Gram matrix's diagonal; 0 interpolates.

    Returns:
        Coefficients, of the targets' shape, float64; by Cholesky's factorisation.

    Raises:
        PathKernelError: wrong shapes, NaN, a matrix that is not symmetric, or one that is not
            positive definite, to rounding, even with the ridge.

    >>> fit_kernel_regression(np.array([[2.0, 0.0], [0.0, 4.0]]), np.array([3.0, 1.0]), 0.0)
    array([1.5 , 0.25])
    """
    gram, targets = _checked(gram, targets)
    (ridge,) = checked_ridges([ridge])
    return _solve(gram, targets, ridge, _mean_diagonal(gram, len(gram)))


@dataclass(frozen=True, eq=False)
class RidgePath:
    """Kernel regression for r ridges at once, made by `kernel_regression_path`.

    Choose by leave-one-out, `squared_errors(path.leave_one_out, targets)`, or by validation
    examples, `squared_errors(path.predict(cross), validation_targets)`.
    """

    ridges: tuple[float, ...]
    """The r ridges, relative to the mean of the Gram matrix's diagonal."""
    coefficients: np.ndarray
    """(r, n, k)."""
    offset: np.ndarray
    """(k,): added to every prediction."""
    leave_one_out: np.ndarray
    """(r, n, k): row i is the prediction for example i of the regression on all others."""

    def predict(self, cross: np.ndarray) -> np.ndarray:
        """Predictions (r, n2, k) for new examples, from their kernel (n2, n) with the old ones."""
        return self.offset + np.asarray(cross, dtype=np.float64) @ self.coefficients


@takes(PathKernelError, gram=array, targets=array, centre=flag)
def kernel_regression_path(
    gram: np.ndarray, targets: np.ndarray, ridges: Sequence[float] = RIDGES, *, centre: bool = True
) -> RidgePath:
    """Kernel ridge regression for many ridges, with its leave-one-out predictions, from one `eigh`.

    Leave-one-out is exact: it equals n refits, each with the other examples' mean target as the
    offset and with the same penalty (ridge * mean diagonal of all n). It takes the kernel as given:
    if gates were learnt from these examples, that is not undone.

    Args:
        gram: kernel of the training examples (n, n), symmetric; n at least 2.
        targets: (n, k).
        ridges: relative to the mean of the diagonal. Those too small for the matrix, whose smallest
            eigenvalues are rounding errors, are left out of the result.
        centre: subtract the targets' mean before the regression, and add it to predictions.

    Returns:
        The path, in the order of `ridges`.

    Raises:
        PathKernelError: as `fit_kernel_regression`; the last reason only if no ridge is left.

    Source: Rifkin and Lippert, "Notes on regularized least squares", 2007, section 4.

    >>> path = kernel_regression_path(np.eye(3), np.eye(3), [1.0], centre=False)
    >>> path.coefficients[0].diagonal()
    array([0.5, 0.5, 0.5])
    >>> bool(np.allclose(path.leave_one_out, 0))
    True
    """
    gram, targets = _checked(gram, targets, 2)
    scale = _mean_diagonal(gram, len(gram))
    values, vectors = linalg.eigh(gram, check_finite=False)
    kept = _solvable(values, checked_ridges(ridges), scale)
    inverse = 1 / (values[:, None] + scale * np.array(kept))  # (n, r)
    # The column of ones tells how each residual depends on the mean that was subtracted.
    right = vectors.T @ np.column_stack([targets, np.ones(len(targets))])
    solved = np.stack([vectors @ (right * column[:, None]) for column in inverse.T])
    diagonal = np.concatenate([np.square(vectors[rows]) @ inverse for rows in _blocks(len(gram))])
    mean, others = _means(targets, centre)
    return RidgePath(
        ridges=kept,
        coefficients=solved[..., :-1] - solved[..., -1:] * mean,
        offset=mean,
        leave_one_out=targets - _left_out_residuals(solved, diagonal.T, others),
    )


def squared_errors(predictions: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Mean squared error of each ridge: predictions (r, n, k), targets (n, k) -> (r,)."""
    return np.square(predictions - targets).mean((1, 2))


@takes(PathKernelError, gram=array, targets=array)
def kare(gram: np.ndarray, targets: np.ndarray, ridges: Sequence[float] = RIDGES) -> np.ndarray:
    """Kernel alignment risk estimator: the test error of kernel ridge regression, from training.

    KARE = (1/n) y' (K/n + lambda I)^-2 y / ((1/n) tr (K/n + lambda I)^-1)^2, with
    n lambda = ridge * mean(diag K): generalised cross-validation of the regression. No test example
    is needed, so that kernels and ridges can be scored before anything is fitted.

    Args:
        gram: kernel of the training examples (n, n), symmetric, such as `npk(net, x)`.
        targets: (n,) or (n, k), centred if the regression is; errors of the k are summed.
        ridges: relative to the mean of the Gram matrix's diagonal; each above 0, unless the matrix
            is positive definite by itself.

    Returns:
        Estimated mean squared error on new examples, for each ridge: (r,), float64.

    Raises:
        PathKernelError: wrong shapes, NaN, a matrix that is not symmetric, or one that is not
            positive definite, to rounding, even with a ridge.

    Source: Jacot et al., "Kernel alignment risk estimator", arXiv 2006.09796; for tangent
    kernels arXiv 2505.11347.

    >>> kare(np.diag([2.0, 2.0]), np.array([3.0, 1.0]), [0.5])
    array([5.])
    """
    gram, targets = _checked(gram, targets)
    scale, chosen = _mean_diagonal(gram, len(gram)), checked_ridges(ridges)
    values, vectors = linalg.eigh(gram, check_finite=False)
    for ridge in chosen:
        _solvable(values, [ridge], scale)
    squares = np.square(vectors.T @ targets.reshape(len(gram), -1)).sum(1)
    inverse = 1 / (values + scale * np.array(chosen)[:, None])  # (r, n)
    inverse /= inverse.max(1, keepdims=True)  # whose size goes out of the quotient
    estimate: np.ndarray = (np.square(inverse) * squares).mean(1) / np.square(inverse.mean(1))
    return estimate


def _left_out_residuals(residuals: np.ndarray, slack: np.ndarray, others: np.ndarray) -> np.ndarray:
    """What leave-one-out misses of the targets, for r ridges: (r, n, k).

    With the inverse G of the penalised Gram matrix, example i's residual without it is
    (G targets)_i / G_ii; or, in the space of features, (targets - fit)_i / (1 - hat_i).

    Args:
        residuals: (r, n, k + 1): one of the numerators; in the last column that of targets 1.
        slack: (r, n): its denominator.
        others: (n, k): the mean target of all examples but i, which is subtracted without i.
    """
    numerator = residuals[..., :-1] - residuals[..., -1:] * others
    return numerator / slack[..., None]


def _means(targets: np.ndarray, centre: bool) -> tuple[np.ndarray, np.ndarray]:
    """Mean target (k,), and that of all examples but each (n, k); zeros unless centred."""
    if not centre:
        return np.zeros(targets.shape[1]), np.zeros_like(targets)
    return targets.mean(0), (targets.sum(0) - targets) / (len(targets) - 1)


def _solve(matrix: np.ndarray, right: np.ndarray, ridge: float, scale: float) -> np.ndarray:
    """Solve (matrix + ridge * scale * I) result = right by Cholesky, or say why it cannot be."""
    penalised = matrix.copy(order="F")
    np.einsum("ii->i", penalised)[:] += ridge * scale
    norm = linalg.lapack.dlange("1", penalised)
    try:
        factor = linalg.cholesky(penalised, lower=True, overwrite_a=True, check_finite=False)
    except linalg.LinAlgError as error:
        raise _not_definite(f"ridge={ridge:g}") from error
    reciprocal, _ = linalg.lapack.dpocon(factor, norm, uplo="L")
    if reciprocal < np.finfo(np.float64).eps:
        raise _not_definite(f"ridge={ridge:g}")
    return linalg.cho_solve((factor, True), right, check_finite=False)


def _solvable(values: np.ndarray, ridges: Sequence[float], scale: float) -> tuple[float, ...]:
    """The ridges under which a matrix with these (ascending) eigenvalues is positive definite."""
    tiny = np.finfo(np.float64).eps
    kept = [r for r in ridges if values[0] + r * scale > tiny * (values[-1] + r * scale)]
    if not kept:
        raise _not_definite(f"ridges up to {max(ridges):g}")
    return tuple(kept)


def _not_definite(ridges: str) -> PathKernelError:
    return PathKernelError(
        f"the Gram matrix: expected a positive definite matrix, got one that is not, to rounding, "
        f"with {ridges}. Repair: a larger ridge, or a kernel computed in float64"
    )


def _checked(
    gram: np.ndarray, targets: np.ndarray, axes: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Both in float64, if they can be a Gram matrix and its targets, of so many axes."""
    gram, targets = (np.asarray(given, dtype=np.float64) for given in (gram, targets))
    _check_gram(gram)
    _check_targets(targets, len(gram), axes)
    return gram, targets


def _check_gram(gram: np.ndarray) -> None:
    if gram.ndim != 2 or gram.shape[0] != gram.shape[1] or not len(gram):
        raise PathKernelError(f"gram: expected a square matrix (n, n), got shape {gram.shape}")
    largest, asymmetry = 0.0, 0.0
    for rows in _blocks(len(gram)):
        if not np.isfinite(gram[rows]).all():
            row = rows.start + int(np.flatnonzero(~np.isfinite(gram[rows]).all(1))[0])
            raise PathKernelError(f"gram: expected finite values, got NaN or inf in row {row}")
        largest = max(largest, np.abs(gram[rows]).max())
        asymmetry = max(asymmetry, np.abs(gram[rows] - gram[:, rows].T).max())
    if asymmetry > 1e-4 * largest:  # a kernel in float32 may differ in its last digits
        raise PathKernelError(
            f"gram: expected a symmetric matrix, got entries that differ by {asymmetry:.3g} from "
            f"their mirror images. Repair: pass the kernel of the training examples with themselves"
        )


def _check_targets(targets: np.ndarray, n: int, axes: int | None = None) -> None:
    shapes = "(n, k)" if axes == 2 else "(n,) or (n, k)"
    if targets.ndim not in ((axes,) if axes else (1, 2)) or len(targets) != n:
        raise PathKernelError(
            f"targets: expected {shapes} for n = {n} examples, got shape {targets.shape}"
        )
    if not targets.size:
        raise PathKernelError(f"targets: expected at least one a row, got shape {targets.shape}")
    if axes == 2 and n < 2:
        raise PathKernelError("targets: expected at least 2 examples to leave one out, got 1")
    if not np.isfinite(targets).all():
        raise PathKernelError("targets: expected finite values, got NaN or inf")


def checked_ridges(ridges: Iterable[Any]) -> tuple[float, ...]:
    """The ridges as floats, if each is a finite number from 0 on and there is one.

    Raises:
        PathKernelError: otherwise.
    """
    checked = require("ridge", ridges, sequence, PathKernelError)
    if len(checked) > MOST_RIDGES:
        raise PathKernelError(
            f"ridge: expected at most {MOST_RIDGES:,} candidates, got {len(checked):,}"
        )
    if not checked:
        raise PathKernelError("ridge: expected at least one candidate, got none")
    return tuple(require("ridge", ridge, number(least=0), PathKernelError) for ridge in checked)


def _mean_diagonal(matrix: np.ndarray, n: int) -> float:
    """The mean K(x, x) of n examples, of the matrix K or of one with its trace."""
    scale = float(np.trace(matrix)) / n
    if scale <= 0:
        raise PathKernelError(
            f"the kernel: expected a positive mean K(x, x), got {scale:g}: for no example is a "
            f"path active (gates or inputs all 0), or the numbers underflow. Repair: examples and "
            f"gates that are not all 0, in float64"
        )
    return scale


def _blocks(n: int, size: int = ROWS_AT_ONCE) -> Iterator[slice]:
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


# The same regression in the space of features


@dataclass(frozen=True, eq=False)
class RidgeFit:
    """A chosen regression: prediction = offset + (kernel or features) @ coefficients."""

    coefficients: np.ndarray
    offset: np.ndarray
    ridge: float
    errors: dict[float, float]
    """Ridge -> mean squared leave-one-out error; empty where no choice was asked for."""


def fit_gram(gram: np.ndarray, targets: np.ndarray, ridges: Sequence[float]) -> RidgeFit:
    """Regression on a Gram matrix; several ridges are compared by leave-one-out."""
    if len(ridges) == 1:
        mean = targets.mean(0)
        return RidgeFit(fit_kernel_regression(gram, targets - mean, ridges[0]), mean, ridges[0], {})
    path = kernel_regression_path(gram, targets, ridges)
    errors = squared_errors(path.leave_one_out, targets)
    best = int(errors.argmin())
    named = dict(zip(path.ridges, errors.tolist(), strict=True))
    return RidgeFit(path.coefficients[best], path.offset, path.ridges[best], named)


def fit_features(
    batches: Callable[[], Iterable[np.ndarray]],
    targets: np.ndarray,
    n_features: int,
    ridges: Sequence[float],
) -> RidgeFit:
    """Regression on features that come in batches; coefficients (n_features, k).

    One pass adds up F'F and F'y; a second, only where ridges are compared, the leave-one-out error.
    With fewer examples than features the Gram matrix F F' is smaller, and is solved instead.

    Args:
        batches: each call yields the features (b, n_features) of all examples in order, float64.
        targets: (n, k).
        n_features: m.
        ridges: one, or candidates.
    """
    if len(targets) <= n_features:
        features = np.concatenate(list(batches()))
        fit = fit_gram(features @ features.T, targets, ridges)
        return RidgeFit(features.T @ fit.coefficients, fit.offset, fit.ridge, fit.errors)
    moment, right = _moments(batches(), targets, n_features)
    scale = _mean_diagonal(moment, len(targets))
    mean, _ = _means(targets, True)
    if len(ridges) == 1:
        weights = _solve(moment, right[:, :-1] - right[:, -1:] * mean, ridges[0], scale)
        return RidgeFit(weights, mean, ridges[0], {})
    values, vectors = linalg.eigh(moment, overwrite_a=True, check_finite=False)
    kept = _solvable(values, ridges, scale)
    inverse = 1 / (values[:, None] + scale * np.array(kept))  # (m, r)
    rotated = vectors.T @ right
    errors = _streamed_errors(batches(), targets, vectors, rotated, inverse)
    if not np.isfinite(errors).any():
        raise _not_definite(f"ridges up to {max(kept):g}")
    best = int(errors.argmin())
    solved = vectors @ (rotated * inverse[:, best, None])
    weights = solved[:, :-1] - solved[:, -1:] * mean
    return RidgeFit(weights, mean, kept[best], dict(zip(kept, errors.tolist(), strict=True)))


def _moments(
    batches: Iterable[np.ndarray], targets: np.ndarray, n_features: int
) -> tuple[np.ndarray, np.ndarray]:
    """F'F (m, m), and F'(targets, 1) (m, k + 1)."""
    moment = np.zeros((n_features, n_features))
    right = np.zeros((n_features, targets.shape[1] + 1))
    extended = np.column_stack([targets, np.ones(len(targets))])
    for features, rows in _with_rows(batches):
        moment += features.T @ features
        right += features.T @ extended[rows]
    return moment, right


def _streamed_errors(
    batches: Iterable[np.ndarray],
    targets: np.ndarray,
    vectors: np.ndarray,
    rotated: np.ndarray,
    inverse: np.ndarray,
) -> np.ndarray:
    """Mean squared leave-one-out error (r,) of regressions on features.

    Args:
        batches: features (b, m).
        targets: (n, k).
        vectors: eigenvectors (m, m) of F'F.
        rotated: vectors' F' (targets, 1): (m, k + 1).
        inverse: 1 / (eigenvalue + penalty): (m, r).
    """
    _, others = _means(targets, True)
    extended = np.column_stack([targets, np.ones(len(targets))])
    weights = inverse.T[:, :, None] * rotated  # (r, m, k + 1)
    total = np.zeros(inverse.shape[1])
    for features, rows in _with_rows(batches):
        turned = features @ vectors
        slack = 1 - (np.square(turned) @ inverse).T  # (r, b)
        # Where a ridge is so small that an example is fitted to rounding, the error is unknown.
        slack = np.where(slack > 1e-10, slack, np.nan)
        left_out = _left_out_residuals(extended[rows] - turned @ weights, slack, others[rows])
        total += np.square(left_out).sum((1, 2))
    return np.where(np.isnan(total), np.inf, total) / targets.size


def _with_rows(batches: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, slice]]:
    """Each batch, and which examples it holds."""
    start = 0
    for features in batches:
        yield features, slice(start, start + len(features))
        start += len(features)
