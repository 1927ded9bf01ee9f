"""The search for the best paths of a program.

- On random programs the k best paths of any entry are the k largest of all that are listed.
- Edges lead from the source to the output, and their factors multiply to the contribution.
- Work grows with k and depth, not with the number of paths: edges are looked at where paths pass.
"""

import itertools
import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dualview.path_attribution.search import CONSTANT, BestPaths
from dualview.path_attribution.steps import Input, Label, Program, Weighted
from tests.path_attribution.test_evaluation import listed, programs


def contribution(program, edges):
    start = edges[0]
    value = math.prod(edge.factor for edge in edges)
    if start.source != CONSTANT:
        source = program.steps[start.source]
        assert isinstance(source, Input)
        value *= source.values[start.entry]
    return value


@given(programs(), st.integers(1, 400), st.data())
@settings(max_examples=80)
def test_the_k_best_of_all_paths(program, k, data):
    size = program.steps[program.output].label.size
    entry = data.draw(st.integers(0, size - 1))
    found = list(BestPaths(program).find(entry, k))
    values = [contribution(program, edges) for edges in found]
    every = sorted(map(abs, listed(program, program.output, entry)), reverse=True)
    expected = [value for value in every if value > 0][:k]
    np.testing.assert_allclose([abs(v) for v in values], expected, rtol=1e-12)
    for edges in found:
        assert (edges[-1].step, edges[-1].at) == (program.output, entry)
        for earlier, later in itertools.pairwise(edges):
            assert (earlier.step, earlier.at) == (later.source, later.entry)


def test_work_follows_the_paths_that_are_found():
    rng = np.random.default_rng(0)
    width, depth, k = 30, 8, 25
    steps = [Input(Label("input", "input", (width,)), rng.normal(size=width))]
    for number in range(depth):
        weight = rng.normal(size=(1, width, width))
        steps.append(
            Weighted(Label(str(number), "weights", (width,)), number, np.zeros((1, 1), int), weight)
        )
    program = Program(tuple(steps), depth, (1, width))
    search = BestPaths(program)
    looked_at = []
    plain = search._edges
    search._edges = lambda step, at: looked_at.append((step, at)) or plain(step, at)
    found = list(search.find(3, k))
    passed = {(edge.step, edge.at) for edges in found for edge in edges}
    assert set(looked_at) == passed
    assert len(looked_at) == len(passed) <= k * depth
