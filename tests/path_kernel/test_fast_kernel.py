"""Running a plan.

- A block of packed examples gives the kernel of those examples, with itself or with another.
- Tiles do not change a value, whatever the number of examples and wherever they stand.
"""

import pytest
import torch

import dualview as dv
from dualview.path_kernel import fast_kernel
from dualview.path_kernel.fast_kernel import kernel_of_packed, pack
from dualview.path_kernel.fast_plan import fast_plan
from dualview.path_kernel.rules import Setting
from tests.cases import small_architecture, small_input


@pytest.fixture(params=["fc", "gconv", "resnet20"])
def packed(request):
    net = dv.disentangle(small_architecture(request.param), "dlgn", gate="hard", seed=0)
    net, x = net.float().eval(), small_input(request.param, 41).float()
    plan = fast_plan(net, x, Setting(), "model")
    with torch.no_grad():
        return net, x, plan, pack(net, x, plan)


def test_blocks(packed):
    net, x, plan, examples = packed
    whole = kernel_of_packed(examples, None, plan) * plan.scale
    assert torch.equal(dv.npk(net, x), whole.triu() + whole.triu(1).mT)
    part = kernel_of_packed(examples[3:8], examples[5:40], plan) * plan.scale
    torch.testing.assert_close(part, dv.npk(net, x)[3:8, 5:40], rtol=1e-6, atol=0)


def test_tiles(packed, monkeypatch):
    _, _, plan, examples = packed
    whole = kernel_of_packed(examples, None, plan)
    monkeypatch.setattr(fast_kernel, "TILE", 16)
    assert torch.equal(kernel_of_packed(examples, None, plan).triu(), whole.triu())
