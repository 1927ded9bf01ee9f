"""What tests of Gram matrices share."""

import pytest

from dualview.path_kernel.gram.store import GramStore


@pytest.fixture
def computed(monkeypatch):
    """The blocks that this process computes, as they are finished."""
    blocks = []
    write = GramStore.write

    def counted(self, block, values):
        write(self, block, values)
        blocks.append(block)

    monkeypatch.setattr(GramStore, "write", counted)
    return blocks
