"""Properties proved here.

1. Rows held out are in no fold, every other one is asked once; scores are those of the pipelines,
   on those rows, of estimators that were fitted to the others alone.
2. The tree is the DLGN's, its fidelity is of the rows held out.
3. All of it is the same at the same seed.
"""

import numpy as np

from dualview.progress import Unseen
from dualview.tabular.comparing import folds
from dualview.tabular.comparing.columns import read_table
from dualview.tabular.comparing.folds import prepared_rows, try_all
from tests.tabular.comparing.small_tables import SETTINGS, shop


def test_all_on_the_same_rows(monkeypatch):
    table = read_table(shop().drop(columns="spent"), "buys", SETTINGS)
    learnt, asked = [], []
    own_fitted, own_scored = folds.fitted, folds.scored
    monkeypatch.setattr(folds, "fitted", lambda *a: learnt.append(a[-1]) or own_fitted(*a))
    monkeypatch.setattr(folds, "scored", lambda *a: asked.append(a[-1]) or own_scored(*a))
    found = try_all(table, SETTINGS, Unseen())
    assert [one.name for one in found.scores] == ["DLGN", "its tree", "linear"]
    assert len(learnt) == len(asked) == 6
    for own, other in zip(learnt[::2], learnt[1::2], strict=True):
        assert (own == other).all()
    for own, rows in zip(learnt, asked, strict=True):
        assert not set(own) & set(rows)
    assert sorted([*asked[0], *asked[2]]) == found.train.tolist()
    assert not set(found.train) & set(found.test)
    assert len(found.train) + len(found.test) == 60
    x, y = prepared_rows(found.pipeline, table, found.test), table.target[found.test]
    assert found.scores[0].held_out == found.pipeline[-1].score(x, y)
    assert found.scores[1].held_out == found.tree.score(x, y)
    assert found.fidelity == np.mean(found.tree.predict(x) == found.pipeline[-1].predict(x))
    again = try_all(table, SETTINGS, Unseen())
    for one, other in zip(found.scores, again.scores, strict=True):
        assert (one.folds, one.held_out) == (other.folds, other.held_out)
