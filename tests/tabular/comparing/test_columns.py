"""Properties proved here.

1. Numbers and categories are told apart; columns that count or name the rows, or have one value,
   are left out, and it is said why; numbers that are asked for as categories are texts.
2. "auto": text and few whole numbers are classes, all else is a number.
3. Refused, by row and column where there is one: no such column, with the nearest; no target in a
   row; an infinite number; one class; a rare class; too many classes; too few rows; nothing to
   learn from; a target that is no number; columns of dates; names that would be mistaken.
4. Of a larger table rows are drawn, and keep their places.
"""

import numpy as np
import pandas
import pytest

from dualview.errors import TableError
from dualview.tabular.comparing.columns import as_labels, read_table
from dualview.tabular.comparing.settings import TableSettings
from tests.tabular.comparing.small_tables import shop

FEW = TableSettings(folds=2)
CLASSES = TableSettings(folds=2, task="classification")


def test_columns_are_told_apart():
    frame = shop().assign(name=[f"n{i}" for i in range(60)], same=3)
    found = read_table(frame, "buys", TableSettings(folds=2, categories=("age",)))
    assert found.classification
    assert found.numbers == ("income", "spent")
    assert set(found.categories) == {"age", "town", "member"}
    assert dict(found.left_out) == {
        "id": "it counts the rows",
        "name": "text with 60 values in 60 rows, which names them",
        "same": "it has one value",
    }
    assert set(found.frame["age"]) <= {str(n) for n in range(18, 91)}
    assert set(found.target) == {"yes", "no"}
    assert found.places[3] == "row 3"


def test_what_a_target_is():
    frame = shop()
    assert not read_table(frame, "spent", FEW).classification
    frame["few"] = np.arange(60) % 3
    assert read_table(frame, "few", FEW).target[:4].tolist() == ["0", "1", "2", "0"]
    as_number = read_table(frame, "few", TableSettings(task="regression"))
    assert as_number.target[:4].tolist() == [0, 1, 2, 0]
    assert read_table(frame, "member", FEW).classification


def _with(column, row, value):
    frame = shop().astype({column: object if isinstance(value, str) else float})
    frame.loc[row, column] = value
    return frame


def _gone():
    frame = shop()
    frame.loc[7, "buys"] = None
    return frame


BAD = [
    (shop, "bays", FEW, "target: expected a column .* got 'bays'; did you mean 'buys'"),
    (shop, "buys", TableSettings(leave_out=("ag",)), "leave_out: .*did you mean 'age'"),
    (shop, "buys", TableSettings(leave_out=("buys",)), "beside the target"),
    (_gone, "buys", FEW, "row 7, column 'buys': expected a target in every row, got none in 1"),
    (lambda: _with("spent", 4, np.nan), "spent", FEW, "row 4, column 'spent'"),
    (lambda: _with("age", 9, np.inf), "buys", FEW, "row 9, column 'age': expected a finite"),
    (lambda: shop().assign(buys="yes"), "buys", FEW, "at least 2 classes, got 'yes'"),
    (lambda: shop().assign(spent=1.5), "spent", FEW, "targets that differ"),
    (lambda: _with("buys", 9, "perhaps"), "buys", FEW, "rows of each class .* got 1 of 'perhaps'"),
    (
        lambda: shop(120).assign(n=range(120)),
        "n",
        CLASSES,
        "at most 100 classes",
    ),
    (lambda: shop(15), "buys", FEW, "at least 20 rows, got 15"),
    (lambda: shop()[["id", "buys"]], "buys", FEW, "to learn from, got id: it counts"),
    (shop, "buys", TableSettings(task="regression"), "row 0, column 'buys': expected a number"),
    (lambda: shop().assign(when=pandas.Timestamp("2020-01-01")), "buys", FEW, "'when'.*leave it"),
    (lambda: shop().assign(**{"town = Ulm": 1.0 + np.arange(60) % 7}), "buys", FEW, "unlike those"),
]


@pytest.mark.parametrize(("make", "target", "settings", "said"), BAD)
def test_bad_tables(make, target, settings, said):
    with pytest.raises(TableError, match=said):
        read_table(make(), target, settings)


def test_rows_are_drawn():
    frame = shop()
    found = read_table(frame, "buys", TableSettings(folds=2, most_rows=40, seed=3))
    assert (len(found.frame), found.rows_found) == (40, 60)
    rows = [int(place.removeprefix("row ")) for place in found.places]
    assert rows == sorted(set(rows))
    assert found.target.tolist() == frame.buys[rows].tolist()


def test_labels():
    assert as_labels(np.array([2.0, -0.5, np.nan])).tolist() == ["2", "-0.5", None]
