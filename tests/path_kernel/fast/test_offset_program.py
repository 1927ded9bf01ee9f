"""Chains and programs over planes, and their plans.

Properties:
1. Planes that are alive at the same time never share memory, whatever the steps.
2. The scratch memory grows with the positions, not with their square, and not with the depth of a
   chain.
3. Offsets run through strides: factors multiply, and the reach is that of the smallest plane.
4. Averages over pooling windows and over all positions are scales of the steps.
5. What does not decompose is refused, with the reason.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualview.errors import PathKernelError
from dualview.path_kernel.fast.offset_program import (
    OUTPUT,
    OffsetProgram,
    Stage,
    Step,
    Window,
    plan,
)
from tests.path_kernel.fast.chains import ConvChain, ConvLayer

SAME = Window((3, 3), (1, 1, 1, 1))
HALF = Window((3, 3), (1, 1, 1, 1), (2, 2))
NONE = (0, 0, 0, 0)


def chain_of(*channels: int, size: int = 32, **options) -> ConvChain:
    return ConvChain(size, size, tuple(ConvLayer(c) for c in channels), **options)


@st.composite
def step_lists(draw: st.DrawFn) -> tuple[Step, ...]:
    """Steps of one image size; every plane is read at least once."""
    count = draw(st.integers(1, 8))
    steps: list[Step] = []
    for target in range(1, count + 1):
        steps.append(Step(draw(st.integers(0, target - 1)), target, SAME))
        if draw(st.booleans()):
            steps.append(Step(draw(st.integers(0, target - 1)), target, add=True))
    read = {step.source for step in steps}
    unread = [plane for plane in range(count + 1) if plane not in read]
    return (*steps, *(Step(plane, OUTPUT) for plane in unread))


@given(step_lists())
def test_planes_alive_together_never_share_memory(steps):
    """Replays the steps on memory in which every write leaves its plane's name."""
    stage = plan(OffsetProgram((4, 5), (), (Stage(steps),)), pairs=64).stages[0]
    names = [0, *dict.fromkeys(s.target for s in steps if s.target != OUTPUT)]
    memory = np.full(stage.blocks, -1)

    def place(name: int) -> slice:
        plane = stage.planes[names.index(name)]
        row = plane["width"] + plane["before"] + plane["after"]
        return slice(int(plane["start"]), int(plane["start"] + plane["height"] * row))

    memory[place(0)] = 0
    for step in steps:
        assert (memory[place(step.source)] == step.source).all()
        if step.target == OUTPUT:
            continue
        assert not step.add or (memory[place(step.target)] == step.target).all()
        memory[place(step.target)] = step.target
        assert (memory[place(step.source)] == step.source).all()
    assert (memory[: stage.zeros] == -1).all()


def test_scratch_memory_of_a_chain():
    blocks = [
        plan(chain_of(*[64] * depth, size=size).program(), pairs=64).stages[0].blocks
        for depth, size in ((2, 32), (10, 32), (10, 64))
    ]
    assert blocks[0] * 3 <= blocks[1] * 3 <= 10 * 34 * 34
    assert blocks[2] < 4.2 * blocks[1]


def test_offsets_run_through_strides():
    steps = (Step(0, 1, HALF), Step(1, 2, SAME), Step(2, OUTPUT, HALF))
    stage = plan(OffsetProgram((17, 18), (), (Stage(steps),)), pairs=64).stages[0]
    assert stage.planes["factor_y"].tolist() == [4, 2, 2, 1]
    assert stage.planes["height"].tolist() == [17, 9, 9, 5]
    assert stage.reach == (5, 5)
    valid = (Step(0, 1, Window((3, 3))), Step(1, OUTPUT, Window(padding=(5, 5, 5, 5))))
    assert plan(OffsetProgram((6, 7), (), (Stage(valid),)), pairs=64).stages[0].reach == (4, 5)
    circular = OffsetProgram((6, 8), (), (Stage((Step(0, OUTPUT, HALF),)),), circular=True)
    assert plan(circular, pairs=64).stages[0].reach == (3, 4)


def test_only_offsets_that_matter():
    layers = tuple(ConvLayer(4, pool=pool) for pool in ((2, 3), None))
    flat = ConvChain(8, 9, layers, head="flatten").program()
    assert [stage.reach for stage in plan(flat, pairs=64).stages] == [(2, 3), (1, 1)]
    average = ConvChain(8, 9, layers).program()
    assert [stage.reach for stage in plan(average, pairs=64).stages] == [(8, 9), (4, 3)]


def test_averages_are_scales():
    chain = ConvChain(8, 9, (ConvLayer(4, scale=0.5, pool=(2, 3)), ConvLayer(4, scale=0.25)))
    first, second = chain.program().stages
    assert first.pool == (2, 3)
    assert first.steps[0].scale == pytest.approx(0.5 / 6**2)
    assert second.steps[0].scale == pytest.approx(0.25 / 12**2)
    (_, flat) = replace(chain, head="flatten").program().stages
    assert flat.steps[0].scale == 0.25


def conv(channels: int, **options) -> ConvLayer:
    return ConvLayer(channels, **options)


REFUSED = {
    "does not fit": ConvChain(2, 2, (conv(4, padding=NONE),)),
    "circular padding needs": ConvChain(4, 4, (conv(4, padding=NONE),), circular=True),
    "do not tile": ConvChain(5, 4, (conv(4, pool=(2, 2)), conv(4)), circular=True),
    "more than 512 MB": ConvChain(96, 96, (conv(4, pool=(2, 2)), conv(4))),
    "at least 1": ConvChain(4, 4, (conv(4, stride=(0, 1)),)),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_chains_that_do_not_decompose(reason):
    with pytest.raises(PathKernelError, match=reason):
        plan(REFUSED[reason].program(), pairs=64)


PROGRAMS = {
    "two different strides": (
        Step(0, 1, SAME),
        Step(1, 2, HALF),
        Step(2, OUTPUT, Window((1, 1))),
        Step(1, OUTPUT, Window((3, 3), NONE)),
    ),
    "adds a plane": (Step(0, 1, SAME), Step(0, 1, Window((3, 3)), add=True), Step(1, OUTPUT)),
    "read before it is written": (Step(3, OUTPUT),),
    "written twice": (Step(0, 1), Step(0, 1), Step(1, OUTPUT)),
    "never read": (Step(0, 1), Step(0, OUTPUT)),
    "no step writes its output": (Step(0, 1),),
    "mask 5 does not exist": (Step(0, OUTPUT, mask=5),),
    "grow beyond": (
        Step(0, 1, Window((3, 3), NONE)),
        Step(1, 2, Window((3, 3), (2, 2, 2, 2))),
        Step(0, 2, SAME, add=True),
        Step(2, OUTPUT),
    ),
}


@pytest.mark.parametrize("reason", PROGRAMS)
def test_programs_that_do_not_decompose(reason):
    with pytest.raises(PathKernelError, match=reason):
        plan(OffsetProgram((5, 5), (), (Stage(PROGRAMS[reason]),)), pairs=64)
