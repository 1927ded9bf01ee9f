"""What is proved of `tabular/estimators.py`.

- Both are scikit-learn estimators: all of its own checks, clone, cross-validation.
- They learn what a linear model cannot: an exclusive or, a bend.
- Scores, probabilities, classes and predictions are those of `net_` on rows as they are.
- Classes keep their type; targets may have one axis or two; both are in their own units.
- `partial_fit` learns from rows as they come, and refuses classes that it was not told of.
"""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.utils.estimator_checks import parametrize_with_checks

import dualview as dv
from dualview.errors import TableError
from tests.tabular.tables import classes_table, classifier, numbers_table, regressor

CHECKED = [
    dv.DLGNClassifier(width=8, depth=3, max_iter=20),
    dv.DLGNRegressor(width=8, depth=3, max_iter=40, learning_rate=0.02),
]


@parametrize_with_checks(CHECKED)
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.parametrize("kind", ["dlgn", "dlgn-sf"])
@pytest.mark.parametrize("weights_input", ["data", "ones"])
def test_an_exclusive_or(kind, weights_input):
    x = np.random.default_rng(0).uniform(-1, 1, (200, 2))
    y = x[:, 0] * x[:, 1] > 0
    options = {"kind": kind, "weights_input": weights_input, "width": 16, "max_iter": 60}
    options["early_stopping"] = False
    assert classifier(**options).fit(x, y).score(x, y) > 0.9


def test_a_bend():
    x, y = numbers_table(200)
    assert regressor(width=16, max_iter=60).fit(x, y).score(x, y) > 0.9


@pytest.mark.parametrize("gates", ["hard", "annealed", "soft"])
def test_scores_are_those_of_the_network(gates):
    x, y = classes_table()
    fitted = classifier(gates=gates).fit(x, y)
    kinds = {type(gate) for gate in fitted.net_.gate_functions}
    assert kinds == {dv.SoftGate if gates == "soft" else dv.HardGate}
    with torch.no_grad():
        scores = fitted.net_(torch.from_numpy(x))
    assert scores.dtype == torch.float64
    np.testing.assert_array_equal(fitted.decision_function(x), scores)
    shares = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    np.testing.assert_allclose(fitted.predict_proba(x), shares, rtol=1e-12)
    np.testing.assert_allclose(fitted.predict_log_proba(x), np.log(shares), rtol=1e-9)
    np.testing.assert_array_equal(fitted.predict(x), fitted.classes_[scores.argmax(1)])


def test_two_classes_have_one_score():
    x, y = classes_table(classes=2)
    fitted = classifier().fit(x, np.array(["no", "yes"])[y])
    scores = fitted.decision_function(x)
    with torch.no_grad():
        both = fitted.net_(torch.from_numpy(x)).numpy()
    np.testing.assert_array_equal(scores, both[:, 1] - both[:, 0])
    np.testing.assert_array_equal(fitted.predict(x), np.where(scores > 0, "yes", "no"))


@pytest.mark.parametrize("outputs", [None, 1, 2])
def test_targets_in_their_own_units(outputs):
    x, y = numbers_table()
    y = y if outputs is None else np.stack([y, -3 * y][:outputs], axis=1)
    fitted = regressor().fit(x, y)
    found = fitted.predict(x)
    assert found.shape == y.shape
    assert np.abs(found.mean(0) / y.mean(0) - 1).max() < 0.1
    with torch.no_grad():
        np.testing.assert_array_equal(found.reshape(len(x), -1), fitted.net_(torch.from_numpy(x)))


def test_other_units_other_numbers_same_predictions():
    x, y = numbers_table()
    before, after = regressor().fit(x, y), regressor().fit(x * 2.0**10, y * 2.0**-5)
    np.testing.assert_array_equal(after.predict(x * 2.0**10), before.predict(x) * 2.0**-5)


def test_cross_validation_and_clone():
    x, y = classes_table(120)
    assert cross_val_score(classifier(), x, y, cv=3).mean() > 0.6
    first, second = classifier(random_state=3).fit(x, y), clone(classifier(random_state=3))
    np.testing.assert_array_equal(first.predict_proba(x), second.fit(x, y).predict_proba(x))


@pytest.mark.parametrize(
    ("make", "table"), [(classifier, classes_table), (regressor, numbers_table)]
)
def test_partial_fit(make, table):
    x, y = table(240)
    told = {"classes": [0, 1, 2]} if make is classifier else {}
    learner = make(width=16)
    for first in range(0, 160, 80):
        learner.partial_fit(x[first : first + 80], y[first : first + 80], **told)
    early = learner.score(x[160:], y[160:])
    for _ in range(40):
        learner.partial_fit(x[:160], y[:160])
    assert learner.n_iter_ == 42
    assert learner.score(x[160:], y[160:]) > max(0.6, early)


def test_partial_fit_asks_for_classes():
    x, y = classes_table()
    with pytest.raises(TableError, match=r"classes: expected all classes in the first call"):
        classifier().partial_fit(x, y)
    begun = classifier().partial_fit(x, y, classes=[0, 1, 2])
    with pytest.raises(TableError, match=r"y: expected classes among \[0, 1, 2\], got \[7\]"):
        begun.partial_fit(x, np.full(len(y), 7))
    with pytest.raises(TableError, match=r"classes: expected those of the first call"):
        begun.partial_fit(x, y, classes=[0, 1])


def test_labels_that_cannot_be_learnt():
    x, y = classes_table()
    with pytest.raises(TableError, match="at least 2 classes, got 1 class"):
        classifier().fit(x, 0 * y)
    with pytest.raises(TableError, match="continuous"):
        classifier().fit(x, y + 0.5)
    fitted = regressor(warm_start=True).fit(x, y)
    with pytest.raises(TableError, match=r"1 of them as before, got"):
        fitted.fit(x, np.stack([y, y], axis=1))
