"""Properties proved here.

1. The parts of every explained prediction and its rest sum to the score, which is that of the
   pipeline for the row that is named; the predicted class has the larger score.
2. A number adds its distance from its mean times the slope; importance names the table's columns,
   the largest first, those of text with all their values together.
3. Numbers go into JSON and back; options and data of other types are refused.
"""

import numpy as np
import pytest

import dualview as dv
from dualview.errors import TableError
from dualview.files.writing import read_json
from dualview.tabular.comparing.settings import TableSettings
from tests.tabular.comparing.small_tables import compared, shop

pytestmark = pytest.mark.filterwarnings("ignore:Found unknown categories")


@pytest.mark.parametrize("target", ["buys", "spent"])
def test_explained_predictions(target):
    found = compared(target)
    assert found.measure == {"buys": "accuracy", "spent": "R²"}[target]
    assert len(found.explained) >= 2
    for one in found.explained:
        row = int(one.place.removeprefix("row "))
        frame = found.table.frame.iloc[[row]]
        score = one.rest + sum(part for _, _, part in one.parts)
        assert one.score == pytest.approx(score, abs=1e-9)
        predicted = found.pipeline.predict(frame)[0]
        if target == "buys":
            margin = found.pipeline.decision_function(frame)[0]
            assert one.score == pytest.approx(abs(margin), abs=1e-9)
            assert (one.predicted, one.true) == (predicted, shop()["buys"][row])
        else:
            assert one.score == pytest.approx(predicted, rel=1e-9)


def test_importance():
    found = compared("spent")
    names = [name for name, _ in found.importance]
    values = [value for _, value in found.importance]
    assert set(names) == {"age", "income", "town", "member"}
    assert values == sorted(values, reverse=True)


def test_what_a_number_adds():
    """Its distance from its mean times the slope of the prediction there, by differences."""
    found = compared("spent")
    model = found.pipeline[-1]
    at = list(model.feature_names_in_).index("age")
    for one in found.explained:
        row = found.table.frame.iloc[[int(one.place.removeprefix("row "))]]
        low, high = (found.pipeline.predict(row.assign(age=row.age + h))[0] for h in (-1e-5, 1e-5))
        distance = row.age.item() - model.net_.input_transform.mean[at].item()
        (part,) = [value for name, _, value in one.parts if name == "age"]
        assert part == pytest.approx(distance * (high - low) / 2e-5, rel=1e-5)


def test_numbers(tmp_path):
    found = compared("buys")
    numbers = read_json(found.write_numbers(tmp_path / "deep" / "a.json"))
    assert numbers["scores"][0]["name"] == "DLGN"
    assert numbers["fidelity"] == found.fidelity
    assert numbers["rules"] == found.tree.rules()
    assert "DLGN" in repr(found)


def test_three_classes():
    frame = shop()
    frame["size"] = np.select([frame.spent < 450, frame.spent < 600], ["s", "m"], "l")
    settings = TableSettings(others=("linear",), folds=2, width=3, depth=2)
    found = dv.compare_table(frame[["age", "spent", "size"]], "size", settings)
    for one in found.explained:
        row = found.table.frame.iloc[[int(one.place.removeprefix("row "))]]
        assert one.of == one.predicted
        assert one.score == pytest.approx(found.pipeline.decision_function(row).max(), abs=1e-9)


def test_refused():
    with pytest.raises(TableError, match="data: expected the path of a CSV"):
        dv.compare_table(3, "a")
    with pytest.raises(TableError, match="settings: expected"):
        dv.compare_table(shop(), "buys", {"folds": 2})
