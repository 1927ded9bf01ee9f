"""Properties proved here.

1. Impulses of all colours hit every input entry exactly once; no gate sees two of one colour.
2. The canvas keeps all kinds of border and one interior position of each axis, whatever the size of
   the image; circular axes, scattered ones and networks tied to one size are not cut.
3. Squared norms by gate and by colour are those of the Jacobian, for any block size.
4. Norms on the canvas, spread over the image, are those of the whole image, with strides too.
5. Where every position is interior, norms are those of the folded channel kernels.
"""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from dualview.primal.affine import layer_network
from dualview.primal.composition import walk
from dualview.primal.local_maps import Axis, LocalMap
from dualview.primal.norms import (
    _spacing,
    _squares_by_colour,
    _squares_by_gate,
    canvas_of,
    filter_norms,
    impulses,
)
from tests.primal.oracle import assert_close, gated, jacobian, stack


def parts(model, shape):
    """Network, example and closed form of a model with one gate."""
    net = gated(model)
    network = layer_network(net, 0)
    example = torch.zeros(1, *shape, dtype=torch.float64)
    return net, network, example, walk(network, example)


def strided():
    return stack(
        nn.Conv2d(2, 3, 3, padding=1),
        nn.AvgPool2d(2, padding=1),
        nn.Conv2d(3, 2, 3, stride=(2, 1), padding=1),
    )


# Colours


@given(st.integers(1, 40), st.integers(1, 45), st.booleans())
def test_impulses_of_one_colour_are_further_apart_than_a_kernel(size, length, wraps):
    spacing = _spacing(size, length, wraps)
    for phase in range(spacing):
        places = list(range(phase, size, spacing))
        gaps = [b - a for a, b in itertools.pairwise(places)]
        if wraps and len(places) > 1:
            gaps.append(places[0] + size - places[-1])
        assert all(gap >= length for gap in gaps)


@pytest.mark.parametrize("spacing", [(2, 3, 2), (1, 5, 4), (2, 1, 1)])
@pytest.mark.parametrize("block", [1, 4, 100])
def test_impulses_hit_every_entry_once(spacing, block):
    blocks = list(impulses(torch.zeros(1, 2, 5, 4), spacing, block))
    assert all(len(images) <= block for images in blocks)
    images = torch.cat(blocks)
    assert torch.equal(images.sum(0), torch.ones(2, 5, 4))
    assert len(images) == spacing[0] * spacing[1] * spacing[2]


# Canvas


@pytest.mark.parametrize("size", [16, 32, 224])
def test_canvas_does_not_grow_with_the_image(size):
    walked = parts(strided(), (2, size, size))[3]
    canvas = canvas_of((2, size, size), tuple(walked.offsets.shape), walked.local)
    smaller = canvas_of((2, 16, 16), (2, 5, 9), parts(strided(), (2, 16, 16))[3].local)
    assert (canvas.input_shape, canvas.gate_shape) == (smaller.input_shape, smaller.gate_shape)
    assert canvas.spacing == smaller.spacing
    assert len(canvas.places[0]) == walked.offsets.shape[1]
    assert set(canvas.places[0]) == set(range(canvas.gate_shape[1]))


@pytest.mark.parametrize(
    "change", [{"wraps": True}, {"scattered": True}], ids=["circular", "scattered"]
)
def test_axes_that_are_not_cut(change):
    axis = Axis(20, 20, first=-1, length=3, start=1, stop=19, **change)
    canvas = canvas_of((1, 20), (2, 20), LocalMap(torch.zeros(2, 1, 3), (axis,)))
    assert canvas.input_shape == (1, 20)
    assert canvas.places == (tuple(range(20)),)
    assert canvas.spacing == (1, 20 if "scattered" in change else 4)


def test_networks_tied_to_one_size_are_not_cut():
    axis = Axis(20, 20, first=-1, length=3, start=1, stop=19)
    local = LocalMap(torch.zeros(2, 1, 3), (axis,), resizable=False)
    assert canvas_of((1, 20), (2, 20), local).input_shape == (1, 20)


def test_without_a_closed_form_every_entry_is_a_colour():
    canvas = canvas_of((2, 5), (3, 4), None)
    assert (canvas.input_shape, canvas.gate_shape) == ((2, 5), (3, 4))
    assert canvas.colours == 10


# Norms


@pytest.mark.parametrize("block", [1, 7, 1000])
@pytest.mark.parametrize("squares", [_squares_by_colour, _squares_by_gate])
def test_both_ways_are_exact(squares, block):
    net, network, example, walked = parts(strided(), (2, 13, 12))
    canvas = canvas_of((2, 13, 12), tuple(walked.offsets.shape), walked.local)
    small = example.new_zeros(1, *canvas.input_shape)
    filters, _ = jacobian(net, 0, canvas.input_shape)
    expected = filters.flatten(3).square().sum(-1)
    assert_close(squares(network, small, canvas, block), expected)


@pytest.mark.parametrize("shape", [(2, 17, 14), (2, 18, 15), (2, 19, 13), (2, 9, 22)])
def test_canvas_norms_are_those_of_the_whole_image(shape):
    net, network, example, walked = parts(strided(), shape)
    got = filter_norms(network, example, walked.offsets.shape, walked.local, 50)
    whole = filter_norms(network, example, walked.offsets.shape, None, 50)
    filters, _ = jacobian(net, 0, shape)
    assert_close(got, filters.flatten(3).norm(dim=-1))
    assert_close(whole, got)


def test_circular_norms_are_those_of_folded_kernels():
    def circular(inputs, outputs):
        return nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="circular")

    model = stack(circular(1, 2), circular(2, 2), circular(2, 3))
    net, network, example, walked = parts(model, (1, 4, 5))
    assert walked.local.kernels.shape == (3, 1, 4, 5)
    got = filter_norms(network, example, (3, 4, 5), walked.local, 1)
    filters, _ = jacobian(net, 0, (1, 4, 5))
    assert_close(got, filters.flatten(3).norm(dim=-1))
