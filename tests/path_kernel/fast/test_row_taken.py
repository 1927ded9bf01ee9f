"""What windows take of a line: copied run by run, every tap of every window finds its entry.

- Pools of any stride, dilation, padding and size, pools of pools, strided rows: what a window reads
  within the image is there; what is outside reads some number of the copy.
- Runs stay within the line and within the copy, and pieces cover all windows.
- Windows that do not look alike, or that have weights, are left to tables.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from dualview.path_kernel.fast.position_maps import (
    NONE,
    PositionMap,
    adaptive_windows,
    pool_windows,
    read_off,
    window,
)
from dualview.path_kernel.fast.row_taken import taken


def seen(over: PositionMap) -> np.ndarray:
    """What each tap of each window reads of a line whose entries are 1, 2, ...: (windows, taps)."""
    how = taken(over)
    assert how is not None
    line = 1.0 + np.arange(np.prod(over.before))
    count = int(np.prod(over.size))
    assert len(how.first) == count // how.piece + 2  # a window more, and the end
    found = np.full((count, len(how.shifts)), np.nan)
    for piece in range(len(how.first) - 1):
        copy = np.zeros(how.entries)
        for to, of, length in how.runs[how.first[piece] : how.first[piece + 1]]:
            copy[to : to + length] = line[of : of + (length - 1) * how.stride + 1 : how.stride]
        for at in range(piece * how.piece, min((piece + 1) * how.piece, count)):
            found[at] = copy[how.shifts + at - piece * how.piece]
    return found


def check(over: PositionMap) -> None:
    table, _ = over.flat
    found = seen(over)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found[table != NONE], 1 + table[table != NONE])


@given(*[st.integers(1, 3)] * 2, st.integers(0, 1), st.integers(1, 2), *[st.integers(5, 21)] * 2)
def test_pools(kernel, stride, padding, dilation, height, width):
    padding = min(padding, kernel // 2)
    reach = dilation * (kernel - 1) + 1
    sizes = [(n + 2 * padding - reach) // stride + 1 for n in (height, width)]
    options = [(n, n) for n in (kernel, stride, dilation, padding)]
    over = pool_windows((height, width), tuple(sizes), *options)
    check(over)
    again = pool_windows(
        over.size, tuple(-(-n // 2) for n in sizes), (2, 2), (2, 2), (1, 1), (0, 0)
    )
    check(again.after(over))  # the last windows may reach outside


def test_one_row_and_one_entry():
    check(pool_windows((1, 20), (1, 10), (1, 3), (1, 2), (1, 1), (0, 1)))
    check(window((9, 9), (1, 1), (2, 2), (1, 1), (0, 0, 0, 0), "zeros"))
    check(pool_windows((3, 3), (1, 1), (3, 3), (3, 3), (1, 1), (0, 0)))


def test_streams():
    """A pool of three taps and stride 2 needs the even and the odd entries of three rows."""
    how = taken(pool_windows((12, 12), (6, 6), (3, 3), (2, 2), (1, 1), (1, 1)))
    assert how is not None
    assert len(how.shifts) == 9
    assert how.entries == 6 * (how.piece + 2)


@pytest.mark.parametrize(
    "over",
    [
        adaptive_windows((8, 8), (3, 3)),
        read_off(lambda image: F.avg_pool2d(image, 2), (6, 6)),
        read_off(lambda image: image.flip(-1), (6, 6)),
    ],
    ids=["adaptive", "weights", "flipped"],
)
def test_what_is_left_to_tables(over):
    assert taken(over) is None
