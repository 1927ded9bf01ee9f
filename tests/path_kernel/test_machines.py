"""What is proved of `path_kernel/machines.py`.

- Scores of `NPKClassifier` are intercept + sum_j alpha_j K(x, x_j), with the kernel written out by
  hand, and those of scikit-learn's `KernelRidge` on the same Gram matrix.
- `ridge="auto"` takes the candidate with the least leave-one-out error of really refitted machines.
- `NPKFeatureClassifier` is linear in `npk_features`, tends to `NPKClassifier` as features grow, and
  does not depend on batches or on memory.
- Data may be flat, shaped, or tensors; networks are copied and never changed.
- Both are scikit-learn estimators: its own checks, clone, pipelines, cross-validation, pickling.
- What cannot be served is refused with the reason, and a missing library names the extra.
"""

import importlib
import pickle
import sys
from unittest import SkipTest

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator
from torch import nn

import dualview as dv
from dualview.architectures import fc
from dualview.errors import MissingExtraError, PathKernelError
from dualview.path_kernel.features import npk_features
from dualview.path_kernel.machines import NPKClassifier, NPKFeatureClassifier
from dualview.path_kernel.ridge import RIDGES
from tests.cases import small_architecture, small_input

MACHINES = {
    "exact": NPKClassifier,
    "features": lambda *args, **options: NPKFeatureClassifier(*args, n_features=64, **options),
}
each_machine = pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES.keys())


def network(kind="dlgn", **options):
    """Dense, 6 inputs, 3 classes, float64; the same gates in every call."""
    torch.manual_seed(1)
    model = fc(3, (1, 1, 6), width=10, depth=3).double()
    return dv.disentangle(model, kind, seed=0, **options)


def problem(n=40, classes=3, seed=0):
    return make_classification(
        n, 6, n_informative=4, n_classes=classes, class_sep=2.0, random_state=seed
    )


def kernel_by_hand(net, x1, x2):
    """<x, x'> / n * prod_l <G_l, G_l'> / width_l."""
    x1, x2 = torch.as_tensor(x1), torch.as_tensor(x2)
    with torch.no_grad():
        kernel = x1 @ x2.T / x1.shape[1]
        for g1, g2 in zip(net.gates(x1), net.gates(x2), strict=True):
            kernel = kernel * (g1 @ g2.T / g1.shape[1])
    return kernel.numpy()


# The exact machine


@pytest.mark.parametrize("ridge", [0.01, "auto"])
def test_scores_are_a_sum_over_training_examples(ridge):
    net, (x, y), (new, _) = network(), problem(), problem(7, seed=1)
    machine = NPKClassifier(net, ridge=ridge).fit(x, y)
    np.testing.assert_array_equal(machine.X_fit_, x)
    kernel = kernel_by_hand(net, new, x)
    scores = np.tile(machine.intercept_, (7, 1))
    for j in range(len(x)):
        scores += kernel[:, j, None] * machine.dual_coef_[j]
    np.testing.assert_allclose(machine.decision_function(new), scores, rtol=1e-9)
    np.testing.assert_array_equal(machine.predict(new), machine.classes_[scores.argmax(1)])


@pytest.mark.parametrize("ridge", [1e-3, 1.0])
def test_same_as_kernel_ridge_of_scikit_learn(ridge):
    net, (x, y), (new, _) = network("dgn"), problem(), problem(9, seed=1)
    gram, targets = kernel_by_hand(net, x, x), np.eye(3)[y]
    reference = KernelRidge(alpha=ridge * gram.diagonal().mean(), kernel="precomputed")
    reference.fit(gram, targets - targets.mean(0))
    expected = targets.mean(0) + reference.predict(kernel_by_hand(net, new, x))
    machine = NPKClassifier(net, ridge=ridge).fit(x, y)
    np.testing.assert_allclose(machine.decision_function(new), expected, rtol=1e-8)
    np.testing.assert_allclose(machine.dual_coef_, reference.dual_coef_, rtol=1e-8)
    assert machine.ridge_ == ridge
    assert machine.leave_one_out_errors_ == {}


