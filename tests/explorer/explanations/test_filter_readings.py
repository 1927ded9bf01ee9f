"""How far filters are read.

- The share of the largest pixels and the patterns are correlations and covariances, by NumPy's.
- Windows of images are what a channel's kernel is applied to: kernel * window + offset is q.
- A filter of few weights is explained wholly, one without places not at all.
"""

import dataclasses

import numpy as np
import pytest

from dualview.explorer.explanations.filter_readings import filter_reading, windows_of
from dualview.explorer.explanations.records import LayerFilters
from dualview.primal.filters import primal_filters

from .cases import exact, explained, inputs_of, network


def test_shares_and_patterns():
    generator = np.random.default_rng(0)
    images = generator.normal(size=(40, 1, 4, 5)) * generator.uniform(0.2, 2, (1, 4, 5))
    weights = generator.normal(size=(3, 1, 4, 5))
    weights[2] = 0
    weights[2, 0, 1, 1] = -2
    found = filter_reading(LayerFilters("input", (4, 7, 9), weights, (0.0,) * 3), images)
    assert found.largest == 2
    x, flat = images.reshape(40, 20), weights.reshape(3, 20)
    for unit in range(3):
        q = x @ flat[unit]
        largest = np.argsort(-np.abs(flat[unit]) * x.std(0))[:2]
        by_largest = x[:, largest] @ flat[unit, largest]
        share = np.corrcoef(q, by_largest)[0, 1] ** 2
        assert found.shares[unit] == pytest.approx(share, rel=1e-9)
        pattern = [np.cov(q, pixel, bias=True)[0, 1] / q.std() for pixel in x.T]
        np.testing.assert_allclose(found.patterns[unit].ravel(), pattern, atol=1e-12)
    assert found.shares[2] == pytest.approx(1)


def test_windows_are_what_kernels_read():
    net = exact(network("convolutional"))
    images = np.concatenate([inputs_of(row).numpy() for row in range(3)])
    for layer, filters in enumerate(explained("convolutional").filters):
        found = primal_filters(net, layer, (3, 7, 7))
        seen = windows_of(filters, images, found.interior)
        assert len(seen) == 12
        q = np.einsum("mcij,ncij->mn", seen, filters.images) + np.array(filters.offsets)
        for number, image in enumerate(images):
            values = net.preactivations(inputs_of(number))[layer][0, list(filters.channels)]
            inside = values[:, found.interior[0].start : found.interior[0].stop]
            inside = inside[:, :, found.interior[1].start : found.interior[1].stop]
            for one in q[4 * number : 4 * number + 4]:
                gaps = np.abs(inside.numpy() - one[:, None, None]).max(0)
                assert gaps.min() < 1e-5, image.shape


def test_unknown_places_are_not_read():
    filters = explained("convolutional").filters[0]
    images = inputs_of(0).numpy().repeat(3, 0)
    assert (
        filter_reading(dataclasses.replace(filters, stride=()), images, (range(1, 6),) * 2) is None
    )
    assert filter_reading(filters, images[:1], ()) is None
