"""Layouts: where channels and positions stand in the tensor.

- `arranged` and `as_tensor` undo each other, after any permutations and changes of shape.
- A change of shape sees the same entries anew, or says that an axis would cut through atoms.
"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dualview.path_kernel.layout import Layout

SHAPES = [(4, 6), (2, 2, 6), (24,), (1, 4, 6), (4, 3, 2), (2, 1, 2, 2, 3)]


@given(st.lists(st.one_of(st.sampled_from(SHAPES), st.just("turn")), max_size=4), st.booleans())
def test_entries_stay_the_same(moves, first):
    """A tensor and its array go through the same moves."""
    tensor = torch.arange(2 * 24).reshape(2, 4, 6)
    layout = Layout.of((4, 6), (0,) if first else (1,))
    for move in moves:
        if move == "turn":
            order = list(range(len(layout.axes)))[::-1]
            layout, tensor = layout.permuted(order), tensor.permute(0, *(1 + k for k in order))
        elif (new := layout.reshaped(move)) is not None:
            before = layout.arranged(tensor)
            layout, tensor = new, tensor.reshape(2, *move)
            assert torch.equal(layout.arranged(tensor).flatten(2), before.flatten(2))
        assert layout.shape == tuple(tensor.shape[1:])
        assert torch.equal(layout.as_tensor(layout.arranged(tensor)), tensor)


@pytest.mark.parametrize(
    ("shape", "possible"),
    [((2, 2, 6), True), ((8, 3), True), ((3, 8), False), ((4, 2, 3), True), ((24,), True)],
)
def test_shapes_that_cut_through_atoms(shape, possible):
    assert (Layout.of((4, 6)).reshaped(shape) is not None) == possible


def test_positions_alone_have_any_shape():
    layout = Layout.of((4, 6), ())
    for shape in ((8, 3), (3, 8), (24,), (2, 12)):
        assert layout.reshaped(shape).shape == shape
