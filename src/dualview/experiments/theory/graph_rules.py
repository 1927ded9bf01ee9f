"""Section 4.5 of the theory: the library's rules, each in a small network, against enumeration.

The independent side lists every path of the network, joins those that share all weights in bundles
and adds up products of their features; where there are too many paths it follows the second moments
of all pairs of (channel, position) entries. Neither shares code with the rules.
"""

from __future__ import annotations

import functools

from torch import nn

from dualview.experiments.theory.models import normal, scales, taken_apart, unequal_variances
from dualview.experiments.theory.rule_networks import TRIED_RULES, TriedRule
from dualview.experiments.theory.sign_average import sign_averages
from dualview.experiments.theory.statement import Pair, Settings, Sides, Statement, entries
from dualview.path_enumeration import (
    count_paths,
    enumerated_expected_ntk,
    enumerated_npk,
    recursive_expected_ntk,
    recursive_npk,
)
from dualview.path_kernel.kernel import expected_ntk, npk

FEW_PATHS = 4_000
"""Up to so many, paths are listed one by one."""
EXAMPLES = 3


def rule(settings: Settings, of: TriedRule) -> Sides:
    """The library's kernels against those of the enumeration, for every network of the rule."""
    pairs = []
    for label, factory in of.models.items():
        net = taken_apart(factory(), **{"kind": "dlgn", **of.converted})
        x = normal(EXAMPLES, *of.shape)
        few = count_paths(net, of.shape) <= FEW_PATHS
        by_hand = enumerated_npk if few else recursive_npk
        kernel = npk(net, x, normalise=False, **of.kernel)
        expected = by_hand(net, x, output=0, **of.kernel)
        pairs.append(Pair(kernel, expected, label=f"NPK{label and ', '}{label}"))
        if "batch_norm" in of.kernel:  # the expected NTK takes batch norm as the identity
            continue
        variances = unequal_variances(net)
        by_hand = enumerated_expected_ntk if few else recursive_expected_ntk
        tangent = expected_ntk(net, x, c=scales(net, variances), **of.kernel)
        expected = by_hand(net, x, output=0, variances=variances, **of.kernel)
        pairs.append(Pair(tangent, expected, label=f"E[NTK]{label and ', '}{label}"))
    return entries(pairs)


def uncorrelated_channels(settings: Settings) -> Sides:
    """Mean of z_i z'_j for different channels of one convolution's output, over all signs."""
    layers = [nn.Conv1d(1, 2, 2, bias=False), nn.ReLU(), nn.Conv1d(2, 2, 2, bias=False)]
    net, x = taken_apart(nn.Sequential(*layers, nn.Flatten()), "dlgn"), normal(3, 1, 3)
    found = sign_averages(net, x, 0.3)
    blocks, scale = found.outputs, float(found.outputs[0, 0].abs().max())
    pair = Pair(blocks[0, 1], 0 * blocks[0, 1], scale=scale)
    return Sides((pair,), found.patterns, "sign patterns")


def _statement(of: TriedRule) -> Statement:
    return Statement(
        name=of.name,
        section="4.5",
        title=of.title,
        text=of.text,
        source="derived",
        left="dv.npk" + ("" if "batch_norm" in of.kernel else " and dv.expected_ntk"),
        right=of.right,
        compute=functools.partial(rule, of=of),
    )


STATEMENTS = (
    Statement(
        name="channels",
        section="4.5",
        title="E[zᵢ z′ⱼ] = 0 for channels i ≠ j",
        text="Different channels are uncorrelated after the first weight layer, so that terms need "
        "no pairs of channels. Errors are relative to E[zᵢ z′ᵢ].",
        source="derived",
        left="mean over all ±σ weights",
        right="0",
        compute=uncorrelated_channels,
    ),
    *(_statement(of) for of in TRIED_RULES),
)
