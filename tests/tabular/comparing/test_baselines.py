"""Properties proved here.

1. Every estimator is one of its task, and is given the seed where it draws.
2. Prepared columns are the table's: missing numbers the median of the rows fitted to, with a column
   that says so; a column for each text, one for a pair; each is led back to the table's own column.
"""

import numpy as np
import pytest
from sklearn.base import is_classifier, is_regressor

from dualview.tabular.comparing.baselines import MODELS, column_sources, column_titles, prepared
from dualview.tabular.comparing.columns import read_table
from dualview.tabular.comparing.settings import TableSettings
from tests.tabular.comparing.small_tables import SETTINGS, shop


@pytest.mark.parametrize("name", MODELS)
def test_models(name):
    settings = TableSettings(seed=7)
    assert is_classifier(MODELS[name](True, settings))
    assert is_regressor(MODELS[name](False, settings))
    seeds = {
        value
        for key, value in MODELS[name](True, settings).get_params().items()
        if key.split("__")[-1] == "random_state" and name != "linear"
    }
    assert seeds == (set() if name == "linear" else {7})


def test_prepared_columns():
    table = read_table(shop(), "buys", SETTINGS)
    pipeline = prepared(MODELS["linear"](True, SETTINGS), table.numbers, table.categories)
    pipeline.fit(table.frame, table.target)
    titles = column_titles(pipeline)
    assert titles == [
        *("age", "income", "spent", "income = missing"),
        *("town = <b>Kiel</b>", "town = Bonn", "town = Ulm", "town = missing", "member = true"),
    ]
    sources = column_sources(titles, table.numbers, table.categories)
    assert sources == ["age", "income", "spent", "income", *["town"] * 4, "member"]
    x = pipeline[:-1].transform(table.frame).to_numpy()
    assert x[9, 1] == np.nanmedian(table.frame["income"])
    assert x[:, 3].tolist() == table.frame["income"].isna().tolist()
    assert (x[:, 4:8].sum(1) == 1).all()
    assert x[5, 7] == 1
