"""Properties proved here: a library whose rule is broken is found by the statement of that rule.

1. Every breakage of the table below makes the statements named beside it fail.
2. Every rule's statement is named by some breakage, so that none is idle.
3. Every network of a rule is compared, and has a kernel that is not 0.
"""

from dataclasses import replace

import pytest

from dualview.experiments.theory import graph_rules
from dualview.experiments.theory.rule_networks import TRIED_RULES
from dualview.path_kernel import (
    addition_rules,
    contraction,
    factor_rules,
    position_rules,
    rules,
    weight_rules,
)
from tests.experiments.theory.checking import all_fail, sides_of


def _first(node, call, setting):
    return call["input"]


def _doubled(own):
    def rule(node, call, setting):
        return factor_rules.times(node, own(node, call, setting), 2.0)

    return rule


def _replaced(*targets, by=_first):
    def apply(monkeypatch):
        for target in targets:
            monkeypatch.setitem(rules.RULES, target, by)

    return apply


def _twice(*targets):
    def apply(monkeypatch):
        for target in targets:
            monkeypatch.setitem(rules.RULES, target, _doubled(rules.RULES[target]))

    return apply


def _altered(name, change):
    """A helper of the rules whose arguments are changed first."""

    def apply(monkeypatch):
        own = getattr(weight_rules, name)
        monkeypatch.setattr(weight_rules, name, lambda *args: own(*change(*args)))

    return apply


def _without_biases(monkeypatch):
    own = weight_rules._weight_term
    monkeypatch.setattr(
        weight_rules, "_weight_term", lambda *a: own(*a[:-1], replace(a[-1], bias_variance=None))
    )


def _padding_shifted(monkeypatch):
    own = weight_rules.apply_map
    monkeypatch.setattr(
        weight_rules,
        "apply_map",
        lambda total, pad, dims: own(total, lambda array: pad(array).roll(1, -1), dims),
    )


def _all_positions_meet(monkeypatch):
    own = contraction.diagonal_mean

    def broken(term):
        dims = len(term.layout.positions)
        if not dims:
            return own(term)
        return contraction.channel_mean(term)[:, :, :, 0].mean(tuple(range(-2 * dims, 0)))

    monkeypatch.setattr(contraction, "diagonal_mean", broken)


def _no_ntk(monkeypatch):
    own = graph_rules.expected_ntk
    monkeypatch.setattr(graph_rules, "expected_ntk", lambda *a, **o: own(*a, **o) * 1.0001)


def _input_without_data(monkeypatch):
    own = graph_rules.npk
    monkeypatch.setattr(graph_rules, "npk", lambda net, x, **o: own(net, x.abs() + 1, **o))


def _soft_for_hard(monkeypatch):
    own = graph_rules.npk

    def broken(net, x, **options):
        return own(net, x, **{**options, "gates": "model"})

    monkeypatch.setattr(graph_rules, "npk", broken)


def _order_forgotten(monkeypatch):
    own = graph_rules.npk

    def broken(net, x, **options):
        order, net.gate_order = net.gate_order, tuple(sorted(net.gate_order))
        kernel = own(net, x, **options)
        net.gate_order = order
        return kernel

    monkeypatch.setattr(graph_rules, "npk", broken)


def _first_part_twice(node, call, setting):
    first, *_ = call["tensors"]
    twice = replace(call, arguments={**call.arguments, "tensors": [first, first]})
    return addition_rules.concatenation(node, twice, setting)


def _uncorrelated_forgotten(monkeypatch):
    own = graph_rules.sign_averages

    def broken(net, x, variances):
        found = own(net, x, variances)
        return replace(found, outputs=found.outputs + 1e-6)

    monkeypatch.setattr(graph_rules, "sign_averages", broken)


POOLS = ("average pool", "adaptive average pool")

BREAKAGES = {
    "gates are ignored": (_replaced("gate"), ["gate", "hard-gate", "zero-padded"]),
    "soft gates where hard ones are asked for": (_soft_for_hard, ["hard-gate"]),
    "the order of gates is ignored": (_order_forgotten, ["permuted-gates"]),
    "the kernel forgets the data": (_input_without_data, ["input"]),
    "ones are data": (_replaced("ones"), ["input-ones"]),
    "one branch of an addition": (
        _replaced("add"),
        ["addition", "identity-skip", "option-a", "residual"],
    ),
    "pools are doubled": (_twice(*POOLS), ["pooled-weights", "pooled-gate", "gap"]),
    "batch norm is ignored": (_replaced("batch norm"), ["batch-norm"]),
    "biases are ignored": (_without_biases, ["bias"]),
    "max pools read their first choice": (
        _replaced("switch", by=_doubled(position_rules.max_pool_switch)),
        ["max-pool"],
    ),
    "concatenation of one part twice": (
        _replaced("cat", by=_first_part_twice),
        ["concatenation"],
    ),
    "padding is shifted": (_padding_shifted, ["zero-padded", "circular"]),
    "dilated windows start one later": (
        _altered(
            "window_sum",
            lambda t, kernel, stride, dilation: (
                t.roll(1, -1) if max(dilation) > 1 else t,
                kernel,
                stride,
                dilation,
            ),
        ),
        ["dilation"],
    ),
    "stride starts one later": (
        _altered(
            "window_sum",
            lambda t, kernel, stride, dilation: (
                t.roll((-1, -1), (-2, -1)) if max(stride) > 1 else t,
                kernel,
                stride,
                dilation,
            ),
        ),
        ["stride"],
    ),
    "groups are ignored": (
        _altered("mean_along", lambda value, axis, groups=1: (value, axis)),
        ["grouped"],
    ),
    "all positions meet": (_all_positions_meet, ["flatten"]),
    "the expected NTK is off by a ten-thousandth": (_no_ntk, ["architectures", "residual"]),
    "channels are correlated": (_uncorrelated_forgotten, ["channels"]),
}


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_broken_rules_are_found(monkeypatch, breakage):
    apply, names = BREAKAGES[breakage]
    apply(monkeypatch)
    assert all_fail(*names)


def test_no_statement_is_idle():
    named = {name for _, names in BREAKAGES.values() for name in names}
    assert {statement.name for statement in graph_rules.STATEMENTS} <= named


@pytest.mark.parametrize("of", TRIED_RULES, ids=lambda of: of.name)
def test_every_network_is_compared(of):
    sides = sides_of(of.name)
    kernels = 1 if "batch_norm" in of.kernel else 2
    assert len(sides.pairs) == kernels * len(of.models)
    assert all(pair.right.abs().max() > 1e-6 for pair in sides.pairs)
