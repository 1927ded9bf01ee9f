"""What a DLGN is compared with on tables, each behind the same preparation of columns.

scikit-learn's own estimators with its own settings, but for those whose training would otherwise
end before it is done (`max_iter`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np

from dualview.errors import needs
from dualview.tabular.comparing.settings import OTHERS, TableSettings
from dualview.tabular.estimators import DLGNClassifier, DLGNRegressor

with needs("train", "comparing on a table"):
    from sklearn.base import BaseEstimator
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import (
        HistGradientBoostingClassifier,
        HistGradientBoostingRegressor,
        RandomForestClassifier,
        RandomForestRegressor,
    )
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import Pipeline, make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

MOST_CATEGORIES = 20
"""Columns that a column of text becomes; its rarest values share one."""

DLGN = "DLGN"

Maker = Callable[[bool, TableSettings], BaseEstimator]
"""(classification, settings) -> an estimator of prepared columns, not fitted."""


def _dlgn(classification: bool, settings: TableSettings) -> BaseEstimator:
    kind = DLGNClassifier if classification else DLGNRegressor
    return kind(
        kind=cast(Any, settings.kind),  # which the settings have checked
        width=settings.width,
        depth=settings.depth,
        early_stopping=True,  # on small tables, too, where noise is learnt by heart
        random_state=settings.seed,
    )


def _seeded(classifier: type[BaseEstimator], regressor: type[BaseEstimator]) -> Maker:
    """Of a pair of estimators that are given nothing but the seed."""
    return lambda classification, settings: (classifier if classification else regressor)(
        random_state=settings.seed
    )


def _mlp(classification: bool, settings: TableSettings) -> BaseEstimator:
    kind = MLPClassifier if classification else MLPRegressor
    return make_pipeline(StandardScaler(), kind(max_iter=500, random_state=settings.seed))


def _linear(classification: bool, settings: TableSettings) -> BaseEstimator:
    model = LogisticRegression(max_iter=1000) if classification else Ridge()
    return make_pipeline(StandardScaler(), model)


MODELS: dict[str, Maker] = {
    DLGN: _dlgn,
    OTHERS["forest"]: _seeded(RandomForestClassifier, RandomForestRegressor),
    OTHERS["boosting"]: _seeded(HistGradientBoostingClassifier, HistGradientBoostingRegressor),
    OTHERS["mlp"]: _mlp,
    OTHERS["linear"]: _linear,
}
"""Name -> what makes it; the DLGN first."""


def prepared(model: BaseEstimator, numbers: Sequence[str], categories: Sequence[str]) -> Pipeline:
    """The model behind what makes numbers of a table's columns.

    Missing numbers become the median, with a column that says so; a column of text becomes one
    column for each value, a missing one among them.

    Args:
        model: an estimator of scikit-learn's kind.
        numbers: columns of numbers.
        categories: columns of text.
    """
    columns = make_column_transformer(
        (SimpleImputer(strategy="median", add_indicator=True), list(numbers)),
        (
            OneHotEncoder(
                sparse_output=False,
                handle_unknown="infrequent_if_exist",
                max_categories=MOST_CATEGORIES,
                drop="if_binary",
                feature_name_combiner=category_name,
            ),
            list(categories),
        ),
        verbose_feature_names_out=False,
    )
    return make_pipeline(columns.set_output(transform="pandas"), model)


def category_name(column: str, value: Any) -> str:
    """What the column of one value is called.

    >>> category_name("town", "Ulm"), category_name("town", None)
    ('town = Ulm', 'town = missing')
    """
    missing = value is None or (isinstance(value, float) and np.isnan(value))
    return f"{column} = {'missing' if missing else value}"


INDICATOR = "missingindicator_"


def column_titles(pipeline: Pipeline) -> list[str]:
    """What the prepared columns are called, as people read them."""
    names = (str(name) for name in pipeline[:-1].get_feature_names_out())
    return [
        f"{name.removeprefix(INDICATOR)} = missing" if name.startswith(INDICATOR) else name
        for name in names
    ]


def column_sources(
    titles: Sequence[str], numbers: Sequence[str], categories: Sequence[str]
) -> list[str]:
    """The table's own column that each prepared one was made of.

    >>> column_sources(["age", "age = missing", "town = Ulm"], ["age"], ["town"])
    ['age', 'age', 'town']
    """
    own = set(numbers)
    # Of names that begin alike the longest is meant.
    ordered = sorted([*numbers, *categories], key=len, reverse=True)
    return [
        title if title in own else next(c for c in ordered if title.startswith(f"{c} = "))
        for title in titles
    ]
