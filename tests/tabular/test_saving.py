"""What is proved of `tabular/saving.py`.

- An estimator that was saved predicts the same to the bit, and can be trained on as the original.
- Classes and names of columns come back as they were; classes that no file can hold are refused.
- A file that is missing, damaged, of another class, or of another network than it says is refused.
"""

import json
import pickle

import numpy as np
import pandas
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import dualview as dv
from dualview.errors import SavedNetworkError, TableError
from dualview.tabular.saving import KEY
from tests.tabular.tables import classes_table, classifier, numbers_table, regressor

NAMED = {
    "text": np.array(["ab", "c", "d"]),
    "objects": np.array(["ab", "c", "d"], dtype=object),
    "numbers": np.array([-1, 5, 7], dtype=np.int16),
    "floats": np.array([0.0, 1.0, 2.0]),
}


@pytest.mark.parametrize("names", NAMED.values(), ids=NAMED.keys())
@pytest.mark.parametrize("kind", ["dlgn", "dlgn-sf"])
def test_a_classifier(tmp_path, names, kind):
    x, y = classes_table()
    table = pandas.DataFrame(x, columns=list("abcd"))
    fitted = classifier(kind=kind, max_iter=3).fit(table, names[y])
    fitted.save(tmp_path / "a.safetensors")
    again = dv.DLGNClassifier.load(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(again.predict_proba(table), fitted.predict_proba(table))
    assert again.classes_.dtype == fitted.classes_.dtype
    assert list(again.feature_names_in_) == list("abcd")
    assert again.get_params() == fitted.get_params()
    assert again.loss_curve_ == fitted.loss_curve_


@pytest.mark.parametrize("outputs", [1, 2])
def test_a_regressor_goes_on(tmp_path, outputs):
    x, y = numbers_table()
    y = y if outputs == 1 else np.stack([y, -y], axis=1)
    fitted = regressor(warm_start=True, max_iter=3).fit(x, y)
    fitted.save(tmp_path / "a.safetensors")
    again = dv.DLGNRegressor.load(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(again.predict(x), fitted.predict(x))
    np.testing.assert_array_equal(again.fit(x, y).predict(x), fitted.fit(x, y).predict(x))


def test_what_it_was_trained_with_is_saved(tmp_path):
    x, y = classes_table()
    fitted = classifier(max_iter=3).fit(x, y).set_params(gates="soft", width=30)
    fitted.save(tmp_path / "a")
    again = dv.DLGNClassifier.load(tmp_path / "a")
    assert (again.gates, again.width) == ("hard", 6)
    np.testing.assert_array_equal(again.predict_proba(x), fitted.predict_proba(x))


def test_classes_that_no_file_holds(tmp_path):
    x, y = classes_table()
    fitted = classifier(max_iter=1).fit(x, y)
    fitted.classes_ = np.array([None, b"1", 2], dtype=object)
    with pytest.raises(TableError, match=r"classes_: expected numbers, texts or booleans"):
        fitted.save(tmp_path / "a")
    with pytest.raises(TableError, match="not fitted"):
        classifier().save(tmp_path / "a")


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "a.safetensors"
    classifier(max_iter=1).fit(*classes_table()).save(path)
    return path


def changed(path, tensors=lambda tensors: None, state=lambda state: None):
    """The file with other tensors, or another state."""
    with safe_open(path, framework="np") as file:
        text = json.loads(file.metadata()[KEY])
    numbers = load_file(path)
    tensors(numbers)
    state(text)
    save_file(numbers, path, {KEY: json.dumps(text)})


DAMAGE = {
    "options: expected": lambda state: state["options"].pop("kind"),
    "width: expected a whole number": lambda state: state["options"].update(width=-1),
    "expected .9, 4., as the file says": lambda state: state["options"].update(width=9),
    "depth: expected": lambda state: state["options"].update(depth=10**30),
    "expected .6, 6., as the file says of itself, got .3, 6.": lambda state: state[
        "options"
    ].update(depth=10**6),
    "columns: expected": lambda state: state.update(columns="4"),
    "4.weight: expected .2, 6., as": lambda state: state.update(
        classes=["<i8", [0, 1]], target_means=[0, 0], target_deviations=[1, 1]
    ),
    "classes: expected": lambda state: state.update(classes=["<i8", [0, 1, 1]]),
    "got .i8 and": lambda state: state.update(classes=["<i8", [0, "1", 2]]),
    "deviations above 0": lambda state: state.update(target_deviations=[1, 0, 1]),
    "names: expected a name for each": lambda state: state.update(names=["a"]),
    "of DLGNClassifier, got .*DLGNRegressor": lambda state: state.update(estimator="DLGNRegressor"),
    "'dualview table 1' of": lambda state: state.update(format="dualview table 9"),
    "no field": lambda state: state.update(code="import os"),
}


@pytest.mark.parametrize("message", DAMAGE)
def test_other_states_are_refused(saved, message):
    changed(saved, state=DAMAGE[message])
    with pytest.raises(SavedNetworkError, match=message):
        dv.DLGNClassifier.load(saved)


TENSORS = {
    "not in the network": lambda tensors: tensors.update(more=np.ones(1)),
    "missing": lambda tensors: tensors.pop("gating_network.0.bias"),
    "finite": lambda tensors: tensors["gating_network.0.bias"].fill(np.nan),
    "positive numbers": lambda tensors: tensors["input_transform.std"].fill(0),
}


@pytest.mark.parametrize("message", TENSORS)
def test_other_tensors_are_refused(saved, message):
    changed(saved, tensors=TENSORS[message])
    with pytest.raises(SavedNetworkError, match=message):
        dv.DLGNClassifier.load(saved)


def test_other_files_are_refused(saved, tmp_path):
    for content in (b"", b"no", pickle.dumps(3), saved.read_bytes()[:-9]):
        (tmp_path / "b").write_bytes(content)
        with pytest.raises(SavedNetworkError, match="expected a safetensors file"):
            dv.DLGNClassifier.load(tmp_path / "b")
    save_file({"x": np.ones(2)}, tmp_path / "b")
    with pytest.raises(SavedNetworkError, match=r"tensors that do not say what they are"):
        dv.DLGNClassifier.load(tmp_path / "b")
    with pytest.raises(SavedNetworkError, match="no-such"):
        dv.DLGNClassifier.load(tmp_path / "no-such")
