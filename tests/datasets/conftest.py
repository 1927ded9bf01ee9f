"""Settings of the tests of `dualview.datasets`."""

import pytest


@pytest.fixture(autouse=True)
def cache_folder(tmp_path_factory, monkeypatch):
    """A cache of the test's own: the user's is never touched."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("DUALVIEW_CACHE", str(folder))
    return folder
