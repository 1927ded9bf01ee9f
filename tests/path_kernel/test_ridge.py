"""What is proved of `path_kernel/ridge.py`.

- Coefficients solve (K + ridge * mean(diag K) I) alpha = targets, as the explicit inverse does.
- Every point of a path is that direct solution, and predicts offset + sum_j alpha_j K(x, x_j).
- Leave-one-out predictions are those of n refits, with and without an offset.
- Regression on features is regression on their Gram matrix, in whatever batches they come, with
  fewer or more examples than features; its leave-one-out errors are those of n refits.
- The ridge with the least leave-one-out error is taken: small where targets are a function of the
  kernel, large where neighbours disagree.
- Ridges below a matrix's rounding errors are left out of a path, and refused where asked for.
- KARE is its definition written out, and near the risk of ridge regression where that is known.
- What cannot be served is refused with the reason.
"""

import math

import numpy as np
import pytest

from dualview.errors import PathKernelError
from dualview.path_kernel.ridge import (
    RIDGES,
    checked_ridges,
    fit_features,
    fit_gram,
    fit_kernel_regression,
    kare,
    kernel_regression_path,
    squared_errors,
)

N, M, K = 12, 5, 3
CANDIDATES = (1e-3, 0.1, 2.0)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def features(rng):
    return rng.normal(size=(N, M))


@pytest.fixture
def targets(rng):
    """One-hot rows of unequal classes."""
    return np.eye(K)[np.minimum(rng.integers(0, 6, N), K - 1)]


@pytest.fixture
def gram(rng):
    factor = rng.normal(size=(N, N))
    return factor @ factor.T / N


def by_inverse(gram, targets, penalty):
    return np.linalg.inv(gram + penalty * np.eye(len(gram))) @ targets


def refits(gram, targets, penalty, centre):
    """For each example, the prediction of the regression on all others."""
    predictions = np.empty_like(targets)
    for i in range(len(gram)):
        rest = np.delete(np.arange(len(gram)), i)
        offset = targets[rest].mean(0) if centre else 0.0
        alpha = by_inverse(gram[np.ix_(rest, rest)], targets[rest] - offset, penalty)
        predictions[i] = offset + gram[i, rest] @ alpha
    return predictions


def batches_of(features, size):
    return lambda: (features[start : start + size] for start in range(0, len(features), size))


# A Gram matrix


@pytest.mark.parametrize("ridge", [0, 1e-4, 1.0, np.float32(3)])
@pytest.mark.parametrize("columns", [None, 1, K])
def test_coefficients_solve_the_equations(gram, rng, ridge, columns):
    targets = rng.normal(size=N if columns is None else (N, columns))
    got = fit_kernel_regression(gram, targets, ridge)
    expected = by_inverse(gram, targets, ridge * np.diag(gram).mean())
    assert got.shape == targets.shape
    np.testing.assert_allclose(got, expected, rtol=1e-8)


def test_kare_is_its_definition(gram, targets):
    found = kare(gram, targets, CANDIDATES)
    for ridge, estimate in zip(CANDIDATES, found, strict=True):
        penalty = ridge * np.trace(gram) / N / N  # lambda
        inverse = np.linalg.inv(gram / N + penalty * np.eye(N))
        above = np.trace(targets.T @ inverse @ inverse @ targets) / N
        assert estimate == pytest.approx(above / (np.trace(inverse) / N) ** 2)
    one = kare(1e-200 * gram, targets[:, 0], CANDIDATES)
    np.testing.assert_allclose(one, kare(gram, targets[:, :1], CANDIDATES))


@pytest.mark.parametrize("noise", [0.3, 1.0])
def test_kare_predicts_a_known_risk(rng, noise):
    """Isotropic inputs, linear targets: the risk of a regression is |w - w'|^2 + noise^2."""
    n, d = 400, 60
    x, true = rng.normal(size=(n, d)), rng.normal(size=d) / math.sqrt(d)
    y = x @ true + noise * rng.normal(size=n)
    gram, ridges, risks = x @ x.T, (0.1, 1.0, 10.0), []
    for ridge in ridges:
        weights = x.T @ fit_kernel_regression(gram, y, ridge)
        risks.append(np.square(weights - true).sum() + noise**2)
    estimates = kare(gram, y, ridges)
    np.testing.assert_allclose(estimates, risks, rtol=0.15)
    assert max(risks) > 1.3 * min(risks)


def test_kare_needs_a_definite_matrix():
    with pytest.raises(PathKernelError, match="ridges up to 0"):
        kare(np.ones((3, 3)), np.ones(3), (1.0, 0.0))


def test_arguments_are_not_changed(gram, targets):
    before = gram.copy(), targets.copy()
    fit_kernel_regression(gram, targets, 1.0)
    kernel_regression_path(gram, targets)
    np.testing.assert_array_equal(gram, before[0])
    np.testing.assert_array_equal(targets, before[1])


