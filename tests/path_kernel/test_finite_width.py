"""Mean and variance of the NTK over fresh weights, against sums over all draws of +1 and -1.

Weights of variance v that are +-sqrt(v) with equal odds have kurtosis 1, and few enough draws of a
tiny network to add up every one. `test_concentration` compares with sampled Gaussian weights.
"""

import itertools

import pytest
import torch

from dualview.path_kernel.finite_width import Overlap, ntk_moments


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
    overlaps = [Overlap.of(a[None], b[None]) for a, b in zip(*gates, strict=True)]
    found = ntk_moments(Overlap.of(x[None], y[None]), overlaps, variances, kurtosis=1.0)
    torch.testing.assert_close(found.mean.squeeze(), values.mean())
    torch.testing.assert_close(found.variance.squeeze(), values.var(correction=0))


def test_widened_is_repeated():
    a, b = torch.rand(2, 3), torch.rand(2, 3)
    wide, repeated = Overlap.of(a, b).widened(2), Overlap.of(a.repeat(1, 2), b.repeat(1, 2))
    for name in ("both", "squares", "left", "right"):
        torch.testing.assert_close(getattr(wide, name), getattr(repeated, name))
