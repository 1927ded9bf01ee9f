"""Properties proved here: a library whose rule is broken is found by the statement of that rule.

1. Every breakage of the table below makes the statements named beside it fail.
2. Every rule's statement is named by some breakage, so that none is idle.
3. Every network of a rule is compared, and has a kernel that is not 0.
"""

import operator
from dataclasses import replace

import pytest
import torch
from torch import nn

from dualview.conversion.gates import apply_gate
from dualview.conversion.pooling import replay_switch
from dualview.conversion.weights_graph import one_row_of_ones
from dualview.experiments.theory import graph_rules
from dualview.experiments.theory.rule_networks import TRIED_RULES
from dualview.path_kernel import channel_rules, factor_rules, position_rules, rules, weight_rules
from tests.experiments.theory.checking import all_fail, sides_of


def _first(node, args, kwargs, setting):
    return args[0]


def _doubled(own):
    def rule(node, args, kwargs, setting):
        return factor_rules.scaled(node, own(node, args, kwargs, setting), 2.0)

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
        lambda total, pad, dims: own(total, lambda image: pad(image).roll(1, -1), dims),
    )


def _all_positions_meet(monkeypatch):
    own = weight_rules.diagonal_mean

    def broken(term, value):
        if not value.dims:
            return own(term, value)
        return weight_rules.channel_mean(term, value).mean(tuple(range(-2 * value.dims, 0)))

    monkeypatch.setattr(weight_rules, "diagonal_mean", broken)


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


def _first_part_twice(node, args, kwargs, setting):
    first, *_ = args[0]
    return channel_rules.concatenation(node, ([first, first], *args[1:]), kwargs, setting)


def _uncorrelated_forgotten(monkeypatch):
    own = graph_rules.sign_averages

    def broken(net, x, variances):
        found = own(net, x, variances)
        return replace(found, outputs=found.outputs + 1e-6)

    monkeypatch.setattr(graph_rules, "sign_averages", broken)


ADDITIONS = (operator.add, torch.add, "add")
POOLS = (nn.AvgPool2d, nn.AdaptiveAvgPool2d)

BREAKAGES = {
    "gates are ignored": (_replaced(apply_gate), ["gate", "hard-gate", "zero-padded"]),
    "soft gates where hard ones are asked for": (_soft_for_hard, ["hard-gate"]),
    "the order of gates is ignored": (_order_forgotten, ["permuted-gates"]),
    "the kernel forgets the data": (_input_without_data, ["input"]),
    "ones are data": (_replaced(one_row_of_ones), ["input-ones"]),
    "one branch of an addition": (
        _replaced(*ADDITIONS),
        ["addition", "identity-skip", "option-a", "residual"],
    ),
    "pools are doubled": (_twice(*POOLS), ["pooled-weights", "pooled-gate", "gap"]),
    "batch norm is ignored": (_replaced(nn.BatchNorm2d), ["batch-norm"]),
    "biases are ignored": (_without_biases, ["bias"]),
    "max pools read their first choice": (
        _replaced(replay_switch, by=_doubled(position_rules.max_pool_switch)),
        ["max-pool"],
    ),
    "concatenation of one part twice": (
        _replaced(torch.cat, by=_first_part_twice),
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
        _altered("channel_mean", lambda term, value, groups: (term, value, 1)),
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
