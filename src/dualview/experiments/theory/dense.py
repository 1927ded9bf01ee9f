"""Sections 4.1 and 4.2 of the theory: the kernels of fully connected networks."""

from __future__ import annotations

import itertools

import torch

from dualview.conversion.gated_network import GatedNetwork
from dualview.experiments.theory import closed_forms
from dualview.experiments.theory.models import (
    chain,
    convolutions,
    normal,
    scales,
    taken_apart,
    unequal_variances,
)
from dualview.experiments.theory.sign_average import sign_averages
from dualview.experiments.theory.statement import (
    DIFFERENT,
    Pair,
    Settings,
    Sides,
    Statement,
    entries,
)
from dualview.path_enumeration import recursive_npk
from dualview.path_kernel.features import npk_features
from dualview.path_kernel.kernel import expected_ntk, npk

DEPTHS = (2, 3, 4, 5, 6)
NETWORKS = {"DLGN, soft gates": ("dlgn", "soft"), "DGN, hard gates": ("dgn", "hard")}
VARIANCE = 0.3


# 4.1


def fully_connected(settings: Settings) -> Sides:
    """The library's kernel against the product of overlaps, for several depths and both gates."""
    pairs = []
    for (label, (kind, gate)), depth in itertools.product(NETWORKS.items(), DEPTHS):
        net = taken_apart(chain((6, *[16] * (depth - 1), 2)), kind, gate=gate)
        x = normal(5, 6)
        expected = closed_forms.fully_connected_npk(x, net.gates(x))
        pairs.append(Pair(npk(net, x, normalise=False), expected, label=f"{label}, depth {depth}"))
    return entries(pairs)


def constant_input(settings: Settings) -> Sides:
    """The same with the constant 1 as input of the weights network."""
    net = taken_apart(chain((6, 16, 16, 2)), "dgn", gate="hard", weights_input="ones")
    x = normal(5, 6)
    expected = closed_forms.fully_connected_npk(torch.ones_like(x), net.gates(x))
    return entries([Pair(npk(net, x, normalise=False), expected)])


def normalised(settings: Settings) -> Sides:
    """The normalised kernel: every factor divided by its width, the input's included."""
    widths = (6, 8, 12, 16)
    net = taken_apart(chain((*widths, 2)), "dgn", gate="hard")
    x = normal(5, 6)
    expected = closed_forms.input_products(x) / widths[0]
    for overlap, width in zip(closed_forms.overlaps(net.gates(x)), widths[1:], strict=True):
        expected = expected * (overlap / width)
    return entries([Pair(npk(net, x), expected)])


def permuted_layers(settings: Settings) -> Sides:
    """Every order of three gate layers against the formula for the order as built."""
    model, x = chain((6, 16, 16, 16, 2)).double(), normal(5, 6)
    expected = None
    pairs = []
    for order in itertools.permutations(range(3)):
        net = taken_apart(model, "dlgn", gate_order=order)
        if expected is None:
            expected = closed_forms.fully_connected_npk(x, net.gates(x))
        pairs.append(Pair(npk(net, x, normalise=False), expected, label=f"order {order}"))
    return entries(pairs)


def permuted_convolutions(settings: Settings) -> Sides:
    """Two orders of the gate layers of a convolutional network."""
    model, x = convolutions((2, 6, 6, 6), (1,), padding="zeros").double(), normal(4, 2, 4, 4)
    one, other = (taken_apart(model, "dlgn", gate_order=order) for order in ((0, 1, 2), (2, 0, 1)))
    return entries([Pair(npk(one, x, normalise=False), recursive_npk(other, x))])


# 4.2


def _tiny(outputs: int) -> GatedNetwork:
    """Three weight layers of 8 + 2 x outputs weights, soft gates."""
    return taken_apart(chain((2, 2, 2, outputs)), "dlgn")


