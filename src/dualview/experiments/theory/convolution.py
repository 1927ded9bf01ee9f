"""Section 4.3 of the theory: circular convolutions, global average pooling, and rotations."""

from __future__ import annotations

import torch
from torch import Tensor

from dualview.conversion.gated_network import GatedNetwork
from dualview.experiments.theory import closed_forms
from dualview.experiments.theory.models import convolutions, normal, scales, taken_apart
from dualview.experiments.theory.sign_average import sign_averages
from dualview.experiments.theory.statement import DIFFERENT, Pair, Settings, Sides, Statement
from dualview.path_enumeration import recursive_npk
from dualview.path_kernel.kernel import expected_ntk, npk

KERNEL = 3
V_CV, V_FC = 0.3, 0.7


def invariance(settings: Settings) -> Sides:
    """The kernel with every rotation of x' against the kernel with x'."""
    net, x = taken_apart(convolutions((2, 8, 8), (1,)), "dlgn"), normal(3, 2, 4, 3)
    expected = recursive_npk(net, x)
    pairs = [
        Pair(npk(net, x, rotated, normalise=False), expected, label=f"rotation {r}")
        for r, rotated in enumerate(closed_forms.rotations(x))
    ]
    return Sides(tuple(pairs), len(pairs) * 9)


def broken_invariance(settings: Settings) -> Sides:
    """The same for one rotation under zero padding."""
    net = taken_apart(convolutions((2, 8, 8), (1,), padding="zeros"), "dlgn")
    x = normal(3, 2, 4, 3)
    shifted = npk(net, x, x.roll(1, 3), normalise=False)
    return Sides((Pair(shifted, recursive_npk(net, x)),), 9)


def kernel_from_rotations(settings: Settings) -> Sides:
    """The library's kernel against the sum over rotations of paths counted one by one."""
    pairs = []
    for label, dense in (("one dense layer", (1,)), ("two dense layers", (6, 1))):
        net = taken_apart(convolutions((2, 6, 6), dense), "dgn", gate="hard")
        x = _alive(net, 3)
        pairs.append(Pair(npk(net, x, normalise=False), _rotation_sums(net, x), label=label))
    return Sides(tuple(pairs), 2 * 9)


def ntk_from_rotations(settings: Settings) -> Sides:
    """The library's expected NTK against beta times that sum."""
    pairs = []
    for label, dense in (("one dense layer", (1,)), ("two dense layers", (6, 1))):
        net = taken_apart(convolutions((2, 6, 6), dense), "dgn", gate="hard")
        x = _alive(net, 3)
        beta = closed_forms.beta(2, len(dense), V_CV, V_FC)
        found = expected_ntk(net, x, c=scales(net, _variances(net)))
        pairs.append(Pair(found, beta * _rotation_sums(net, x), label=label))
    return Sides(tuple(pairs), 2 * 9)


def ntk_over_signs(settings: Settings) -> Sides:
    """The mean NTK over all signs of a tiny network against beta times the sum."""
    net, x = taken_apart(convolutions((1, 2, 1), (1,), dims=1), "dlgn"), normal(3, 1, 4)
    found = sign_averages(net, x, _variances(net))
    expected = closed_forms.beta(2, 1, V_CV, V_FC) * _rotation_sums(net, x)
    return Sides((Pair(found.tangents[0, 0], expected),), found.patterns, "sign patterns")


def _variances(net: GatedNetwork) -> dict[str, float]:
    return {
        name: V_CV if parameter.dim() > 2 else V_FC
        for name, parameter in net.weights_network.named_parameters()
    }


def _alive(net: GatedNetwork, n: int) -> Tensor:
    """Examples whose hard gates are not all closed in any layer."""
    while True:
        x = normal(n, 2, 3, 3)
        if all((gate.flatten(1).sum(1) > 0).all() for gate in net.gates(x)):
            return x


def _rotation_sums(net: GatedNetwork, x: Tensor) -> Tensor:
    """(1 / P^2) sum over rotations and input nodes, for all pairs: (n, n)."""
    first = _examples(net, x)
    rotated = [_examples(net, r) for r in closed_forms.rotations(x)]
    sums = [
        [closed_forms.rotation_sum(a, [r[j] for r in rotated], KERNEL) for j in range(len(x))]
        for a in first
    ]
    return torch.tensor(sums, dtype=torch.float64)


def _examples(net: GatedNetwork, x: Tensor) -> list[tuple[Tensor, ...]]:
    """Each example and its gates, without the batch axis."""
    values = (x, *(gate.detach() for gate in net.gates(x)))
    return list(zip(*values, strict=True))


STATEMENTS = (
    Statement(
        name="rotations",
        section="4.3",
        title="NPK(x, rot x′) = NPK(x, x′)",
        text="Circular padding, stride 1, global average pooling: the kernel does not change when "
        "one image is rotated, by any of the 12 shifts of a 4×3 image.",
        source="arXiv 2110.03403, theorem 2",
        left="dv.npk, x′ rotated",
        right="recursion over pairs of entries, x′ as is",
        compute=invariance,
    ),
    Statement(
        name="zero-padding",
        section="4.3",
        title="NPK(x, rot x′) ≠ NPK, zero padding",
        text="Zero padding breaks that invariance. The two sides must differ.",
        source="derived",
        left="dv.npk, x′ shifted by one column",
        right="recursion over pairs of entries, x′ as is",
        compute=broken_invariance,
        comparison="differ",
        bound=DIFFERENT,
    ),
    Statement(
        name="rotation-sum",
        section="4.3",
        title="NPK = P⁻² Σᵣ Σᵢ x rot(x′) overlap",
        text="The kernel is a sum over rotations r and input nodes i of x[i] rot(x′, r)[i] times "
        "the number of paths from i that are active for both images.",
        source="arXiv 2110.03403, theorem 2",
        left="dv.npk",
        right="paths counted offset by offset",
        compute=kernel_from_rotations,
    ),
    Statement(
        name="rotation-ntk",
        section="4.3",
        title="E[NTK] = β P⁻² Σᵣ Σᵢ x rot(x′) overlap",
        text="β = d_cv σ_cv^(2(d_cv−1)) σ_fc^(2 d_fc) + d_fc σ_cv^(2 d_cv) σ_fc^(2(d_fc−1)), for "
        "two convolutions and one or two dense layers, σ_cv and σ_fc different.",
        source="arXiv 2110.03403, theorem 2",
        left="dv.expected_ntk",
        right="β times the paths counted",
        compute=ntk_from_rotations,
    ),
    Statement(
        name="rotation-signs",
        section="4.3",
        title="the same, E over all sign patterns",
        text="The theorem itself, with no kernel of the library on either side: 1-D images of four "
        "positions, two convolutions, one dense layer.",
        source="arXiv 2110.03403, theorem 2; exact at finite width: derived",
        left="mean over all ±σ weights, by autograd",
        right="β times the paths counted",
        compute=ntk_over_signs,
    ),
)
