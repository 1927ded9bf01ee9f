"""Section 4.4 of the theory: a residual network is an ensemble of 2^b networks."""

from __future__ import annotations

import functools
import math

from torch import Tensor

from dualview.conversion.gated_network import GatedNetwork
from dualview.experiments.theory import closed_forms
from dualview.experiments.theory.models import Residual, normal, scales, taken_apart
from dualview.experiments.theory.sign_average import sign_averages
from dualview.experiments.theory.statement import Pair, Settings, Sides, Statement
from dualview.path_kernel.kernel import expected_ntk, npk

VARIANCE = 0.3
DEPTH = 2
BYPASSED = range(6)


def ensemble(settings: Settings, bypassed: int) -> Sides:
    """One pass of the library's rules against the sum over all 2^b networks."""
    net, x = taken_apart(Residual(bypassed, DEPTH, 3, 8), "dlgn"), normal(4, 3)
    members = _members(net, x, bypassed, DEPTH)
    kernel = sum((member for _, member in members), start=0 * members[0][1])
    pairs = (
        Pair(npk(net, x, normalise=False), kernel, label="NPK"),
        Pair(
            expected_ntk(net, x, c=scales(net, VARIANCE)),
            closed_forms.residual_ntk(members, DEPTH, VARIANCE),
            label="E[NTK]",
        ),
    )
    return Sides(pairs, len(members), "network" + ("s" if bypassed else ""))


def ensemble_over_signs(settings: Settings) -> Sides:
    """The mean NTK over all signs of a tiny residual network against the ensemble."""
    net, x = taken_apart(Residual(1, 1, 2, 2), "dlgn"), normal(4, 2)
    found = sign_averages(net, x, VARIANCE)
    expected = closed_forms.residual_ntk(_members(net, x, 1, 1), 1, VARIANCE)
    return Sides((Pair(found.tangents[0, 0], expected),), found.patterns, "sign patterns")


def _members(net: GatedNetwork, x: Tensor, bypassed: int, depth: int) -> list[tuple[int, Tensor]]:
    """Size of J and NPK_J of every network in the ensemble."""
    overlaps = closed_forms.overlaps(net.gates(x))
    one = overlaps[0].new_ones(overlaps[0].shape)
    blocks = [
        math.prod(overlaps[k * depth : (k + 1) * depth], start=one) for k in range(bypassed + 2)
    ]
    blocks[0] = blocks[0] * closed_forms.input_products(x)
    return closed_forms.ensemble(blocks)


def _statement(bypassed: int) -> Statement:
    count = 2**bypassed
    members = "one network" if count == 1 else f"{count} networks"
    return Statement(
        name=f"ensemble-{bypassed}",
        section="4.4",
        title=f"E[NTK] = Σ over J, b = {bypassed}: {members}",
        text=f"With {bypassed} skip connections, NPK and E[NTK] are sums over the {members} that "
        "keep a subset J of the bypassed blocks, each weighted by "
        "(|J| + 2) d σ^(2((|J| + 2) d − 1)); blocks of two layers.",
        source="arXiv 2110.03403, theorem 3",
        left="dv.npk and dv.expected_ntk, one pass",
        right="sum over every subset of blocks",
        compute=functools.partial(ensemble, bypassed=bypassed),
    )


STATEMENTS = (
    *(_statement(bypassed) for bypassed in BYPASSED),
    Statement(
        name="ensemble-signs",
        section="4.4",
        title="the same, E over all sign patterns",
        text="The theorem itself, with no kernel of the library on either side: one skip "
        "connection, blocks of one layer of two units.",
        source="arXiv 2110.03403, theorem 3; exact at finite width: derived",
        left="mean over all ±σ weights, by autograd",
        right="sum over every subset of blocks",
        compute=ensemble_over_signs,
    ),
)
