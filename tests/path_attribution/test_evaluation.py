"""Sums and maxima over the paths of a program.

- On random programs, totals of all three views and best prefixes are those of all paths listed.
- The blocks in which layers are evaluated do not matter.
"""

import math
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualview.path_attribution import evaluation
from dualview.path_attribution.evaluation import View, best_prefixes, each_total, log_magnitude
from dualview.path_attribution.steps import Gather, Input, Label, Part, Program, Sum, Weighted


def label(size, kind="map"):
    return Label("step", kind, (size,))


@st.composite
def programs(draw):
    """A few steps, each of earlier ones, with numbers that are 0 at times."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))

    def numbers(*shape):
        return np.where(rng.random(shape) < 0.2, 0.0, rng.normal(size=shape))

    channels, positions = draw(st.integers(1, 2)) * 2, draw(st.integers(1, 4))
    size = channels * positions
    steps = [Input(label(size, "input"), numbers(size))]
    for _ in range(draw(st.integers(1, 3))):
        source = draw(st.integers(0, len(steps) - 1))
        if draw(st.booleans()):
            groups, offsets = draw(st.sampled_from([1, 2])), draw(st.integers(1, 3))
            step = Weighted(
                label(size, "weights"),
                source,
                rng.integers(-1, positions, (offsets, positions)),
                numbers(groups, channels // groups, channels // groups * offsets),
                numbers(channels) if draw(st.booleans()) else None,
            )
        else:
            index = rng.integers(-1, positions, (positions, draw(st.integers(1, 3))))
            gather = Gather(channels, index, numbers(*index.shape) * (index >= 0))
            parts = (
                Part(source, gather if draw(st.booleans()) else None, numbers(size)),
                Part(draw(st.integers(0, len(steps) - 1))),
            )
            constant = numbers(size) if draw(st.booleans()) else None
            step = Sum(
                label(size), parts[: draw(st.integers(1, 2))], constant, bool(rng.integers(2))
            )
        steps.append(step)
    return Program(tuple(steps), len(steps) - 1, (1, size))


def listed(program, number, entry):
    """Contributions of every path that ends at an entry, from the definition of the steps."""
    step = program.steps[number]
    if isinstance(step, Input):
        return [step.values[entry]]
    found = []
    if isinstance(step, Weighted):
        positions, width = step.index.shape[1], step.weight.shape[1]
        channel, position = divmod(entry, positions)
        group, row = divmod(channel, width)
        weights = step.weight[group, row].reshape(step.inputs, -1)
        source_positions = program.steps[step.source].label.size // (step.groups * step.inputs)
        for c in range(step.inputs):
            for offset, read in enumerate(step.index[:, position]):
                if read >= 0:
                    at = (group * step.inputs + c) * source_positions + read
                    found += [weights[c, offset] * p for p in listed(program, step.source, at)]
        return found + ([] if step.bias is None else [step.bias[channel]])
    for part in step.parts:
        factor = 1.0 if part.factor is None else part.factor[entry]
        if part.gather is None:
            found += [factor * p for p in listed(program, part.source, entry)]
            continue
        block, row = divmod(entry, len(part.gather.index))
        size = program.steps[part.source].label.size // part.gather.blocks
        for read, often in zip(part.gather.index[row], part.gather.coefficients[row], strict=True):
            if read >= 0:
                at = block * size + read
                found += [factor * often * p for p in listed(program, part.source, at)]
    if step.constant is not None and (step.learnt or step.constant[entry] != 0):
        found.append(step.constant[entry])
    return found


@given(programs())
@settings(max_examples=80)
def test_totals_and_best_prefixes_are_those_of_all_paths(program):
    views = {view: list(each_total(program, view)) for view in get_args(View)}
    best = best_prefixes(program)
    for number, step in enumerate(program.steps):
        for entry in range(step.label.size):
            paths = listed(program, number, entry)
            expected = {
                "contribution": math.fsum(paths),
                "magnitude": math.fsum(map(abs, paths)),
                "count": len(paths),
            }
            for view, value in expected.items():
                assert views[view][number][entry] == pytest.approx(value, rel=1e-9, abs=1e-12)
            largest = max(map(abs, paths), default=0.0)
            assert math.exp(best[number][entry]) == pytest.approx(largest, rel=1e-12)


@given(programs())
@settings(max_examples=20)
def test_blocks_do_not_matter(program):
    expected, best = list(each_total(program, "contribution")), best_prefixes(program)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("CELLS", "TILE", "FEW_POSITIONS"):
            patch.setattr(evaluation, name, 1)
        for got, value in zip(each_total(program, "contribution"), expected, strict=True):
            np.testing.assert_allclose(got, value, rtol=1e-12, atol=1e-14)
        for got, value in zip(best_prefixes(program), best, strict=True):
            np.testing.assert_array_equal(got, value)


def test_log_magnitude_of_0():
    np.testing.assert_array_equal(log_magnitude(np.array([-1.0, 0.0])), [0.0, -np.inf])
