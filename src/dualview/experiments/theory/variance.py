"""Section 8 of the theory: the variance of the NTK at finite width, gates held."""

from __future__ import annotations

from torch import nn

from dualview.experiments.theory.models import (
    chain,
    convolutions,
    normal,
    scales,
    taken_apart,
    unequal_variances,
)
from dualview.experiments.theory.sign_average import sign_averages
from dualview.experiments.theory.statement import Pair, Settings, Sides, Statement
from dualview.path_kernel.concentration import ntk_variance
from dualview.path_kernel.ntk_draws import ntk_spread


def over_signs(settings: Settings) -> Sides:
    """The closed form, for weights of kurtosis 1, against all signs; each layer has its own."""
    pairs, patterns = [], 0
    for label, model, shape in (
        ("dense", chain((2, 2, 2, 1)), (2,)),
        ("circular convolutions, GAP", convolutions((1, 2, 1), (1,), dims=1), (1, 4)),
    ):
        net, x = taken_apart(model, "dlgn"), normal(3, *shape)
        variances = unequal_variances(net)
        found = sign_averages(net, x, variances)
        expected = (found.tangent_squares - found.tangents**2)[0, 0]
        got = ntk_variance(net, x, c=scales(net, variances), kurtosis=1.0)
        pairs.append(Pair(got, expected, label=label))
        patterns += found.patterns
    return Sides(tuple(pairs), patterns, "sign patterns")


def drawn(settings: Settings) -> Sides:
    """The variance of drawn NTKs against the closed form, for normal weights."""
    draws = settings.draws(4500)
    strided = nn.Conv2d(2, 12, 3, stride=2, padding=1, bias=False)
    pooled = nn.Sequential(
        strided, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), chain((12, 1))
    )
    pairs = []
    for label, model, kind, shape in (
        ("dense, depth 3", chain((6, 24, 24, 1)), "dgn", (6,)),
        ("convolutions, zero padding", convolutions((2, 8, 8), (1,), "zeros"), "dlgn", (2, 3, 3)),
        ("a strided convolution, GAP", pooled, "dgn", (2, 4, 4)),
    ):
        net, x = taken_apart(model, kind, gate="hard"), normal(2, *shape)
        found = ntk_spread(net, x, draws=draws, seed=settings.seed)
        pair = Pair(found.variance, ntk_variance(net, x), found.variance_error, label=label)
        pairs.append(pair)
    return Sides(tuple(pairs), 3 * draws, "draws")


STATEMENTS = (
    Statement(
        name="variance-signs",
        section="width",
        title="Var[NTK] in closed form, all signs",
        text="Gates fixed, independent weights: how far the NTK of one draw is from its mean "
        "follows from the gates alone, at every width. Weights of ±σ, each layer of its own σ; "
        "dense layers, and circular convolutions with global average pooling.",
        source="derived",
        left="dv.ntk_variance, kurtosis 1",
        right="variance over all ±σ weights, by autograd",
        compute=over_signs,
    ),
    Statement(
        name="variance-drawn",
        section="width",
        title="Var[NTK] in closed form, normal weights",
        text="The same for normal weights and hard gates, against the variance of drawn NTKs: "
        "dense layers, zero padding, strides.",
        source="derived",
        left="variance over draws, dv.ntk_spread",
        right="dv.ntk_variance",
        compute=drawn,
        comparison="mean",
    ),
)