def ntk_formula(settings: Settings) -> Sides:
    """The mean NTK over all signs against the formula."""
    net, x = _tiny(1), normal(4, 2)
    found = sign_averages(net, x, VARIANCE)
    kernel = closed_forms.fully_connected_npk(x, net.gates(x))
    expected = closed_forms.fully_connected_ntk(kernel, 3, VARIANCE)
    return Sides((Pair(found.tangents[0, 0], expected),), found.patterns, "sign patterns")


def ntk_library(settings: Settings) -> Sides:
    """The library's expected NTK against the formula, for several depths."""
    pairs = []
    for (label, (kind, gate)), depth in itertools.product(NETWORKS.items(), DEPTHS):
        net = taken_apart(chain((6, *[16] * (depth - 1), 2)), kind, gate=gate)
        x = normal(5, 6)
        kernel = closed_forms.fully_connected_npk(x, net.gates(x))
        expected = closed_forms.fully_connected_ntk(kernel, depth, VARIANCE)
        found = expected_ntk(net, x, c=scales(net, VARIANCE))
        pairs.append(Pair(found, expected, label=f"{label}, depth {depth}"))
    return entries(pairs)


def ntk_of_unequal_layers(settings: Settings) -> Sides:
    """The library's expected NTK against all signs, every layer of another variance."""
    net, x = _tiny(1), normal(4, 2)
    variances = unequal_variances(net)
    found = sign_averages(net, x, variances)
    pair = Pair(expected_ntk(net, x, c=scales(net, variances)), found.tangents[0, 0])
    return Sides((pair,), found.patterns, "sign patterns")


def covariance_formula(settings: Settings) -> Sides:
    """The mean of f f' over all signs against the formula."""
    net, x = _tiny(1), normal(4, 2)
    found = sign_averages(net, x, VARIANCE)
    kernel = closed_forms.fully_connected_npk(x, net.gates(x))
    expected = closed_forms.output_covariance(kernel, 3, VARIANCE)
    return Sides((Pair(found.outputs[0, 0], expected),), found.patterns, "sign patterns")


def covariance_sampled(settings: Settings) -> Sides:
    """The mean of f f' over normal weights against the formula."""
    depth, draws = 4, settings.draws(4000)
    net, x = taken_apart(chain((6, 16, 16, 16, 1)), "dgn", gate="hard"), normal(4, 6)
    outputs = npk_features(net, x, draws, seed=settings.seed, per_draw=1) * draws**0.5
    products = outputs[:, None] * outputs[None]  # (n, n, draws)
    kernel = closed_forms.fully_connected_npk(x, net.gates(x))
    # Features have weights of variance 1 / fan-in: 1/6 in the first layer, 1/16 in the others.
    expected = closed_forms.output_covariance(kernel, depth, 1 / 16) * (16 / 6)
    pair = Pair(products.mean(-1), expected, products.std(-1) / draws**0.5)
    return Sides((pair,), draws, "draws")


def output_blocks(settings: Settings) -> Sides:
    """Mean NTK and mean f f' between different outputs, over all signs."""
    net, x = _tiny(2), normal(4, 2)
    found = sign_averages(net, x, VARIANCE)
    pairs = tuple(
        Pair(blocks[0, 1], torch.zeros(4, 4), scale=float(blocks[0, 0].abs().max()), label=label)
        for label, blocks in (("E[NTK]", found.tangents), ("E[f f′]", found.outputs))
    )
    return Sides(pairs, found.patterns, "sign patterns")


ALL_SIGNS = "mean over all ±σ weights, by autograd"
NTK_SOURCE = "arXiv 2006.10529, theorem 5.1; exact at finite width: derived"