def test_auto_takes_the_least_error_of_real_refits():
    net, (x, y) = network(), problem(20)
    machine = NPKClassifier(net).fit(x, y)
    gram, targets = kernel_by_hand(net, x, x), np.eye(3)[y]
    errors = {}
    for ridge in RIDGES:
        missed = []
        for i in range(len(x)):
            rest = np.delete(np.arange(len(x)), i)
            mean = targets[rest].mean(0)
            reference = KernelRidge(alpha=ridge * gram.diagonal().mean(), kernel="precomputed")
            reference.fit(gram[np.ix_(rest, rest)], targets[rest] - mean)
            prediction = mean + reference.predict(gram[i, rest][None])[0]
            missed.append(np.square(prediction - targets[i]).mean())
        errors[ridge] = float(np.mean(missed))
    assert machine.leave_one_out_errors_ == pytest.approx(errors, rel=1e-6)
    assert machine.ridge_ == min(errors, key=errors.get)
    several = NPKClassifier(net, ridge=[1.0, machine.ridge_]).fit(x, y)
    assert list(several.leave_one_out_errors_) == [1.0, machine.ridge_]
    assert several.ridge_ == machine.ridge_


def test_options_reach_the_kernel():
    net, (x, y), (new, _) = network(), problem(), problem(7, seed=1)
    machine = NPKClassifier(net, ridge=0.01).fit(x, y)
    expected = machine.decision_function(new)
    plain = clone(machine).set_params(normalise=False, memory=1e5).fit(x, y)
    assert np.abs(plain.dual_coef_).max() < 1e-2 * np.abs(machine.dual_coef_).max()
    np.testing.assert_allclose(plain.decision_function(new), expected, rtol=1e-8)
    hard = clone(machine).set_params(gates="hard").fit(x, y).decision_function(new)
    assert np.abs(hard - expected).max() > 1e-3
    twin = NPKClassifier(network(gate="hard"), ridge=0.01).fit(x, y)
    np.testing.assert_allclose(hard, twin.decision_function(new), rtol=1e-8)


# The machine on features


@pytest.mark.parametrize("n", [20, 90])
@pytest.mark.parametrize("ridge", [0.01, "auto"])
def test_scores_are_linear_in_the_features(n, ridge):
    net, (x, y), (new, _) = network(), problem(n), problem(7, seed=1)
    machine = NPKFeatureClassifier(net, n_features=50, per_draw=8, ridge=ridge, random_state=3)
    machine.fit(x, y)
    assert machine.seed_ == 3
    features = npk_features(net, torch.as_tensor(new), 50, seed=3, per_draw=8).numpy()
    expected = machine.intercept_ + features @ machine.coef_
    np.testing.assert_allclose(machine.decision_function(new), expected, rtol=1e-9)


def test_tends_to_the_exact_machine():
    net, (x, y), (new, _) = network(), problem(), problem(30, seed=1)
    expected = NPKClassifier(net, ridge=0.1).fit(x, y).decision_function(new)
    errors = []
    for n_features in (100, 2_500, 62_500):  # 5 and 25 times the precision
        machine = NPKFeatureClassifier(net, n_features=n_features, per_draw=10, ridge=0.1)
        scores = machine.fit(x, y).decision_function(new)
        errors.append(float(np.sqrt(np.square(scores - expected).mean())))
    assert errors[1] < 0.4 * errors[0]
    assert errors[2] < 0.4 * errors[1]
    assert errors[2] < 0.05 * expected.std()


@pytest.mark.parametrize("n_features", [16, 64])
def test_batches_and_memory_do_not_matter(n_features):
    net, (x, y), (new, _) = network(), problem(), problem(7, seed=1)
    machine = NPKFeatureClassifier(net, n_features=n_features).fit(x, y)
    streamed = clone(machine).set_params(batch_size=7, memory=0).fit(x, y)
    assert streamed.ridge_ == machine.ridge_
    assert streamed.leave_one_out_errors_ == pytest.approx(machine.leave_one_out_errors_)
    np.testing.assert_allclose(
        streamed.decision_function(new), machine.decision_function(new), rtol=1e-9, atol=1e-12
    )


def test_features_are_kept_only_where_they_fit(monkeypatch):
    calls = []

    def counted(net, batch, *args, **options):
        calls.append(len(batch))
        return npk_features(net, batch, *args, **options)

    monkeypatch.setattr("dualview.path_kernel.machines.npk_features", counted)
    x, y = problem(40)
    for memory, passes in ((40 * 16 * 8, 1), (40 * 16 * 8 - 1, 2)):
        calls.clear()
        NPKFeatureClassifier(network(), n_features=16, batch_size=15, memory=memory).fit(x, y)
        assert calls == [15, 15, 10] * passes


