"""Running a plan.

- A block of packed examples gives the kernel of those examples, with itself or with another.
- A symmetric kernel is mirrored to the last bit, over tiles of any size.
- Tiles do not change a value, whatever the number of examples and wherever they stand.
"""

import math

import pytest
import torch

import dualview as dv
from dualview.path_kernel.fast import kernel as fast_kernel
from dualview.path_kernel.fast.kernel import kernel_of_packed, pack
from dualview.path_kernel.fast.reader import read_network
from dualview.path_kernel.setting import Setting
from tests.cases import small_architecture, small_input


@pytest.fixture(params=["fc", "gconv", "resnet20"])
def packed(request):
    net = dv.disentangle(small_architecture(request.param), "dlgn", gate="hard", seed=0)
    net, x = net.float().eval(), small_input(request.param, 41).float()
    plan = read_network(net, x, Setting(), "model")
    with torch.no_grad():
        return net, x, plan, pack(net, x, plan)


def kernel(left, right, plan):
    out = torch.zeros(len(left), len(left if right is None else right))
    kernel_of_packed(left, right, plan, out)
    return out


def scaled(kernel, plan):
    return (kernel.double() * math.exp(plan.log_scale / 2) ** 2).float()


def test_blocks(packed):
    net, x, plan, examples = packed
    whole = scaled(kernel(examples, None, plan), plan)
    assert torch.equal(dv.npk(net, x), whole.triu() + whole.triu(1).mT)
    part = scaled(kernel(examples[3:8], examples[5:40], plan), plan)
    torch.testing.assert_close(part, dv.npk(net, x)[3:8, 5:40], rtol=1e-6, atol=0)


def test_tiles(packed, monkeypatch):
    _, _, plan, examples = packed
    whole = kernel(examples, None, plan)
    monkeypatch.setattr(fast_kernel, "TILE", 16)
    assert torch.equal(kernel(examples, None, plan).triu(), whole.triu())


@pytest.mark.parametrize("size", [7, 40, 41, 64])
@pytest.mark.parametrize(("gates", "dtype"), [("hard", torch.float32), ("model", torch.float64)])
def test_mirrored_tiles(size, gates, dtype, monkeypatch):
    net = dv.disentangle(small_architecture("fc"), "dlgn", seed=0).to(dtype).eval()
    x = small_input("fc", 41).to(dtype)
    whole, extended = dv.npk(net, x, gates=gates), dv.expected_ntk(net, x, gates=gates)
    monkeypatch.setattr("dualview.path_kernel.kernel.TILE", size)
    assert torch.equal(whole, whole.mT)
    torch.testing.assert_close(dv.npk(net, x, gates=gates), whole, rtol=1e-6, atol=0)
    torch.testing.assert_close(dv.expected_ntk(net, x, gates=gates), extended, rtol=1e-6, atol=0)
