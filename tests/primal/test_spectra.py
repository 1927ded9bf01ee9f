"""Properties proved here.

1. Parseval: the power of a filter sums to its squared norm, and so do rings times their counts.
2. Power is that of the definition, term by term.
3. Ring means are means over the frequencies at (about) one distance from 0, in one, two and three
   dimensions; rings hold every frequency once.
4. The gain of a deep linear circular network at a frequency is its kernel's spectrum there.
5. Filters without positions, or larger than the transform, are refused.
"""

import cmath
import itertools
import math

import pytest
import torch
from torch import nn

from dualview.errors import PrimalFilterError
from dualview.primal.filters import primal_filters
from dualview.primal.spectra import filter_spectra
from tests.cases import SMALL, small_architecture
from tests.primal.oracle import assert_close, gated, stack

SHAPES = [((4, 2, 5), (8,)), ((4, 2, 3, 5), (8, 9)), ((2, 1, 3, 2, 2), (4, 3, 5))]


@pytest.mark.parametrize(("shape", "size"), SHAPES)
def test_parseval(shape, size):
    filters = torch.randn(*shape, dtype=torch.float64)
    spectra = filter_spectra(filters, size)
    squares = filters.flatten(1).square().sum(1)
    assert spectra.power.shape == (*shape[:2], *size)
    assert_close(spectra.power.flatten(1).sum(1), squares)
    assert_close(spectra.radial @ spectra.counts, squares)
    assert int(spectra.counts.sum()) == math.prod(size)


def test_the_definition():
    filters = torch.randn(1, 2, 2, 3, dtype=torch.float64)
    power = filter_spectra(filters, (4, 5)).power
    for channel, u, v in itertools.product(range(2), range(4), range(5)):
        total = sum(
            float(filters[0, channel, i, j]) * cmath.exp(-2j * math.pi * (u * i / 4 + v * j / 5))
            for i, j in itertools.product(range(2), range(3))
        )
        assert float(power[0, channel, u, v]) == pytest.approx(abs(total) ** 2 / 20)


@pytest.mark.parametrize(("shape", "size"), SHAPES)
def test_rings(shape, size):
    spectra = filter_spectra(torch.randn(*shape, dtype=torch.float64), size)
    lengths = {}
    for index in itertools.product(*map(range, size)):
        nearest = [min(i, n - i) / n for i, n in zip(index, size, strict=True)]
        length = math.hypot(*nearest)
        lengths.setdefault(round(length * max(size)), []).append((index, length))
    assert len(lengths) == len(spectra.counts)
    for place, ring in enumerate(sorted(lengths)):
        members = lengths[ring]
        powers = [spectra.power[(slice(None), slice(None), *index)].sum(1) for index, _ in members]
        assert_close(spectra.radial[:, place], torch.stack(powers).mean(0))
        mean = sum(length for _, length in members) / len(members)
        assert float(spectra.frequencies[place]) == pytest.approx(mean)
    assert spectra.frequencies[0] == 0
    assert bool((spectra.frequencies.diff() > 0).all())


def test_gain_of_a_circular_network():
    """A wave comes out as the same wave, its power multiplied by the spectrum (times positions)."""

    def circular(inputs, outputs):
        return nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="circular")

    net = gated(stack(circular(1, 3), circular(3, 2)))
    power = filter_spectra(primal_filters(net, 0, (1, 8, 6))).power
    rows, columns = torch.meshgrid(torch.arange(8), torch.arange(6), indexing="ij")
    for u, v in ((1, 2), (3, 0), (2, 5)):
        angle = 2 * math.pi * (u * rows / 8 + v * columns / 6)
        waves = torch.stack([angle.cos(), angle.sin()]).double().unsqueeze(1)
        waves = torch.cat([waves, 0 * waves[:1]])  # the last shows the offsets
        with torch.no_grad():
            q = net.preactivations(waves)[0]
        gain = (q[0] - q[2]).square() + (q[1] - q[2]).square()  # (2, 8, 6), even over positions
        expected = 48 * power[:, 0, u, v]
        torch.testing.assert_close(
            gain, expected[:, None, None].expand(gain.shape), rtol=1e-6, atol=1e-6
        )


def test_of_primal_filters_and_of_filters():
    net = gated(small_architecture("c4gap"))
    found = primal_filters(net, 0, SMALL["c4gap"][1])
    spectra = filter_spectra(found)
    assert spectra.power.shape == (4, 3, 6, 5)
    assert_close(spectra.power, filter_spectra(found.channel_kernels, (6, 5)).power)
    position = [interior.start for interior in found.interior]
    whole = found.filters(positions=[position])[:, 0]
    assert_close(filter_spectra(whole).power, spectra.power)


@pytest.mark.parametrize(
    ("shape", "size"),
    [((4, 7), None), ((4, 2, 3, 3), (2, 8)), ((4, 2, 3, 3), (8,))],
    ids=["no positions", "too small", "other axes"],
)
def test_refusals(shape, size):
    with pytest.raises(PrimalFilterError, match=r"filters: expected \(n, channels, positions"):
        filter_spectra(torch.zeros(*shape), size)


def test_dense_layers_need_their_filters():
    found = primal_filters(gated(small_architecture("fc")), 0, SMALL["fc"][1])
    with pytest.raises(PrimalFilterError, match=r"no channel kernels.*filters\(\)"):
        filter_spectra(found)
    assert filter_spectra(found.filters()).power.shape == (6, 1, 5, 4)