def test_scale_of_the_kernel_does_not_matter(gram, targets):
    cross = gram[:4]
    one, other = (kernel_regression_path(c * gram, targets, CANDIDATES) for c in (1, 1e12))
    np.testing.assert_allclose(one.predict(cross), other.predict(1e12 * cross), rtol=1e-9)
    np.testing.assert_allclose(one.leave_one_out, other.leave_one_out, rtol=1e-9)


@pytest.mark.parametrize("centre", [False, True])
def test_path_is_the_direct_solution(gram, targets, rng, centre):
    path = kernel_regression_path(gram, targets, CANDIDATES, centre=centre)
    mean = targets.mean(0) if centre else np.zeros(K)
    cross = rng.normal(size=(4, N))
    assert path.ridges == CANDIDATES
    for i, ridge in enumerate(CANDIDATES):
        alpha = fit_kernel_regression(gram, targets - mean, ridge)
        np.testing.assert_allclose(path.coefficients[i], alpha, rtol=1e-9, atol=1e-12)
        terms = sum(cross[:, j, None] * alpha[j] for j in range(N))
        np.testing.assert_allclose(path.predict(cross)[i], mean + terms, rtol=1e-9)


@pytest.mark.parametrize("centre", [False, True])
def test_leave_one_out_is_that_of_refits(gram, targets, centre):
    path = kernel_regression_path(gram, targets, CANDIDATES, centre=centre)
    for i, ridge in enumerate(CANDIDATES):
        expected = refits(gram, targets, ridge * np.diag(gram).mean(), centre)
        np.testing.assert_allclose(path.leave_one_out[i], expected, rtol=1e-8, atol=1e-10)


def test_large_matrices_are_read_in_blocks(monkeypatch, gram, targets):
    whole = kernel_regression_path(gram, targets, CANDIDATES)
    monkeypatch.setattr("dualview.path_kernel.ridge.ROWS_AT_ONCE", 5)
    monkeypatch.setattr("dualview.path_kernel.ridge._blocks.__defaults__", (5,))
    parts = kernel_regression_path(gram, targets, CANDIDATES)
    np.testing.assert_allclose(parts.leave_one_out, whole.leave_one_out, rtol=1e-12)


def test_squared_errors(rng):
    predictions, targets = rng.normal(size=(2, 4, K)), rng.normal(size=(4, K))
    expected = [
        sum((p[i, j] - targets[i, j]) ** 2 for i in range(4) for j in range(K)) / (4 * K)
        for p in predictions
    ]
    np.testing.assert_allclose(squared_errors(predictions, targets), expected)


def test_least_leave_one_out_error_is_taken():
    x = np.linspace(-1, 1, 40)
    gram = np.exp(-4 * np.square(x[:, None] - x))
    smooth, rough = np.sin(3 * x)[:, None], np.cos(np.pi * np.arange(40))[:, None]
    for targets in (smooth, rough):
        fit = fit_gram(gram, targets, RIDGES)
        assert fit.errors[fit.ridge] == min(fit.errors.values())
        mean_error = {
            ridge: float(np.square(refits(gram, targets, ridge, True) - targets).mean())
            for ridge in RIDGES[4:]  # below, inverses are rough
        }
        for ridge, error in mean_error.items():
            assert fit.errors[ridge] == pytest.approx(error, rel=1e-4)
    assert fit_gram(gram, smooth, RIDGES).ridge <= 1e-4
    assert fit_gram(gram, rough, RIDGES).ridge >= 1


def test_one_ridge_needs_no_choice(gram, targets):
    fit = fit_gram(gram, targets, [0.5])
    path = kernel_regression_path(gram, targets, [0.5])
    assert fit.ridge == 0.5
    assert fit.errors == {}
    np.testing.assert_allclose(fit.coefficients, path.coefficients[0])
    np.testing.assert_array_equal(fit.offset, targets.mean(0))


# Features


@pytest.mark.parametrize("size", [1, 5, N])
@pytest.mark.parametrize("n_features", [2, M, N, 3 * N])
@pytest.mark.parametrize("ridges", [(0.3,), CANDIDATES])
def test_features_and_their_gram_matrix(rng, targets, n_features, size, ridges):
    features = rng.normal(size=(N, n_features))
    fit = fit_features(batches_of(features, size), targets, n_features, ridges)
    kernel = fit_gram(features @ features.T, targets, ridges)
    assert fit.ridge == kernel.ridge
    assert fit.errors == pytest.approx(kernel.errors, rel=1e-8)
    new = rng.normal(size=(4, n_features))
    assert fit.coefficients.shape == (n_features, K)
    np.testing.assert_allclose(
        fit.offset + new @ fit.coefficients,
        kernel.offset + new @ features.T @ kernel.coefficients,
        rtol=1e-8,
        atol=1e-10,
    )