def test_gates_of_the_features():
    net, (x, y), (new, _) = network(), problem(), problem(7, seed=1)
    soft, hard = (
        NPKFeatureClassifier(net, n_features=64, ridge=0.1, gates=gates).fit(x, y)
        for gates in ("model", "hard")
    )
    twin = NPKFeatureClassifier(network(gate="hard"), n_features=64, ridge=0.1).fit(x, y)
    np.testing.assert_allclose(hard.decision_function(new), twin.decision_function(new))
    assert np.abs(hard.decision_function(new) - soft.decision_function(new)).max() > 1e-3


# Data and networks


@each_machine
def test_shaped_data(machine):
    net = dv.disentangle(small_architecture("gconv"), "dlgn", seed=0)
    x, y = small_input("gconv", 12), np.arange(12) % 3
    shape, flat = tuple(x.shape[1:]), x.flatten(1).numpy()
    expected = machine(net, ridge=0.1).fit(x.numpy(), y)
    assert expected.input_shape_ == shape
    assert expected.n_features_in_ == flat.shape[1]
    scores = expected.decision_function(x.numpy())
    for fitted in (
        machine(net, ridge=0.1).fit(x, torch.as_tensor(y)),
        machine(net, ridge=0.1, input_shape=shape).fit(flat, y),
        machine(net, ridge=0.1, input_shape=shape).fit(x, y),
    ):
        for data in (x, x.numpy(), flat):
            np.testing.assert_array_equal(fitted.decision_function(data), scores)


@each_machine
@pytest.mark.parametrize("names", [("no", "yes"), ("a", "b", "c"), (7, -2)])
def test_classes(machine, names):
    x, y = problem(60, classes=len(names))
    names = np.array(names)
    fitted = machine(network()).fit(x, names[y])
    np.testing.assert_array_equal(fitted.classes_, np.unique(names))
    assert fitted.score(x, names[y]) > 0.9
    scores = fitted.decision_function(x)
    if len(names) == 2:
        assert scores.shape == (60,)
        np.testing.assert_array_equal(fitted.predict(x), fitted.classes_[(scores > 0).astype(int)])
    else:
        np.testing.assert_array_equal(fitted.predict(x), fitted.classes_[scores.argmax(1)])


@each_machine
def test_the_network_is_copied_and_not_changed(machine):
    net, (x, y) = network().train(), problem()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    fitted = machine(net).fit(x, y)
    assert fitted.net is net
    assert net.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    expected = fitted.decision_function(x)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_()
    np.testing.assert_array_equal(fitted.decision_function(x), expected)


@each_machine
def test_weights_of_the_weights_network_are_not_used(machine):
    net, (x, y) = network(), problem()
    expected = machine(net, ridge=0.1).fit(x, y).decision_function(x)
    with torch.no_grad():
        for parameter in net.weights_network.parameters():
            parameter.normal_()
    np.testing.assert_array_equal(machine(net, ridge=0.1).fit(x, y).decision_function(x), expected)


@each_machine
def test_type_of_the_network_is_that_of_the_kernel(machine):
    net, (x, y) = network(), problem()
    exact = machine(net, ridge=0.1).fit(x, y).decision_function(x)
    single = machine(net.float(), ridge=0.1).fit(x, y).decision_function(x)
    assert single.dtype == np.float64
    np.testing.assert_allclose(single, exact, atol=1e-4)
    assert np.abs(single - exact).max() > 1e-9


@each_machine
def test_seeds(machine):
    x, y = problem()

    def scores(random_state):
        return machine(ridge=0.1, random_state=random_state).fit(x, y).decision_function(x)

    np.testing.assert_array_equal(scores(1), scores(1))
    assert np.abs(scores(1) - scores(2)).max() > 1e-6
    one, other = (scores(np.random.RandomState(5)) for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_the_default_network_leaves_the_random_state_alone():
    state = torch.get_rng_state()
    NPKClassifier(random_state=3).fit(*problem())
    assert torch.equal(torch.get_rng_state(), state)


# As scikit-learn's estimators


@each_machine
def test_checks_of_scikit_learn(machine):
    done, skipped = [], []
    for estimator, check in estimator_checks_generator(machine()):
        try:
            check(estimator)
            done.append(check.func.__name__)
        except SkipTest as reason:
            skipped.append(str(reason))
    assert len(done) > 50
    # Of array libraries other than numpy, which are not taken.
    assert all("ARRAY_API" in reason for reason in skipped)


@each_machine
def test_pipeline_and_cross_validation(machine):
    x, y = problem(60)
    pipeline = make_pipeline(StandardScaler(), machine(network()))
    scores = cross_val_score(pipeline, x, y, cv=3)
    assert scores.mean() > 0.8
    search = GridSearchCV(machine(network()), {"ridge": [1e-2, 1e3], "gates": ["model"]}, cv=3)
    search.fit(x, y)
    assert search.best_params_["ridge"] == 1e-2


@each_machine
def test_clone_and_parameters(machine):
    net = network()
    original = machine(net, ridge=0.3, input_shape=(6,))
    copy = clone(original)
    assert copy.get_params().keys() == original.get_params().keys()
    assert copy.net is not net
    x, y = problem()
    np.testing.assert_array_equal(
        original.fit(x, y).decision_function(x), copy.fit(x, y).decision_function(x)
    )
    assert original.set_params(ridge=2.0).ridge == 2.0


@each_machine
def test_pickle(machine):
    x, y = problem()
    fitted = machine(network()).fit(x, y)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.decision_function(x), fitted.decision_function(x))


