"""Threads are those asked for inside, and what they were outside, after an error too."""

import pytest
import torch

from dualview.training.threads import use_threads


def _fail(count):
    with use_threads(count):
        raise RuntimeError(str(torch.get_num_threads()))


@pytest.mark.parametrize("count", [None, 1, 2])
def test_inside_and_after(count):
    before = torch.get_num_threads()
    with pytest.raises(RuntimeError, match=str(count or before)):
        _fail(count)
    assert torch.get_num_threads() == before
