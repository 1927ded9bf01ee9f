"""Mean and variance of the NTK over fresh weights, against sums over all draws of +1 and -1.

Weights of variance v that are +-sqrt(v) with equal odds have kurtosis 1, and few enough draws of a
tiny network to add up every one. `test_concentration` compares with sampled Gaussian weights.
"""

import itertools

import pytest
import torch

from dualview.path_kernel.finite_width import Overlap, Reading, ntk_moments


def all_draws(sizes, variances):
    shapes = list(zip(sizes[1:], sizes[:-1], strict=True))
    count = sum(a * b for a, b in shapes)
    for signs in itertools.product([-1.0, 1.0], repeat=count):
        numbers, weights, at = torch.tensor(signs, dtype=torch.float64), [], 0
        for (rows, columns), variance in zip(shapes, variances, strict=True):
            part = numbers[at : at + rows * columns].reshape(rows, columns)
            weights.append(part * variance**0.5)
            at += rows * columns
        yield weights


def ntk(weights, x, y, gates):
    """Inner product of the gradients, by the product rule written out."""

    def gradients(z, own):
        below, above = [z], [torch.eye(len(weights[-1]), dtype=z.dtype)]
        for weight, gate in zip(weights[:-1], own, strict=True):
            below.append(gate * (weight @ below[-1]))
        for weight, gate in zip(weights[:0:-1], own[::-1], strict=True):
            above.append((above[-1] @ weight) * gate)
        return [a[0][:, None] * b[None] for a, b in zip(above[::-1], below, strict=True)]

    left, right = gradients(x, gates[0]), gradients(y, gates[1])
    return sum((a * b).sum() for a, b in zip(left, right, strict=True))


@pytest.mark.parametrize(
    ("sizes", "variances"),
    [((3, 1), (0.5,)), ((2, 2, 1), (0.5, 2.0)), ((1, 2, 2, 1), (1.0, 0.5, 3.0))],
)
def test_all_draws(sizes, variances):
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, sizes[0], generator=generator, dtype=torch.float64)
    hidden = sizes[1:-1]
    gates = [
        [torch.rand(n, generator=generator, dtype=torch.float64) for n in hidden] for _ in range(2)
    ]
    values = torch.stack([ntk(w, x, y, gates) for w in all_draws(sizes, variances)])
    inputs, *overlaps = (
        Overlap.of(a[None, :, None], b[None, :, None])
        for a, b in zip((x, *gates[0]), (y, *gates[1]), strict=True)
    )
    readings = [Reading.of(torch.ones(1, 1, 1, dtype=torch.float64))] * len(variances)
    found = ntk_moments(inputs, overlaps, readings, variances, kurtosis=1.0)
    torch.testing.assert_close(found.mean.squeeze(), values.mean())
    torch.testing.assert_close(found.variance.squeeze(), values.var(correction=0))


def test_widened_is_repeated():
    a, b = torch.rand(2, 3, 2), torch.rand(2, 3, 2)
    wide, repeated = Overlap.of(a, b).widened(2), Overlap.of(a.repeat(1, 2, 1), b.repeat(1, 2, 1))
    each = Overlap.of_each(a)
    for name in ("both", "squares", "left", "right"):
        torch.testing.assert_close(getattr(wide, name), getattr(repeated, name))
        whole = getattr(Overlap.of(a, a), name)
        own = whole.diagonal() if len(whole) == whole.shape[1] else None
        if own is not None:
            torch.testing.assert_close(getattr(each, name)[:, 0], own.movedim(-1, 0))


def test_readings_against_their_matrices():
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(3, 2, 4, generator=generator, dtype=torch.float64)
    maps[maps.abs() < 0.7] = 0
    reading = Reading.of(maps)
    kernel = torch.randn(2, 1, 4, 4, generator=generator, dtype=torch.float64)
    expected = sum(m @ kernel @ m.T for m in maps)
    torch.testing.assert_close(reading.of_pairs(kernel), expected)
    moment = torch.randn(2, 1, 4, 4, 4, 4, generator=generator, dtype=torch.float64)
    pairings = ("rstu", "kar,kbs,lct,ldu"), ("rtsu", "kar,kct,lbs,ldu"), ("rust", "kar,kdu,lbs,lct")
    for order, axes in pairings:
        expected = torch.einsum(f"{axes},...rstu->...abcd", maps, maps, maps, maps, moment)
        torch.testing.assert_close(reading.of_two(moment, order), expected)
    four = torch.einsum("kar,kbs,kct,kdu,...rstu->...abcd", maps, maps, maps, maps, moment)
    torch.testing.assert_close(reading.of_four(moment), four)
    turned = torch.randn(1, 1, 2, 2, generator=generator, dtype=torch.float64)
    expected = sum(m.T @ turned @ m for m in maps)
    torch.testing.assert_close(reading.turned.of_pairs(turned), expected)
