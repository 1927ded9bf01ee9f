"""What a network does over many examples.

- Confusions are counted; the classes kept are all, or those named most often.
- Channels: those that examples show, then those that speak most for a class, up to a bound.
- Examples that open and close a unit are the extreme ones; neighbours come by size, both ways.
- The map is kernel PCA: its places' inner products are the centred kernel's best of rank two.
"""

import dataclasses

import numpy as np
import pytest
import torch

from dualview.explorer.explanations.network_view import (
    MOST_CLASSES,
    classes_counted,
    map_of,
    principal,
    with_speakers,
)

from .cases import explained, inputs_of, network, small_data


@pytest.mark.parametrize("shape", ["dense", "convolutional"])
def test_units_of_a_network(shape):
    found, data = explained(shape), small_data()
    view = found.network
    net = network(shape)
    assert view.n_examples == len(data.test)
    assert view.counts == (3, 3, 3)
    assert view.confusion.sum() == 9
    wanted = np.zeros((3, 3), int)
    for row, label in enumerate(data.test.labels.tolist()):
        wanted[label, int(net(inputs_of(row).float()).argmax())] += 1
    assert (view.confusion == wanted).all()
    for layer, units in enumerate(view.layers):
        assert units.channels == found.filters[layer].channels
        for place in range(len(units.channels)):
            peaks = units.peaks[place]
            assert peaks[units.opens[place]].tolist() == sorted(peaks, reverse=True)[:5]
            assert peaks[units.closes[place]].tolist() == sorted(peaks)[:5]
        assert all(
            [abs(part) for _, part in row] == sorted((abs(p) for _, p in row), reverse=True)
            for row in (*units.upstream, *units.downstream)
        )
    first, second = view.layers
    pairs = {
        (before, channel): part
        for channel, row in zip(second.channels, second.upstream, strict=True)
        for before, part in row
    }
    for channel, row in zip(first.channels, first.downstream, strict=True):
        for behind, part in row:
            if (channel, behind) in pairs:
                assert pairs[channel, behind] == part
    assert set(first.upstream) == {()}


def test_peaks():
    found, net = explained("convolutional"), network("convolutional")
    for layer, units in enumerate(found.network.layers):
        for place, example in enumerate(found.examples):
            q = net.preactivations(inputs_of(example.row).float())[layer][0].detach()
            wanted = q.flatten(1).amax(1)[list(units.channels)]
            np.testing.assert_allclose(units.peaks[:, place], wanted, rtol=1e-3, atol=1e-4)


def test_classes():
    examples = explained("dense").examples
    assert classes_counted(examples, 3) == (0, 1, 2)
    many = dataclasses.replace(examples[0], logits=np.zeros(40), label=33)
    counted = classes_counted([many] * 3, 40)
    assert 33 in counted
    assert len(counted) <= MOST_CLASSES


def test_channels():
    parts = np.zeros((6, 2, 2))
    parts[4, 0, 0], parts[5, 1, 1], parts[3, 0, 1] = 2.0, 1.0, 9.0
    assert with_speakers((2,), parts, 1)[:3] == (2, 4, 5)
    assert len(with_speakers(range(300), np.zeros((300, 2, 2)), 1)) == 256
    assert len(with_speakers(range(300), np.zeros((300, 2, 2)), 100)) == 40


def test_map():
    generator = np.random.default_rng(0)
    features = generator.normal(size=(8, 2))
    kernel = features @ features.T
    places, spread = principal(kernel)
    centred = features - features.mean(0)
    np.testing.assert_allclose(places @ places.T, centred @ centred.T, atol=1e-9)
    assert sum(spread) == pytest.approx(1)
    x = inputs_of(0).float().repeat(2, 1, 1, 1)
    assert map_of(network("dense"), x, "hard") == (None, (0.0, 0.0), "")
    three = np.concatenate([inputs_of(row).numpy() for row in (0, 1, 2)])
    own = map_of(network("dense"), torch.tensor(three).float(), "model")
    assert own[0].shape == (3, 2)
    assert own[2] == ""