# Refusals


@each_machine
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"net": nn.Linear(6, 3)}, "GatedNetwork, or None, got Linear.*disentangle"),
        ({"gates": "soft"}, "'model' or 'hard', got 'soft'"),
        ({"ridge": "best"}, "'auto', got 'best'"),
        ({"ridge": -1.0}, "from 0 on, got -1"),
        ({"ridge": []}, "at least one candidate"),
        ({"ridge": [1.0, None]}, "from 0 on, got None"),
        ({"input_shape": (2, 2)}, r"input_shape.*6, got \(2, 2\)"),
    ],
)
def test_options_that_cannot_be_used(machine, options, message):
    with pytest.raises(PathKernelError, match=message):
        machine(**{"net": network(), **options}).fit(*problem())


@pytest.mark.parametrize("name", ["n_features", "per_draw", "batch_size"])
@pytest.mark.parametrize("value", [0, 1.5, True, "8"])
def test_counts_that_are_none(name, value):
    with pytest.raises(PathKernelError, match=f"{name}: expected a whole number"):
        NPKFeatureClassifier(network()).set_params(**{name: value}).fit(*problem())


@each_machine
def test_data_that_the_network_does_not_take(machine):
    x, y = problem()
    for model in (
        nn.Sequential(nn.Linear(5, 3), nn.ReLU(), nn.Linear(3, 2)),
        nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2)),
        nn.Sequential(nn.Conv1d(1, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2)),
        nn.Sequential(nn.Conv1d(1, 1, 1), nn.ReLU(), nn.Flatten(), nn.Linear(6, 2)),
        nn.Sequential(nn.Conv1d(2, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2)),
    ):
        model(torch.zeros(1, 1, 2, 3)) if isinstance(model[0], nn.Conv2d) else None
        net = dv.disentangle(model.double(), "dnn")
        with pytest.raises(PathKernelError, match=r"shape \(6,\).*Repair: input_shape"):
            machine(net).fit(x, y)


@each_machine
def test_data_of_another_shape_than_in_fit(machine):
    net = dv.disentangle(small_architecture("gconv"), "dlgn", seed=0)
    x, y = small_input("gconv", 6), np.arange(6) % 2
    fitted = machine(net, ridge=0.1).fit(x, y)
    with pytest.raises(PathKernelError, match=r"\(2, 6, 5\), as in fit, got \(2, 5, 6\)"):
        fitted.predict(x.mT)
    with pytest.raises(ValueError, match="59 features"):
        fitted.predict(x.flatten(1)[:, 1:])
    with pytest.raises(PathKernelError, match="input_shape"):
        machine(net, input_shape=(60,)).fit(x, y)


@each_machine
def test_labels_that_cannot_be_learnt(machine):
    x, y = problem()
    with pytest.raises(ValueError, match="at least 2 classes, got 1 class"):
        machine(network()).fit(x, 0 * y)
    with pytest.raises(ValueError, match="NaN"):
        machine(network()).fit(np.where(x > 1, np.nan, x), y)
    with pytest.raises(ValueError, match="continuous"):
        machine(network()).fit(x, y + 0.5)


@each_machine
def test_a_kernel_without_active_paths(machine):
    x, y = problem()
    with pytest.raises(PathKernelError, match=r"no example is a path active .* underflow"):
        machine(network()).fit(0 * x, y)


@pytest.mark.parametrize("module", ["machines", "ridge"])
def test_missing_libraries_name_the_extra(monkeypatch, module):
    library = {"machines": "sklearn.base", "ridge": "scipy"}[module]
    monkeypatch.delitem(sys.modules, f"dualview.path_kernel.{module}")
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'dualview\[kernel\]'"):
        importlib.import_module(f"dualview.path_kernel.{module}")
