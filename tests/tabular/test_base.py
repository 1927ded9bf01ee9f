"""What is proved of `tabular/base.py`.

- Weights: a row of weight 2 is two rows, one of weight 0 is none; others are refused.
- Rows are held back when and where it is asked, and the epoch that is best on them is kept.
- `warm_start` goes on from what was learnt, and refuses another network, or other columns.
- One seed, one result, whatever PyTorch's own state; that stays as it is.
- float32 data is trained in float32; what is fitted is float64 and predicts alike.
- A constant column changes nothing; names of columns are kept; verbose fits tell of epochs.
- Options and data that cannot be used are refused by name.
"""

import pickle

import numpy as np
import pandas
import pytest
import torch

import dualview as dv
from dualview.errors import TableError
from tests.tabular.tables import classes_table, classifier, numbers_table, regressor


def test_weights_count_rows():
    x, y = classes_table(40)
    weights = np.arange(40) % 3
    weighted = classifier().fit(x, y, sample_weight=weights)
    repeated = classifier().fit(np.repeat(x, weights, axis=0), np.repeat(y, weights))
    np.testing.assert_allclose(weighted.predict_proba(x), repeated.predict_proba(x), rtol=1e-8)
    all_ones = classifier().fit(x, y, sample_weight=np.ones(40))
    np.testing.assert_array_equal(
        all_ones.predict_proba(x), classifier().fit(x, y).predict_proba(x)
    )


@pytest.mark.parametrize("weights", [[1.0], [-1.0] * 80, [np.nan] * 80, "heavy", [[1.0]] * 80])
def test_weights_that_are_none(weights):
    with pytest.raises(TableError, match="sample_weight: expected"):
        classifier().fit(*classes_table(), sample_weight=weights)


def test_the_best_epoch_is_kept():
    x, y = classes_table(200)
    fitted = classifier(early_stopping=True, validation_fraction=0.3, n_iter_no_change=4)
    fitted.set_params(max_iter=100, learning_rate=0.05).fit(x, y)
    assert len(fitted.validation_scores_) == len(fitted.loss_curve_) == fitted.n_iter_ < 100
    best = max(fitted.validation_scores_)
    assert fitted.validation_scores_.index(best) < fitted.n_iter_ - 1
    from sklearn.model_selection import train_test_split

    _, held = train_test_split(np.arange(200), stratify=y, test_size=0.3, random_state=0)
    assert fitted.score(x[held], y[held]) == pytest.approx(best)


def test_rows_are_held_back_from_two_hundred_on():
    x, y = classes_table(200)
    assert not classifier(max_iter=1).fit(x[1:], y[1:]).validation_scores_
    assert len(classifier(max_iter=2).fit(x, y).validation_scores_) == 2
    rare = np.where(np.arange(200) == 0, 9, y)  # one row of its class
    assert classifier(max_iter=1).fit(x, rare).validation_scores_


def test_going_on():
    x, y = classes_table()
    whole = classifier(warm_start=True, max_iter=5).fit(x, y)
    before = whole.loss_curve_[-1]
    whole.fit(x, y)
    assert whole.n_iter_ == 10
    assert whole.loss_curve_[-1] < before
    with pytest.raises(TableError, match=r"width: expected 6, .* got 9"):
        whole.set_params(width=9).fit(x, y)
    with pytest.raises(TableError, match="features"):
        whole.set_params(width=6).fit(x[:, 1:], y)


def test_targets_keep_their_units_when_going_on():
    x, y = numbers_table()
    begun = regressor(max_iter=10).fit(x, y)
    before = begun.predict(x)
    begun.set_params(warm_start=True, max_iter=1, learning_rate=1e-12).fit(x, y)
    np.testing.assert_allclose(begun.predict(x), before, rtol=1e-9)


def test_one_seed_one_result():
    x, y = classes_table()
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    first = classifier(random_state=7, batch_size=16).fit(x, y)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(2)
    second = classifier(random_state=7, batch_size=16).fit(x, y)
    np.testing.assert_array_equal(first.predict_proba(x), second.predict_proba(x))
    other = classifier(random_state=8, batch_size=16).fit(x, y)
    assert (other.predict_proba(x) != first.predict_proba(x)).any()
    drawn = classifier(random_state=np.random.RandomState(0)).fit(x, y)
    assert drawn.seed_ == np.random.RandomState(0).randint(2**31 - 1)


def test_single_precision():
    x, y = numbers_table()
    single = regressor().fit(x.astype(np.float32), y)
    assert single.net_(torch.from_numpy(x)).dtype == torch.float64
    assert abs(single.score(x, y) - regressor().fit(x, y).score(x, y)) < 0.05


def test_columns_without_information():
    x, y = classes_table()
    wide = np.concatenate([x, np.full((len(x), 1), 0.1)], axis=1)
    fitted = classifier().fit(wide, y)
    assert fitted.net_.input_transform.std[-1] == 1
    assert np.isfinite(fitted.decision_function(wide)).all()


def test_names_of_columns():
    x, y = classes_table()
    table = pandas.DataFrame(x, columns=["age", "height", "weight", "income"])
    fitted = classifier().fit(table, y)
    assert list(fitted.feature_names_in_) == list(table.columns)
    np.testing.assert_array_equal(fitted.predict(table), classifier().fit(x, y).predict(x))
    with pytest.raises(TableError, match="feature names should match"):
        fitted.predict(table[["height", "age", "weight", "income"]])


def test_pickle():
    x, y = classes_table()
    fitted = classifier().fit(x, y)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(x), fitted.predict_proba(x))
    np.testing.assert_array_equal(
        again.set_params(warm_start=True).fit(x, y).predict_proba(x),
        fitted.set_params(warm_start=True).fit(x, y).predict_proba(x),
    )


def test_verbose(capsys):
    classifier(verbose=True, early_stopping=True).fit(*classes_table())
    told = capsys.readouterr().err.splitlines()
    assert len(told) >= 5
    assert "DLGNClassifier: epoch 15 of 15, loss 0." in told[-1]
    assert "on rows held back" in told[-1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "dnn"}, "kind: expected 'dlgn' or 'dlgn-sf', got 'dnn'"),
        ({"gates": "hardened"}, "gates: expected 'hard'"),
        ({"width": 0}, "width: expected a whole number from 1 on, got 0"),
        ({"depth": 1}, "depth: expected a whole number from 2 on, got 1"),
        (
            {"batch_size": "all"},
            "batch_size: expected 'auto', or a whole number from 1",
        ),
        ({"early_stopping": "yes"}, "early_stopping: expected 'auto', or True or False, got 'yes'"),
        ({"random_state": "now"}, "random_state: expected a whole number"),
    ],
)
def test_options_that_cannot_be_used(options, message):
    with pytest.raises(TableError, match=message):
        classifier(**options).fit(*classes_table())


def test_data_that_cannot_be_used():
    x, y = classes_table()
    with pytest.raises(TableError, match="NaN"):
        classifier().fit(np.where(x > 5, np.nan, x), y)
    with pytest.raises(TableError, match=r"X: expected numbers whose variance.*column 1"):
        classifier().fit(x * [1, 1e200, 1, 1], y)
    with pytest.raises(TableError, match=r"not fitted yet.*Repair: fit"):
        dv.DLGNClassifier().predict(x)
    with pytest.raises(TableError, match="features"):
        classifier().fit(x, y).predict(x[:, 1:])
