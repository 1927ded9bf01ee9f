"""A run on meta tensors gives the shapes and types of a real one, and leaves the network alone."""

import torch
from torch import fx, nn

from dualview.conversion.shape_run import ShapeRun, on_meta


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 2, stride=2), nn.BatchNorm2d(4)
        self.scale = nn.Parameter(torch.ones(4, 1, 1))

    def forward(self, x):
        return (self.norm(self.conv(x)) * self.scale).flatten(1), x.mean((2, 3))


def test_shapes_and_types():
    module = fx.symbolic_trace(Model().double().eval())
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    for found, real in zip(ShapeRun(module).run(x), module(x), strict=True):
        assert (found.shape, found.dtype, found.device.type) == (real.shape, real.dtype, "meta")
    assert all(torch.equal(module.state_dict()[name], before[name]) for name in before)


def test_structures():
    found = on_meta({"x": (torch.ones(2), 3), "y": "text"})
    assert found["x"][0].device.type == "meta"
    assert (found["x"][1], found["y"]) == (3, "text")