STATEMENTS = (
    Statement(
        name="fc-npk",
        section="4.1",
        title="NPK = ⟨x, x′⟩ ∏ ⟨Gₗ, G′ₗ⟩",
        text="Fully connected: the kernel is the product of the input’s inner product and of every "
        "gated layer’s overlap. Depths 2 to 6, hard and soft gates.",
        source="arXiv 2006.10529, section 3",
        left="dv.npk",
        right="the formula",
        compute=fully_connected,
    ),
    Statement(
        name="fc-ones",
        section="4.1",
        title="NPK = n ∏ ⟨Gₗ, G′ₗ⟩, constant-1 input",
        text="With a constant-1 input the number of inputs takes the place of ⟨x, x′⟩.",
        source="arXiv 2203.16455",
        left="dv.npk",
        right="the formula",
        compute=constant_input,
    ),
    Statement(
        name="fc-normalised",
        section="4.1",
        title="NPK / ∏ widths",
        text="The normalised kernel divides every factor by its width, that of the input included; "
        "widths 6, 8, 12, 16.",
        source="arXiv 2006.10529, section 3",
        left="dv.npk, normalised",
        right="the formula",
        compute=normalised,
    ),
    Statement(
        name="fc-permuted",
        section="4.1",
        title="NPK unchanged by gate order, dense",
        text="Fully connected: permuting gate layers of equal width leaves the kernel as it is.",
        source="arXiv 2110.03403",
        left="dv.npk, all six orders of three layers",
        right="the formula for the order as built",
        compute=permuted_layers,
    ),
    Statement(
        name="conv-permuted",
        section="4.1",
        title="NPK changed by gate order, convolution",
        text="Convolutions: patch sums interleave with gates, so the order of gate layers matters. "
        "The two sides must differ.",
        source="derived",
        left="dv.npk, layers as built",
        right="recursion over pairs of entries, order 3, 1, 2",
        compute=permuted_convolutions,
        comparison="differ",
        bound=DIFFERENT,
    ),
    Statement(
        name="ntk-signs",
        section="4.2",
        title="E[NTK] = d σ²⁽ᵈ⁻¹⁾ NPK",
        text="Gates fixed, independent weights of variance σ²: the expected NTK is d σ^(2(d−1)) "
        "times the NPK at every finite width, here width 2, with nothing left to chance.",
        source=NTK_SOURCE,
        left=ALL_SIGNS,
        right="the formula",
        compute=ntk_formula,
    ),
    Statement(
        name="ntk-library",
        section="4.2",
        title="E[NTK] = d σ²⁽ᵈ⁻¹⁾ NPK, dv.expected_ntk",
        text="The library’s expected NTK is that formula at depths 2 to 6, hard and soft gates.",
        source=NTK_SOURCE,
        left="dv.expected_ntk",
        right="the formula",
        compute=ntk_library,
    ),
    Statement(
        name="ntk-layers",
        section="4.2",
        title="E[NTK], a variance for each layer",
        text="Layers of different variances: each layer’s share of the NTK misses its own one.",
        source="derived",
        left="dv.expected_ntk",
        right=ALL_SIGNS,
        compute=ntk_of_unequal_layers,
    ),
    Statement(
        name="covariance-signs",
        section="4.2",
        title="E[f f′] = σ²ᵈ NPK",
        text="The second moment of the output over random weights is σ^(2d) times the NPK.",
        source="derived",
        left=ALL_SIGNS,
        right="the formula",
        compute=covariance_formula,
    ),
    Statement(
        name="covariance-drawn",
        section="4.2",
        title="E[f f′] = σ²ᵈ NPK, normal weights",
        text="The same for normal weights and hard gates, width 16, depth 4, by Monte Carlo.",
        source="derived",
        left="mean over independent draws",
        right="the formula",
        compute=covariance_sampled,
        comparison="mean",
    ),
    Statement(
        name="output-blocks",
        section="4.2",
        title="E[∂f₁ ∂f′₂] = E[f₁ f′₂] = 0",
        text="Between different outputs, expected NTK and second moment vanish. Errors are "
        "relative to the blocks of one output.",
        source="derived",
        left=ALL_SIGNS,
        right="0",
        compute=output_blocks,
    ),
)
