"""Small tables and quick estimators for the tests of `dualview.tabular`."""

import numpy as np

import dualview as dv

QUICK = {"width": 6, "depth": 3, "max_iter": 15, "learning_rate": 0.02, "weight_decay": 0.0}


def classes_table(n=80, columns=4, classes=3, seed=0):
    """Rows of columns with unlike units, and the classes that two hyperplanes make."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((n, columns))
    y = (z @ [1.0, -1.0, *[0.5] * (columns - 2)] > 0).astype(int) + (z[:, 0] > 0.3)
    return z * [1, 10, *[100] * (columns - 2)] + 5, np.minimum(y, classes - 1)


def numbers_table(n=80, columns=4, seed=0):
    """Targets that bend: about 1,000, give or take 50."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((n, columns))
    return z * [1, 10, *[100] * (columns - 2)] + 5, 1000 + 50 * np.abs(z[:, 0] + z[:, 1])


def classifier(**options):
    return dv.DLGNClassifier(**{**QUICK, **options})


def regressor(**options):
    return dv.DLGNRegressor(**{**QUICK, **options})
