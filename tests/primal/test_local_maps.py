"""Properties proved here.

1. Composing kernels is composing convolutions: on images with room on all sides, the composed
   kernel's convolution equals the two convolutions one after the other, for strides, dilations,
   groups and averages.
2. An axis tells exactly which positions read no padding, and where in the input they read.
3. Sums and concatenations align kernels of different size and place.
4. Long circular kernels are folded without losing an entry.
5. Values that cannot be joined give None; windows without an interior raise, with their lengths.
"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from dualview.primal.local_maps import (
    Axis,
    LocalMap,
    NoInteriorError,
    Window,
    concatenated,
    convolved,
    folded,
    moved,
    pooled,
    scaled,
    summed,
)
from tests.primal.oracle import assert_close

SIZE = 40


def start(channels=2):
    return LocalMap.of_input(torch.zeros(1, channels, SIZE, dtype=torch.float64))


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def convolve(value, weight, window, groups=1):
    size = (value.axes[0].size + window.before + window.after) - (window.taps - 1) * window.dilation
    return convolved(value, weight, groups, [window], [(size - 1) // window.stride + 1])


def apply(value, x):
    """What the closed form gives at the interior, (n, channels, interior)."""
    (axis,) = value.axes
    out = F.conv1d(F.pad(x, (100, 100)), value.kernels)
    return out[:, :, [100 + axis.stride * p + axis.first for p in axis.interior]]


WINDOWS = [
    (Window(3, before=1, after=1), Window(2, 2)),
    (Window(3, 2, before=1, after=1), Window(3, dilation=2, before=2, after=0)),
    (Window(2, dilation=3), Window(4, 3, before=1, after=2)),
    (Window(1), Window(1, 2, before=2)),
]


@pytest.mark.parametrize(("first", "second"), WINDOWS)
@pytest.mark.parametrize("groups", [1, 2])
def test_composition(first, second, groups):
    one, two = draw(4, 2 // groups, first.taps), draw(6, 4 // groups, second.taps)
    value = convolve(convolve(start(), one, first, groups), two, second, groups)
    x = draw(3, 2, SIZE)
    expected = x
    for weight, window in ((one, first), (two, second)):
        expected = F.conv1d(
            F.pad(expected, (window.before, window.after)),
            weight,
            stride=window.stride,
            dilation=window.dilation,
            groups=groups,
        )
    (axis,) = value.axes
    assert axis.size == expected.shape[2]
    assert axis.length == value.kernels.shape[2]
    assert len(axis.interior) > 3
    assert_close(apply(value, x), expected[:, :, axis.start : axis.stop])


def test_averages_are_convolutions_channel_by_channel():
    window = Window(3, 2, before=1, after=1)
    value = convolve(start(), draw(3, 2, 3), Window(3, before=1, after=1))
    got = pooled(value, 1 / 3, [window], [20])
    expected = convolve(value, torch.full((3, 1, 3), 1 / 3, dtype=torch.float64), window, groups=3)
    assert_close(got.kernels, expected.kernels)
    assert got.axes == expected.axes


@given(
    st.lists(
        st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 2), st.integers(0, 3)).map(
            lambda w: Window(w[0], w[1], w[2], w[3], w[3])
        ),
        min_size=1,
        max_size=3,
    )
)
def test_the_interior_reads_no_padding(windows):
    """Position by position: which input positions are read, and whether padding is among them."""
    axis = Axis.of_input(SIZE)
    reads: list[set[int | None]] = [{p} for p in range(SIZE)]
    for window in windows:
        room = len(reads) + window.before + window.after - (window.taps - 1) * window.dilation
        if room < 1:
            return
        size = (room - 1) // window.stride + 1
        axis = axis.through(window, size)
        places = [
            [window.stride * p - window.before + window.dilation * j for j in range(window.taps)]
            for p in range(size)
        ]
        reads = [
            set().union(*(reads[q] if 0 <= q < len(reads) else {None} for q in row))
            for row in places
        ]
    clean = [p for p, found in enumerate(reads) if None not in found]
    assert list(axis.interior) == clean
    for p, found in enumerate(reads):
        window = range(axis.stride * p + axis.first, axis.stride * p + axis.first + axis.length)
        inside = found - {None}
        assert all(i in window for i in inside)
        if p in axis.interior:
            assert (min(inside), max(inside)) == (window[0], window[-1])


def test_sums_align_kernels():
    left = convolve(start(), draw(3, 2, 5), Window(5, before=3, after=1))
    right = convolve(start(), draw(3, 2, 2), Window(2, before=0, after=1))
    x = draw(2, 2, SIZE)
    both = summed(left, right, sign=-0.5)
    (axis,) = both.axes
    assert (axis.first, axis.length, axis.interior) == (-3, 5, range(3, 39))
    expected = F.conv1d(F.pad(x, (3, 1)), left.kernels) - 0.5 * F.conv1d(
        F.pad(x, (0, 1)), right.kernels
    )
    assert_close(apply(both, x), expected[:, :, 3:39])
    side = concatenated([left, scaled(right, torch.tensor([2.0, 3.0, 4.0]).double())])
    assert side.shape == (6, SIZE)
    assert_close(
        side.kernels[3:, :, 3:5], right.kernels * draw(1).new_tensor([[[2.0]], [[3]], [[4]]])
    )


def test_padding_and_cutting_move_kernels():
    value = moved(start(), [Window(stride=2, before=3)], [23])
    (axis,) = value.axes
    assert (axis.stride, axis.first, axis.interior) == (2, -3, range(2, 22))
    assert torch.equal(value.kernels, start().kernels)


def test_folding_keeps_every_entry():
    kernels = draw(2, 3, 7, 5)
    axes = (Axis(3, 3, length=7, stop=3), Axis(4, 4, length=5, stop=4))
    value = folded(LocalMap(kernels, axes))
    expected = torch.zeros(2, 3, 3, 4, dtype=torch.float64)
    for i in range(7):
        for j in range(5):
            expected[:, :, i % 3, j % 4] += kernels[:, :, i, j]
    assert_close(value.kernels, expected)
    assert [axis.length for axis in value.axes] == [3, 4]


def test_circular_padding_has_no_border_as_long_as_the_period_fits():
    window = Window(3, 2, before=1, after=1, mode="circular")
    even = Axis.of_input(8).through(window, 4)
    assert even.all_interior
    assert (even.wraps, even.scattered) == (True, False)
    assert even.through(window, 2).all_interior
    odd = Axis.of_input(7).through(window, 4)
    assert odd.all_interior
    again = odd.through(window, 2)
    assert again.interior == range(1, 2)
    assert again.scattered


def test_what_cannot_be_joined():
    strided = convolve(start(), draw(2, 2, 1), Window(1, 2))
    shorter = moved(start(), [Window()], [SIZE - 1])
    image = LocalMap.of_input(torch.zeros(1, 2, SIZE, 4, dtype=torch.float64))
    wider = start(3)
    for other in (strided, shorter, image):
        assert summed(start(), other) is None
        assert concatenated([start(), other]) is None
    assert summed(start(), LocalMap(wider.kernels[:, :2], wider.axes)) is None


def test_no_interior_no_kernel():
    window = Window(2 * SIZE + 1, before=SIZE, after=SIZE)
    with pytest.raises(NoInteriorError) as caught:
        convolve(start(), draw(2, 2, window.taps), window)
    assert caught.value.lengths == (2 * SIZE + 1,)
    with pytest.raises(NoInteriorError):
        pooled(start(), 1.0, [window], [SIZE])
    with pytest.raises(NoInteriorError):
        moved(start(), [Window(before=-SIZE)], [0])
    left = convolve(start(), draw(2, 2, SIZE), Window(SIZE, before=SIZE - 1))
    right = convolve(start(), draw(2, 2, SIZE), Window(SIZE, after=SIZE - 1))
    with pytest.raises(NoInteriorError):
        summed(left, right)
