"""The Triton kernel, where triton is installed, by its interpreter and by its compiler.

- A tile is that of the compiled loops: zero and circular padding, strides, windows of any shape,
  sums of branches, the mean over positions and equal positions, channels that fill several words;
  of a set with itself, too, and in pieces as small as they go.
- A network on a GPU has the kernel of the general rules (the device pretended).
- What has no step in it is left to the rules, with the reason; so is everything without triton.
- The programs compile for a GPU, where bits are counted by its own instruction.
"""

import logging
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import dualview as dv
from dualview.path_kernel.fast import kernel, reader
from dualview.path_kernel.fast.offset_program import (
    OUTPUT,
    OffsetProgram,
    Stage,
    Step,
    Window,
    plan,
)
from dualview.path_kernel.fast.tile import offset_tile, pack_gates
from tests.cases import relative_error
from tests.path_kernel.fast.chains import ConvChain, ConvLayer


@pytest.fixture(scope="module")
def rooms():
    pytest.importorskip("triton")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")  # read where the module is imported
        from dualview.path_kernel.fast import triton_tile

        yield triton_tile


SAME = Window((3, 3), (1, 1, 1, 1))
HALF = Window((1, 1), stride=(2, 2))
BLOCK = (
    Step(0, 1, SAME, mask=0),
    Step(1, 2, Window((3, 3), (1, 1, 1, 1), (2, 2)), mask=1),
    Step(2, 3, SAME, mask=2),
    Step(1, 3, HALF, scale=0.5, add=True),
    Step(3, OUTPUT, mask=3, scale=0.1),
    Step(2, OUTPUT, SAME, scale=0.1),
)
ODD = ConvLayer(40, (2, 1), (1, 0, 0, 0), (2, 1), (1, 1), 0.1)
PROGRAMS = {
    "chain": ConvChain(3, 2, (ConvLayer(5, scale=0.2), ConvLayer(70, scale=0.1))).program(),
    "circular": ConvChain(2, 3, (ConvLayer(5), ConvLayer(3)), circular=True).program(),
    "flatten": ConvChain(4, 3, (ConvLayer(5), ODD, ConvLayer(3)), head="flatten").program(),
    "block": OffsetProgram((3, 2), (5, 33, 4, 4), (Stage(BLOCK),)),
}


def side(program, n, rng):
    x = rng.standard_normal((n, 2, *program.size)).astype(np.float32)
    shapes = zip(program.channels, plan(program, 1).masks, strict=True)
    return x, [pack_gates(rng.random((n, c, *size)) < 0.6) for c, size in shapes]


@pytest.mark.parametrize("name", PROGRAMS)
def test_tiles_are_those_of_the_compiled_loops(name, rooms):
    program, rng = PROGRAMS[name], np.random.default_rng(0)
    left, right = side(program, 2, rng), side(program, 1, rng)
    got = rooms.triton_tile(*left, *right, program, "cpu", 1e3)
    np.testing.assert_allclose(got, offset_tile(*left, *right, program), rtol=1e-5, atol=1e-6)
    got = rooms.triton_tile(*left, None, None, program, "cpu", 1e9)
    np.testing.assert_allclose(got, offset_tile(*left, None, None, program), rtol=1e-5, atol=1e-6)


def chain(*between):
    first = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU())
    second = nn.Sequential(nn.Conv2d(3, 2, 3, padding=1), nn.ReLU())
    model = nn.Sequential(first, *between, second, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(model, nn.Linear(2, 1))


@pytest.fixture
def pretended(monkeypatch):
    for module in (kernel, reader):
        monkeypatch.setattr(module, "on_gpu", lambda device: True)


def test_networks(rooms, pretended, caplog):
    net = dv.disentangle(chain(), "dlgn", gate="hard", seed=0).eval()
    x = torch.randn(2, 1, 2, 2)
    exact = dv.npk(net.double(), x.double())
    with caplog.at_level(logging.DEBUG, "dualview"):
        assert relative_error(dv.npk(net.float(), x).double(), exact) < 1e-5
    assert "path kernel by the fast tile" in caplog.text


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (chain(nn.AvgPool2d(2)), "average pools between gates"),
        (nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1)), "dense layers"),
        (chain(nn.MaxPool2d(2)), "no plan by offsets"),
    ],
)
def test_what_is_left_to_the_rules(model, reason, rooms, pretended, caplog):
    net = dv.disentangle(model, "dgn", gate="hard", seed=0).eval()
    with caplog.at_level(logging.DEBUG, "dualview"):
        dv.npk(net, torch.randn(2, 1, 4, 4)[:, :, : 2 if "dense" in reason else 4, :2])
    assert f"examples are on a GPU: {reason}" in caplog.text


def test_without_triton(pretended, monkeypatch, caplog):
    found = reader.importlib.util.find_spec
    missing = lambda name: None if name == "triton" else found(name)  # noqa: E731
    monkeypatch.setattr(reader.importlib.util, "find_spec", missing)
    net = dv.disentangle(chain(), "dgn", gate="hard", seed=0).eval()
    with caplog.at_level(logging.DEBUG, "dualview"):
        dv.npk(net, torch.randn(2, 1, 2, 2))
    assert "triton is not installed" in caplog.text


COMPILED = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from dualview.path_kernel.fast import triton_tile as rooms

def compiled(function, kinds, constants):
    signature = {name: kinds.get(name, "constexpr") for name in function.arg_names}
    source = ASTSource(function, signature, constexprs=constants)
    return triton.compile(source, target=GPUTarget("cuda", 80, 32)).asm["ptx"]

arrays = dict.fromkeys(("planes", "sums", "xa", "xb"), "*fp32")
arrays |= {"ga": "*i32", "gb": "*i32", "pairs": "*i64", "scale": "fp32"}
arrays |= dict.fromkeys(("first", "source", "target"), "i32")
same = dict(HEIGHT=8, WIDTH=8, FACTOR_Y=1, FACTOR_X=1, SPAN_Y=15, SPAN_X=15, SIZE=64, BLOCK=128)
step = dict.fromkeys(("STRIDE_Y", "STRIDE_X", "DILATION_Y", "DILATION_X", "TOP", "LEFT"), 1)
step |= dict(KERNEL_Y=3, KERNEL_X=3, IN_HEIGHT=8, IN_WIDTH=8, WORDS=2)
compiled(rooms._input_plane, arrays, same | dict(CHANNELS=3, CIRCULAR=True))
for mode, circular in ((0, True), (1, False), (2, True)):
    constants = same | step | dict(MODE=mode, CIRCULAR=circular)
    assert "popc.b32" in compiled(rooms._step, arrays, constants)
"""


def test_it_compiles_for_a_gpu():
    pytest.importorskip("triton")
    command = [sys.executable, "-W", "ignore", "-c", COMPILED]
    env = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
