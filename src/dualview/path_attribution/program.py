"""A program made for one example, and checked against the network itself."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor, fx

from dualview.conversion.normal_form import normal_call
from dualview.path_attribution.building import ProgramBuilder, Rule, refuse
from dualview.path_attribution.evaluation import each_total
from dualview.path_attribution.example import OneExample, output_node
from dualview.path_attribution.step_rules import RULES
from dualview.path_attribution.steps import Input, Label, Program


def program_of(example: OneExample) -> tuple[Program, np.ndarray]:
    """The weights network as steps, and the output's entries: the sums over all paths to them.

    Every step's value is compared with the one that the network itself computes, so that a rule
    that is wrong somewhere cannot pass unnoticed; neither is held longer than it is needed.

    Raises:
        UnsupportedOperationError: an operation has no rule.
        PathKernelError: the network returns several tensors.
    """
    program, builder = steps_of(example, RULES)
    checks: dict[int, list[tuple[fx.Node, float]]] = {}
    for node, step in builder.step_of.items():
        if node is not example.input_node and node.op != "placeholder":
            read = (_largest(builder.values[s].numpy()) for s in builder.sources(node))
            checks.setdefault(step, []).append((node, max(read, default=0.0)))
    output = np.empty(0)
    for step, value in enumerate(each_total(program, "contribution")):
        for node, largest in checks.pop(step, ()):
            _compare(node, value, builder.values.pop(node), largest)
        if step == program.output:
            output = value
    return program, output


def steps_of(example: OneExample, rules: Mapping[str, Rule]) -> tuple[Program, ProgramBuilder]:
    """The weights network as steps by these rules, and what they were made by; not checked.

    Raises:
        UnsupportedOperationError: an operation has no rule.
        PathKernelError: the network returns several tensors.
    """
    result = output_node(example.network)
    builder = ProgramBuilder(example)
    for node in builder.data_tensors():
        builder.step_of[node] = _step(node, builder, rules)
    return Program(tuple(builder.steps), builder.step_of[result], builder.shape(result)), builder


def _step(node: fx.Node, builder: ProgramBuilder, rules: Mapping[str, Rule]) -> int:
    if node.op == "placeholder":
        return _input(builder)
    rule = rules.get(normal_call(node).key)
    if rule is None:
        refuse(node, "there is no rule for it")
    return rule(node, builder)


def _input(builder: ProgramBuilder) -> int:
    x = builder.example.x
    values = np.ones(x.numel()) if builder.example.ones else x.reshape(-1).numpy().copy()
    return builder.add(Input(Label("input", "input", tuple(x.shape[1:])), values))


def _compare(node: fx.Node, got: np.ndarray, wanted: Tensor, read: float) -> None:
    """Refuse a value that is not the network's; `read`: the largest number that it is made of."""
    expected = wanted.reshape(-1).numpy()
    tolerance = 1e-6 * _largest(expected) + 1e-12 * read  # the latter where all cancels
    if got.shape != expected.shape or not _largest(got - expected) <= tolerance:
        refuse(node, "its value is not what its rule says")


def _largest(values: np.ndarray) -> float:
    return float(np.abs(values).max(initial=0.0))
