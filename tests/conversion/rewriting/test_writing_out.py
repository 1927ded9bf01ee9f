"""Calls that stand for several steps are written out: the same numbers, and none is left."""

import pytest
import torch
from torch import fx, nn
from torch.nn import functional as F

from dualview.conversion.rewriting.writing_out import write_out
from dualview.conversion.tracing import trace

X = torch.randn(3, 4, 5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

SQUARE = torch.arange(25, dtype=torch.float64).view(5, 5) / 9


class Around(nn.Module):
    def __init__(self, step, module=None):
        super().__init__()
        self.conv, self.module, self.step = nn.Conv2d(4, 4, 1), module, step

    def forward(self, x):
        return self.step(self, torch.relu(self.conv(x)))


def of(module):
    return Around(lambda net, h: net.module(h), module)


CASES = {
    "GroupNorm": of(nn.GroupNorm(2, 4)),
    "InstanceNorm2d": of(nn.InstanceNorm2d(4, affine=True)),
    "RMSNorm": of(nn.RMSNorm(5)),
    "LocalResponseNorm": of(nn.LocalResponseNorm(3)),
    "GLU": of(nn.GLU(1)),
    "group_norm": Around(lambda net, h: F.group_norm(h, 2)),
    "normalize": Around(lambda net, h: F.normalize(h, dim=1)),
    "addmm": Around(lambda net, h: torch.addmm(h[:, 0, 0], h[:, 0, 1], SQUARE, beta=2, alpha=3)),
    "addmm, method": Around(lambda net, h: h[:, 0, 0].addmm(h[:, 0, 1], mat2=SQUARE)),
    "baddbmm": Around(lambda net, h: torch.baddbmm(h[:, 0], h[:, 1], SQUARE.expand(3, -1, -1))),
    "einsum": Around(lambda net, h: torch.einsum("n c i j, ncjd -> ncid", h.softmax(-1), h)),
    "einsum, values first": Around(
        lambda net, h: torch.einsum("ncjd,ncij->ncid", h, h.softmax(-1))
    ),
    "addcmul": Around(lambda net, h: torch.addcmul(h, h, h.sigmoid(), value=0.5)),
    "glu": Around(lambda net, h: F.glu(h, 1)),
}


@pytest.mark.parametrize(
    "equation",
    ["ncij,ncjd->ncdi", "ncij,cjd->ncid", "ij,jd->id", "ncij,ncjd->nid", "ncii,ncij->ncij"],
)
def test_other_sums_of_products_stay(equation):
    graph = fx.Graph()
    x = graph.placeholder("x")
    node = graph.call_function(torch.einsum, (equation, x, x))
    graph.output(node)
    write_out(fx.GraphModule(nn.Module(), graph), {x: "data", node: "data"})
    assert [n.target for n in graph.nodes][1:-1] == [torch.einsum]


@pytest.mark.parametrize("case", CASES)
def test_written_out(case):
    model = CASES[case].double().eval()
    traced = trace(model)
    value = traced.module(X)
    if traced.squash is not None:
        value = traced.squash(value)
    torch.testing.assert_close(value, model(X), rtol=1e-12, atol=1e-12)
    modules = [n.target for n in traced.graph.nodes if n.op == "call_module"]
    kinds = {type(traced.module.get_submodule(name)).__name__ for name in modules}
    called = {getattr(n.target, "__name__", "") for n in traced.graph.nodes}
    assert case not in kinds | called
    assert not any(m is model.conv for m in traced.module.modules()), "the model's own stays"
