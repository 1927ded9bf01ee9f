"""Properties proved here.

1. No gate sees two impulses of one colour.
2. The canvas keeps all kinds of border and one interior position of each axis, whatever the size of
   the image; circular axes, scattered ones and networks tied to one size are not cut.
3. What its gates read is all that their filters hold.
4. Norms on the canvas, spread over the image, are those of the whole image, with strides too.
5. That they take long is said beforehand, with passes, time and memory.
6. Where every position is interior, norms are those of the folded channel kernels.
"""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import dualview as dv
from dualview.primal import norms
from dualview.primal.affine import layer_network
from dualview.primal.composition import walk
from dualview.primal.filters import primal_filters
from dualview.primal.local_maps import Axis, LocalMap
from dualview.primal.norms import _spacing, canvas_of, norm_work
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
    assert math.prod(canvas.spacing) == 10


# Norms


@pytest.mark.parametrize("shape", [(2, 17, 14), (2, 18, 15), (2, 19, 13), (2, 9, 22)])
def test_canvas_norms_are_those_of_the_whole_image(shape):
    net, network, example, walked = parts(strided(), shape)
    filters, _ = jacobian(net, 0, shape)
    found = primal_filters(net, 0, shape)
    assert_close(found.norms, filters.flatten(3).norm(dim=-1))
    canvas, whole = (
        canvas_of(shape, tuple(walked.offsets.shape), local) for local in (walked.local, None)
    )
    assert canvas.share <= whole.share == 1
    gates = torch.arange(walked.offsets.numel())
    held = {"held": walked.live * 8, "written": walked.elements * 8, "memory": 1e7}
    uncut = norm_work(network, example, whole, gates, **held).norms(lambda _: None)
    assert_close(uncut.view(walked.offsets.shape), found.norms)


@pytest.mark.parametrize("shape", [(2, 17, 14), (2, 9, 22)])
def test_what_gates_read_is_all_that_they_hold(shape):
    net, _, _, walked = parts(strided(), shape)
    canvas = canvas_of(shape, tuple(walked.offsets.shape), walked.local)
    filters, _ = jacobian(net, 0, canvas.input_shape)
    for axis, reads in enumerate(canvas.reads):
        held = filters.abs().amax([k for k in range(6) if k not in (1 + axis, 4 + axis)])
        for place, (start, stop) in reads.spans.items():
            assert held[place].sum() == held[place, start:stop].sum() > 0


def test_circular_norms_are_those_of_folded_kernels():
    def circular(inputs, outputs):
        return nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="circular")

    model = stack(circular(1, 2), circular(2, 2), circular(2, 3))
    net, _, _, walked = parts(model, (1, 4, 5))
    assert walked.local.kernels.shape == (3, 1, 4, 5)
    filters, _ = jacobian(net, 0, (1, 4, 5))
    for memory in (2_500, 1e9):  # too little to compose kernels, or enough
        found = primal_filters(net, 0, (1, 4, 5), memory=memory)
        assert found.can_compose == (memory == 1e9)
        assert_close(found.norms, filters.flatten(3).norm(dim=-1))
        assert_close(found.norms_of([2, 0], [(3, 1)]), found.norms[[2, 0], 3, 1].view(2, 1))


def test_long_work_is_said_beforehand(monkeypatch):
    monkeypatch.setattr(norms, "OPERATIONS_A_SECOND", 10.0)
    net = parts(strided(), (2, 17, 14))[0]
    said = r"layer 0: the norms of these gates take \d+ passes .* minutes and \d+ MB.*channels="
    with pytest.warns(dv.DualviewWarning, match=said):
        dv.gate_distances(net, torch.ones(1, 2, 17, 14).double(), 0)
