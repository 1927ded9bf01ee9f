"""The NTK at finite width, exactly: its variance over fresh weights, gates held.

The expected NTK is exact at every width; this is how far the NTK of one draw is from it. For a
fully connected network with independent zero-mean weights of variance sigma_l^2 in layer l, of
d layers, and one output,

    NTK(x, x') = sum_l A_{l-1} B_l,   A_l = <z_l(x), z_l(x')>,   B_l = <delta_l(x), delta_l(x')>,

with z_l the gated activations and delta_l the derivative of the output by the pre-activations of
weight layer l. A_{l-1} and B_l are independent, so the variance needs second moments of A and B,
and of what stands between two layers. All of them go through the layers by small linear recursions;
a pair of examples costs O(layers^2) once the overlaps of its gates are known.

Arrays have pairs of examples: (n1, n2). kappa is the kurtosis of the weights, 3 for Gaussians.

Source: theory, section 8, derived for this project; with kappa other than 3 the recursions also
carry the sums of squared diagonals, to which a weight's fourth moment belongs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Overlap:
    """The gates D(x), D(x') of one layer's units, for every pair; g = D(x) D(x').

    Attributes:
        both: sum of g, (n1, n2).
        squares: sum of g^2, (n1, n2).
        left: sum of D(x)^2, (n1, 1).
        right: sum of D(x')^2, (1, n2).
    """

    both: Tensor
    squares: Tensor
    left: Tensor
    right: Tensor

    @classmethod
    def of(cls, left: Tensor, right: Tensor) -> Overlap:
        """Overlap of values (n1, units) and (n2, units), gates or inputs."""
        a, b = left**2, right**2
        return cls(left @ right.T, a @ b.T, a.sum(1, keepdim=True), b.sum(1)[None])

    def widened(self, factor: float) -> Overlap:
        """The overlap with every unit there `factor` times."""
        parts = (self.both, self.squares, self.left, self.right)
        return Overlap(*(factor * part for part in parts))


@dataclass(frozen=True)
class NTKMoments:
    """Mean and variance of the NTK of one output over fresh weights, (n1, n2) each."""

    mean: Tensor
    variance: Tensor


def ntk_moments(
    inputs: Overlap, gates: Sequence[Overlap], variances: Sequence[float], kurtosis: float
) -> NTKMoments:
    """Mean and variance of the NTK.

    Args:
        inputs: overlap of the inputs.
        gates: of gated layers 1 ... d - 1.
        variances: of the weights of layers 1 ... d.
        kurtosis: of the weights.
    """
    depth = len(variances)
    forward = _forward(inputs, gates, variances, kurtosis)
    backward = _backward(gates, variances, kurtosis)
    mean = torch.zeros_like(inputs.both)
    second = torch.zeros_like(inputs.both)
    for layer in range(depth):
        mean = mean + forward[layer].mean * backward[layer].mean
        second = second + forward[layer].square * backward[layer].square
        between = _Between.start(gates[layer]) if layer < depth - 1 else None
        for later in range(layer + 1, depth):
            assert between is not None
            scale = variances[layer] * variances[later]
            product = forward[layer].square * backward[later].square
            second = second + 2 * scale * product * between.trace_squared
            if later < depth - 1:
                between = between.through(gates[later], variances[later], kurtosis)
    return NTKMoments(mean, second - mean**2)


@dataclass(frozen=True)
class _Inner:
    """Moments of A = <u, u'>, of two vectors that are linear in the weights so far.

    Attributes:
        mean: E A.
        square: E A^2.
        norms: E |u|^2 |u'|^2.
        diagonal: E sum_i u_i^2 u'_i^2.
    """

    mean: Tensor
    square: Tensor
    norms: Tensor
    diagonal: Tensor

    @classmethod
    def start(cls, overlap: Overlap) -> _Inner:
        """Of vectors that no weight has touched."""
        return cls(
            overlap.both,
            overlap.both**2,
            overlap.left * overlap.right,
            overlap.squares,
        )

    def through(self, gate: Overlap, variance: float, kurtosis: float) -> _Inner:
        """Through a layer of weights of this variance, then this gate.

        For a row w of weights E (w.u)^2 (w.u')^2 = variance^2 (|u|^2 |u'|^2 + 2 <u, u'>^2 +
        (kurtosis - 3) sum_i u_i^2 u'_i^2).
        """
        v, q = variance**2, gate.squares
        fourth = self.norms + 2 * self.square + (kurtosis - 3) * self.diagonal
        return _Inner(
            variance * gate.both * self.mean,
            v * ((gate.both**2 - q) * self.square + q * fourth),
            v * ((gate.left * gate.right - q) * self.norms + q * fourth),
            v * q * fourth,
        )


def _forward(
    inputs: Overlap, gates: Sequence[Overlap], variances: Sequence[float], kurtosis: float
) -> list[_Inner]:
    """Moments of A_0 ... A_{d-1}."""
    found = [_Inner.start(inputs)]
    for gate, variance in zip(gates, variances[:-1], strict=True):
        found.append(found[-1].through(gate, variance, kurtosis))
    return found


def _backward(
    gates: Sequence[Overlap], variances: Sequence[float], kurtosis: float
) -> list[_Inner]:
    """Moments of B_1 ... B_d; layer l's gates come with the weights of layer l + 1."""
    one = torch.ones_like(gates[0].both) if gates else torch.ones(1, 1)
    found = [_Inner(one, one, one, one)]
    for gate, variance in zip(reversed(gates), reversed(variances[1:]), strict=True):
        found.append(found[-1].through(gate, variance, kurtosis))
    return found[::-1]


@dataclass(frozen=True)
class _Between:
    """Moments of M = P(x) P(x')^T, with P the network between two weight layers.

    Attributes:
        trace_squared: E (tr M)^2.
        norm: E tr(M M^T).
        square: E tr(M^2).
        diagonal: E sum_k M_kk^2.
    """

    trace_squared: Tensor
    norm: Tensor
    square: Tensor
    diagonal: Tensor

    @classmethod
    def start(cls, gate: Overlap) -> _Between:
        """Of one gate: P is diagonal."""
        return cls(gate.both**2, gate.squares, gate.squares, gate.squares)

    def through(self, gate: Overlap, variance: float, kurtosis: float) -> _Between:
        """Through a layer of weights and a gate.

        For a row v of weights E (v^T M v)^2 = variance^2 ((tr M)^2 + tr M M^T + tr M^2 +
        (kurtosis - 3) sum_k M_kk^2).
        """
        v, q = variance**2, gate.squares
        fourth = self.trace_squared + self.norm + self.square + (kurtosis - 3) * self.diagonal
        unlike = gate.both**2 - q
        return _Between(
            v * (unlike * self.trace_squared + q * fourth),
            v * ((gate.left * gate.right - q) * self.norm + q * fourth),
            v * (unlike * self.square + q * fourth),
            v * q * fourth,
        )