def test_leave_one_out_of_features_is_that_of_refits(features, targets):
    fit = fit_features(batches_of(features, 5), targets, M, CANDIDATES)
    scale = np.square(features).sum(1).mean()
    for ridge in CANDIDATES:
        errors = []
        for i in range(N):
            rest = np.delete(np.arange(N), i)
            x, mean = features[rest], targets[rest].mean(0)
            weights = np.linalg.inv(x.T @ x + ridge * scale * np.eye(M)) @ x.T
            prediction = mean + features[i] @ weights @ (targets[rest] - mean)
            errors.append(np.square(prediction - targets[i]).mean())
        assert fit.errors[ridge] == pytest.approx(np.mean(errors), rel=1e-9)


def test_a_ridge_that_fits_an_example_to_rounding_has_no_known_error(features, targets):
    features[:, 0] = 0
    features[3, 0] = 1  # alone in its direction
    fit = fit_features(batches_of(features, N), targets, M, (1e-14, 0.1))
    assert fit.errors[1e-14] == math.inf
    assert fit.ridge == 0.1
    with pytest.raises(PathKernelError, match="larger ridge"):
        fit_features(batches_of(features, N), targets, M, (1e-14, 2e-14))


# Rounding, and refusals


def test_ridges_below_rounding_are_left_out(rng, targets):
    factor = rng.normal(size=(N, 3)).astype(np.float32)
    gram = factor @ factor.T  # rank 3: the other eigenvalues are float32's rounding errors
    path = kernel_regression_path(gram, targets, (1e-12, 1.0))
    assert path.ridges == (1.0,)
    assert np.isfinite(path.leave_one_out).all()
    with pytest.raises(PathKernelError, match=r"ridges up to 1e-12.*larger ridge"):
        kernel_regression_path(gram, targets, (1e-13, 1e-12))


@pytest.mark.parametrize("rank", [1, 3])
def test_singular_matrices_are_refused(rng, targets, rank):
    factor = rng.normal(size=(N, rank))
    with pytest.raises(PathKernelError, match=r"ridge=0.*Repair: a larger ridge"):
        fit_kernel_regression(factor @ factor.T, targets, 0)
    barely = np.diag([1.0] * (N - 1) + [1e-17])  # which Cholesky's factorisation would take
    with pytest.raises(PathKernelError, match=r"ridge=0.*Repair: a larger ridge"):
        fit_kernel_regression(barely, targets, 0)


def spoilt(gram, how):
    gram = gram.copy()
    if how == "NaN":
        gram[7, 2] = np.nan
    elif how == "skew":
        gram[7, 2] += 1
    elif how == "flat":
        return gram[0]
    elif how == "oblong":
        return gram[:, :-1]
    elif how == "empty":
        return gram[:0, :0]
    elif how == "zero":
        return 0 * gram
    return gram


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("NaN", "NaN or inf in row 7"),
        ("skew", r"symmetric.*differ by 1"),
        ("flat", r"\(n, n\), got shape \(12,\)"),
        ("oblong", r"\(n, n\), got shape \(12, 11\)"),
        ("empty", r"\(n, n\), got shape \(0, 0\)"),
        ("zero", "for no example is a path active"),
    ],
)
@pytest.mark.parametrize("function", [fit_kernel_regression, kernel_regression_path])
def test_matrices_that_are_no_gram_matrix(gram, targets, how, message, function):
    ridge = 1.0 if function is fit_kernel_regression else [1.0]
    with pytest.raises(PathKernelError, match=message):
        function(spoilt(gram, how), targets[:0] if how == "empty" else targets, ridge)


def test_targets_that_do_not_fit(gram, targets):
    for wrong in (targets[:-1], targets[None], np.float64(1)):
        with pytest.raises(PathKernelError, match=r"targets.*n = 12.*got shape"):
            fit_kernel_regression(gram, wrong, 1.0)
    with pytest.raises(PathKernelError, match=r"expected \(n, k\) for"):
        kernel_regression_path(gram, targets[:, 0])
    with pytest.raises(PathKernelError, match="targets: expected finite"):
        fit_kernel_regression(gram, np.where(targets > 0, np.inf, 0), 1.0)
    with pytest.raises(PathKernelError, match="at least 2 examples"):
        kernel_regression_path(gram[:1, :1], targets[:1])


@pytest.mark.parametrize("ridge", [-1e-9, math.nan, math.inf, "1", None, True])
def test_ridges_that_are_none(ridge):
    with pytest.raises(PathKernelError, match="finite number from 0 on"):
        checked_ridges([1.0, ridge])
    with pytest.raises(PathKernelError, match="at least one candidate"):
        checked_ridges([])


def test_features_that_are_all_zero(targets):
    with pytest.raises(PathKernelError, match="for no example is a path active"):
        fit_features(batches_of(np.zeros((N, M)), 4), targets, M, (1.0,))
