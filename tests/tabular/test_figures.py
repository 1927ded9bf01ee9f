"""What is proved of `tabular/figures.py`.

- A tree's drawing has a box for each node and a word on each branch; lines are short.
- Leaves of one class have its colour, and no name is taken for mathematics.
- A class has its whole name.
"""

import numpy as np
import pytest

from tests.tabular.tables import classes_table, classifier, numbers_table, regressor


@pytest.mark.parametrize("leaves", ["constant", "linear"])
@pytest.mark.parametrize("make", [classifier, regressor])
def test_boxes(make, leaves, tmp_path):
    x, y = classes_table() if make is classifier else numbers_table()
    names = ["$a_{", "a name that is much longer than any box could be", "<b>", "ç"]
    tree = make().fit(x, y).to_tree(x, max_depth=2, leaves=leaves, columns=names)
    figure = tree.plot(most=4)
    texts = [text.get_text() for text in figure.axes[0].texts]
    splits = tree.n_leaves - 1
    assert len(texts) == tree.n_leaves + splits + 2 * splits
    assert [texts.count("yes"), texts.count("no")] == [splits, splits]
    assert sum("rows" in text for text in texts) == 2 * tree.n_leaves - 1
    assert max(len(line) for text in texts for line in text.splitlines()) <= 26
    figure.savefig(tmp_path / "tree.svg")


def test_colours_are_classes():
    x, y = classes_table()
    tree = classifier().fit(x, y).to_tree(x, max_depth=3)
    hues = {}
    for text in tree.plot().axes[0].texts:
        if "% of" in text.get_text():
            red, green, blue, _ = text.get_bbox_patch().get_facecolor()
            pale = np.subtract(1, [red, green, blue])  # the tint, thinned
            hues.setdefault(text.get_text()[0], []).append(pale / pale.sum())
    assert len(hues) > 1
    for same in hues.values():
        np.testing.assert_allclose(same, [same[0]] * len(same), atol=1e-6)


def test_names_of_classes_are_whole():
    x, y = classes_table()
    names = np.array(["red (warm)", "blue (cold)", "green (neither)"])
    tree = classifier().fit(x, names[y]).to_tree(x, max_depth=1)
    first = [text.get_text().splitlines()[0] for text in tree.plot().axes[0].texts]
    assert sum(line in names for line in first) == tree.n_leaves
