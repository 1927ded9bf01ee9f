"""The primal filters that are shown.

- Filter times image plus offset is q: of every unit of a dense layer, of every interior position of
  a channel with a kernel, and of the position named where there is no kernel.
- Kernels lie where stride and first position say.
- The channels are those shown most often.
- With a permuted gate order a layer's filters are those of the layer that supplies its gates.
- Networks whose gates are not linear have none, and a sentence says why.
"""

import itertools

import numpy as np
import pytest

from dualview.explorer.explanations import filters as module
from dualview.explorer.explanations.filters import (
    channels_shown,
    filters_by_layer,
    interior_of,
    layer_filters,
)

from .cases import CASES, exact, explained, inputs_of, network

INPUT = (3, 7, 7)


def made(shape, **options):
    net = exact(network(shape, **options))
    found, why = filters_by_layer(net, INPUT)
    assert not why
    return net, found


@pytest.mark.parametrize(("shape", "kind"), [case for case in CASES if case[1].startswith("dlgn")])
def test_filter_times_image_is_q(shape, kind):
    net, found = made(shape, kind=kind)
    x = inputs_of(4)
    kinds = set()
    for primal, q in zip(found, net.preactivations(x), strict=True):
        filters = layer_filters(primal, range(primal.gate_shape[0])[::-1])
        kinds.add(filters.kind)
        for image, offset, channel in zip(
            filters.images, filters.offsets, filters.channels, strict=True
        ):
            check_channel(filters, image, offset, q[0, channel], x[0].numpy(), interior_of(primal))
    assert kinds <= {"input"} if shape == "dense" else "kernel" in kinds


def check_channel(filters, image, offset, q, x, interior):
    if filters.kind == "input":
        assert (image * x).sum() + offset == pytest.approx(q.item(), rel=1e-9, abs=1e-12)
    elif filters.kind == "place":
        assert (image * x).sum() + offset == pytest.approx(q[filters.place].item(), rel=1e-9)
    elif filters.stride:
        height, width = image.shape[1:]
        for place in itertools.product(*interior):
            top, left = (
                s * p + f for s, p, f in zip(filters.stride, place, filters.first, strict=True)
            )
            seen = x[:, top : top + height, left : left + width]
            assert (image * seen).sum() + offset == pytest.approx(q[place].item(), rel=1e-9)


def test_where_strided_kernels_lie():
    _, found = made("strided")
    assert layer_filters(found[1], [0]).stride == (2, 2)
    assert layer_filters(found[0], [0]).stride == (1, 1)


def test_permuted_gates():
    net, found = made("permuted", order=(1, 0))
    q = net.preactivations(inputs_of(3))
    filters = layer_filters(found[0], [2])
    value = (filters.images[0] * inputs_of(3)[0].numpy()).sum() + filters.offsets[0]
    assert value == pytest.approx(q[1][0, 2].item(), rel=1e-9)


def test_channels_shown_most_often(monkeypatch):
    examples = explained("dense").examples
    shown = [channel for example in examples for channel in example.gates[0].shown]
    ordered = channels_shown(examples, 0)
    counts = [shown.count(channel) for channel in ordered]
    assert sorted(ordered) == sorted(set(shown))
    assert counts == sorted(counts, reverse=True)
    monkeypatch.setattr(module, "MOST_FILTERS", 2)
    assert channels_shown(examples, 0) == ordered[:2]


@pytest.mark.parametrize("kind", ["dgn", "dnn"])
def test_none_where_gates_are_not_linear(kind):
    found, why = filters_by_layer(exact(network("dense", kind)), INPUT)
    assert found == []
    assert kind.upper() in why
    assert "not linear" in why


def test_none_in_training_mode():
    found, why = filters_by_layer(exact(network("convolutional")).train(), INPUT)
    assert found == []
    assert why.startswith("There are no filters")


def test_features_without_positions():
    record = module._record("input", (0,), np.ones((1, 5)), np.zeros(1))
    assert record.images.shape == (1, 1, 1, 5)
