"""The NTK at finite width, exactly: its variance over fresh weights, gates held.

The expected NTK is exact at every width; this is how far the NTK of one draw is from it. Layers are
dense or convolutional, one behind the other, with independent zero-mean weights of variance
sigma_l^2 in layer l, of d layers, and one output. With z_l[i, p] the gated activations, channel i
at position p, and delta_l the derivative of the output by the pre-activations of weight layer l,

    NTK(x, x') = sum_l sum_pq B_l[p, q] (L_l A_{l-1})[p, q],
    A_l[p, q] = sum_i z_l[i, p] z'_l[i, q],   B_l[p, q] = sum_i delta_l[i, p] delta'_l[i, q],

where L A = sum_k R_k A R_k^T and R_k says which position the k-th weight offset reads. A_{l-1} and
B_l are independent, so the variance needs second moments of A and B, and of what stands between two
layers: all of them are moments of one matrix N over (channel, position), and go through a layer by
one linear recursion over four positions. Dense layers have one position, and the four are numbers.

Arrays have pairs of examples first, (n1, n2), then positions. kappa is the kurtosis of the weights,
3 for Gaussians.

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
    """The gates D(x), D(x') of one layer's units, for every pair of examples; g = D(x) D(x').

    Attributes:
        both: sum over units of D[r] D'[s], (n1, n2, P, P).
        squares: sum of D[r] D'[s] D[t] D'[u], (n1, n2, P, P, P, P).
        left: sum of D[r] D[t], (n1, 1, P, P).
        right: sum of D'[s] D'[u], (1, n2, P, P).
    """

    both: Tensor
    squares: Tensor
    left: Tensor
    right: Tensor

    @classmethod
    def of(cls, left: Tensor, right: Tensor) -> Overlap:
        """Overlap of values (n1, units, P) and (n2, units, P), gates or inputs."""
        a, b = _squared(left), _squared(right)
        return cls(
            torch.einsum("air,bis->abrs", left, right),
            torch.einsum("airt,bisu->abrstu", a, b),
            a.sum(1)[:, None],
            b.sum(1)[None],
        )

    @classmethod
    def of_each(cls, values: Tensor) -> Overlap:
        """Overlap of each example (n, units, P) with itself: n2 is 1."""
        a = _squared(values)
        own = a.sum(1)[:, None]
        return cls(own, torch.einsum("airt,aisu->arstu", a, a)[:, None], own, own)

    def widened(self, factor: float) -> Overlap:
        """The overlap with every unit there `factor` times."""
        parts = (self.both, self.squares, self.left, self.right)
        return Overlap(*(factor * part for part in parts))


def _squared(values: Tensor) -> Tensor:
    """(n, units, P) -> (n, units, P, P)."""
    return values[..., :, None] * values[..., None, :]


@dataclass(frozen=True)
class Reading:
    """Which positions a weight layer reads: R_k for each of its weight offsets.

    Attributes:
        maps: (offsets, P', P), from the P positions that it reads to the P' that it makes.
        pairs: sum_k of R_k for the first position and R_k for the second, (P'^2, P^2), sparse.
    """

    maps: Tensor
    pairs: Tensor

    @classmethod
    def of(cls, maps: Tensor) -> Reading:
        """Of R_k, most of whose numbers are 0."""
        _, made, read = maps.shape
        rows, columns, values = [], [], []
        for one in maps:
            i, j = one.nonzero(as_tuple=True)
            rows.append((i[:, None] * made + i).flatten())
            columns.append((j[:, None] * read + j).flatten())
            values.append((one[i, j][:, None] * one[i, j]).flatten())
        at = torch.stack([torch.cat(rows), torch.cat(columns)])
        size = (made * made, read * read)
        pairs = torch.sparse_coo_tensor(at, torch.cat(values), size, check_invariants=True)
        return cls(maps, pairs.coalesce())

    @property
    def turned(self) -> Reading:
        """The same from the output back to the input."""
        return Reading.of(self.maps.mT)

    def of_pairs(self, kernel: Tensor) -> Tensor:
        """L K = sum_k R_k K R_k^T of a kernel (..., P, P)."""
        made = torch.sparse.mm(self.pairs, kernel.flatten(-2).reshape(-1, self.pairs.shape[1]).mT)
        size = self.maps.shape[1]
        return made.mT.reshape(*kernel.shape[:-2], size, size)

    def of_two(self, moment: Tensor, order: str) -> Tensor:
        """L for two pairs of the axes r, s, t, u of (..., P, P, P, P).

        Args:
            moment: E of a product of two kernels.
            order: the pairs, as in "rstu" for (r, s) and (t, u).
        """
        leading = list(range(moment.dim() - 4))
        turned = moment.permute(*leading, *(len(leading) + "rstu".index(c) for c in order))
        for _ in range(2):  # the first pair goes last each time
            turned = self.of_pairs(turned.movedim((-4, -3), (-2, -1)))
        return turned.permute(*leading, *(len(leading) + order.index(c) for c in "rstu"))

    def of_four(self, moment: Tensor) -> Tensor:
        """The same offset at all four positions."""
        found = torch.zeros((), dtype=moment.dtype)
        for one in self.maps:
            part = moment
            for _ in range(4):  # each axis in turn, and back at its place
                part = (part @ one.mT).movedim(-1, -4)
            found = found + part
        return found


@dataclass(frozen=True)
class NTKMoments:
    """Mean and variance of the NTK of one output over fresh weights, (n1, n2) each."""

    mean: Tensor
    variance: Tensor


def ntk_moments(
    inputs: Overlap,
    gates: Sequence[Overlap],
    readings: Sequence[Reading],
    variances: Sequence[float],
    kurtosis: float,
) -> NTKMoments:
    """Mean and variance of the NTK.

    Args:
        inputs: overlap of the inputs.
        gates: of gated layers 1 ... d - 1.
        readings: of weight layers 1 ... d.
        variances: of the weights of layers 1 ... d.
        kurtosis: of the weights.
    """
    depth = len(variances)
    start = _Moments.start(inputs)
    forward = _carried(inputs.both, start, gates, readings[:-1], variances[:-1], kurtosis)
    backward = _backward(gates, readings, variances, kurtosis)
    mean = second = torch.zeros((), dtype=inputs.both.dtype)
    for layer in range(depth):
        reading, (kernel, below) = readings[layer], forward[layer]
        mean = mean + (backward[layer][0] * reading.of_pairs(kernel)).sum((-1, -2))
        read = reading.of_two(below, "rstu")
        second = second + _contracted(backward[layer][1], read)
        between = _Moments.behind(gates[layer], read) if layer < depth - 1 else None
        for later in range(layer + 1, depth):
            assert between is not None
            through = readings[later].of_two(between.traces, "rstu")
            cross = _contracted(backward[later][1], through)
            second = second + 2 * variances[layer] * variances[later] * cross
            if later < depth - 1:
                between = between.through(readings[later], gates[later], variances[later], kurtosis)
    return NTKMoments(mean, second - mean**2)


def _contracted(one: Tensor, other: Tensor) -> Tensor:
    return (one * other).sum((-1, -2, -3, -4))


@dataclass(frozen=True)
class _Moments:
    """Second moments of N over (channel, position), the sum over channels of a signal's products.

    N[(i, p), (j, q)] is z[i, p] z'[j, q] on the way up, the same of delta on the way down, and
    P K P'^T of what a network P makes of a kernel K between two layers. Each is (..., r, s, t, u).

    Attributes:
        traces: E sum_i N[(i, r), (i, s)] sum_j N[(j, t), (j, u)].
        squares: E sum_ij N[(i, r), (j, s)] N[(i, t), (j, u)].
        crossed: E sum_ij N[(i, r), (j, s)] N[(j, t), (i, u)].
        diagonal: E sum_i N[(i, r), (i, s)] N[(i, t), (i, u)].
    """

    traces: Tensor
    squares: Tensor
    crossed: Tensor
    diagonal: Tensor

    @classmethod
    def start(cls, overlap: Overlap) -> _Moments:
        """Of signals that no weight has touched."""
        return cls(
            _outer(overlap.both, overlap.both, "rs,tu"),
            _outer(overlap.left, overlap.right, "rt,su"),
            _outer(overlap.both, overlap.both, "ru,ts"),
            overlap.squares,
        )

    @classmethod
    def behind(cls, gate: Overlap, kernels: Tensor) -> _Moments:
        """Of one gate: N[(i, r), (i, s)] = D_i[r] D'_i[s] K[r, s]; given E K[r, s] K[t, u]."""
        same = gate.squares * kernels
        return cls(_outer(gate.both, gate.both, "rs,tu") * kernels, same, same, same)

    def through(
        self, reading: Reading, gate: Overlap, variance: float, kurtosis: float
    ) -> _Moments:
        """Through a layer of weights of this variance, then this gate.

        Of one row w of weights, E (w N w)[r, s] (w N w)[t, u] is variance^2 times the sum of three
        pairings, and of (kurtosis - 3) times the weights that are one and the same.
        """
        v, q = variance**2, gate.squares
        traces = reading.of_two(self.traces, "rstu")
        squares = reading.of_two(self.squares, "rtsu")
        crossed = reading.of_two(self.crossed, "rust")
        fourth = traces + squares + crossed
        if kurtosis != 3:
            fourth = fourth + (kurtosis - 3) * reading.of_four(self.diagonal)
        same = q * fourth
        return _Moments(
            v * ((_outer(gate.both, gate.both, "rs,tu") - q) * traces + same),
            v * ((_outer(gate.left, gate.right, "rt,su") - q) * squares + same),
            v * ((_outer(gate.both, gate.both, "ru,ts") - q) * crossed + same),
            v * same,
        )


def _outer(one: Tensor, other: Tensor, axes: str) -> Tensor:
    """Product (..., r, s, t, u) of two arrays of two of these axes each."""
    first, second = axes.split(",")
    return torch.einsum(f"...{first},...{second}->...rstu", one, other)


_Signal = tuple[Tensor, Tensor]
"""Of a signal's kernel K: E K, (n1, n2, P, P), and E K[r, s] K[t, u]."""


def _carried(
    mean: Tensor,
    moments: _Moments,
    gates: Sequence[Overlap],
    readings: Sequence[Reading],
    variances: Sequence[float],
    kurtosis: float,
) -> list[_Signal]:
    """A signal before the first of these layers, and behind the gate of each: A_0 ... A_{d-1}."""
    found = [(mean, moments.traces)]
    for gate, reading, variance in zip(gates, readings, variances, strict=True):
        mean = variance * gate.both * reading.of_pairs(mean)
        moments = moments.through(reading, gate, variance, kurtosis)
        found.append((mean, moments.traces))
    return found


def _backward(
    gates: Sequence[Overlap],
    readings: Sequence[Reading],
    variances: Sequence[float],
    kurtosis: float,
) -> list[_Signal]:
    """Of B_1 ... B_d; layer l's gates come with the weights of layer l + 1."""
    one = readings[-1].maps.new_ones(1, 1, 1, 1, 1, 1)
    start = _Moments(one, one, one, one)
    above = [reading.turned for reading in readings[:0:-1]]
    mean = one[..., 0, 0]
    return _carried(mean, start, gates[::-1], above, variances[:0:-1], kurtosis)[::-1]
