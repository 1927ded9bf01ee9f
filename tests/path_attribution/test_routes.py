"""Every path is listed once.

- Where fixed maps meet again (pools whose windows overlap, pools added to what they pool, sums of a
  value and its own moved copy, chosen max pools), the paths listed are all of them, each once, with
  the sum over their routes, as an oracle lists them; biases that start before such maps too.
- The sums over all paths stay what they were, and programs without such maps stay as they are.
"""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import dualview as dv
from dualview.path_attribution.evaluation import output_total
from dualview.path_attribution.example import one_example
from dualview.path_attribution.program import program_of
from dualview.path_attribution.routes import one_route_each
from dualview.path_attribution.steps import Input, Sum
from tests.path_attribution.listed import assert_same_paths, centred


class Meeting(nn.Module):
    """A layer of one channel, a gate, the maps under test, and a dense layer."""

    def __init__(self, maps):
        super().__init__()
        self.maps = maps
        self.conv, self.second = nn.Conv2d(1, 1, 2), nn.Conv2d(1, 1, 1)
        self.norm = nn.BatchNorm2d(1)
        self.gamma = nn.Parameter(torch.full((1, 1, 1), 0.5))
        self.head = nn.LazyLinear(2)

    def forward(self, x):
        return self.head(self.maps(self, F.leaky_relu(self.conv(x), 0.1)).flatten(1))


MEETINGS = {
    "adaptive pools": lambda m, h: F.adaptive_avg_pool2d(F.adaptive_avg_pool2d(h, (2, 3)), (1, 2)),
    "overlapping pools": lambda m, h: F.avg_pool2d(F.avg_pool2d(h, 2, 1), 2, 1),
    "three pools": lambda m, h: F.avg_pool2d(F.avg_pool2d(F.avg_pool2d(h, 3, 1, 1), 2, 1), 2, 1),
    "pool and mean": lambda m, h: F.avg_pool2d(h, 2, 1, 1).mean((2, 3)),
    "two pools of one value": lambda m, h: (
        F.avg_pool2d(h, 3, 1, 1) + F.avg_pool2d(h, (1, 3), 1, (0, 1))
    ),
    "pool and what it pools": lambda m, h: F.avg_pool2d(h, 3, 1, 1) - 2 * h,
    "value and its multiple": lambda m, h: h + 3 * h,
    "moved copy": lambda m, h: (h + h.roll(1, 3)) + (h + h.roll(1, 3)).roll(-1, 3),
    "upsampled and pooled": lambda m, h: F.avg_pool2d(F.interpolate(h, scale_factor=2), 2),
    "joined and pooled": lambda m, h: F.avg_pool2d(torch.cat([h, h], 3), (1, 4), (1, 2)),
    "max pools that choose one": lambda m, h: F.avg_pool2d(F.max_pool2d(h, 2, 1), 2, 1),
    "bias before pools": lambda m, h: F.avg_pool2d(F.avg_pool2d(m.second(h), 2, 1), 2, 1),
    "constant before pools": lambda m, h: F.avg_pool2d(F.avg_pool2d(h + 0.5, 2, 1), 2, 1),
    "constant between pools": lambda m, h: F.avg_pool2d(F.avg_pool2d(h, 2, 1) - 1, 2, 1),
    "norm between pools": lambda m, h: F.avg_pool2d(m.norm(F.avg_pool2d(h, 2, 1)), 2, 1),
    "scale between pools": lambda m, h: F.avg_pool2d(m.gamma * F.avg_pool2d(h, 2, 1), 2, 1),
    "pools that do not meet": lambda m, h: F.avg_pool2d(F.avg_pool2d(h, (1, 3)), (2, 1), 1),
}


def ready(name, max_pool="switch"):
    torch.manual_seed(0)
    model = Meeting(MEETINGS[name]).double()
    x = torch.randn(1, 1, 4, 4, dtype=torch.float64)
    with torch.no_grad():
        model(x)
    return dv.disentangle(centred(model), "dnn", max_pool=max_pool).eval(), x


@pytest.mark.parametrize("name", MEETINGS)
def test_every_path_once(name):
    net, x = ready(name)
    assert_same_paths(net, x)


@pytest.mark.parametrize("name", MEETINGS)
def test_sums_over_paths_stay(name):
    net, x = ready(name)
    program, output = program_of(one_example(net, x))
    joined = one_route_each(program)
    np.testing.assert_allclose(output_total(joined, "contribution")[0], output, rtol=1e-12)
    before, after = (output_total(p, "count")[0] for p in (program, joined))
    assert (after <= before).all()
    assert (after < before).any() == (name not in ("pools that do not meet", "scale between pools"))


def test_a_program_without_meetings_stays():
    model = nn.Sequential(
        nn.Conv2d(1, 2, 2), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(2, 2)
    )
    program, _ = program_of(one_example(dv.disentangle(model), torch.randn(1, 3, 3)))
    joined = one_route_each(program)
    assert len(joined.steps) == len(program.steps)
    for old, new in zip(program.steps, joined.steps, strict=True):
        if isinstance(old, Sum):
            assert [p.gather for p in new.parts] == [p.gather for p in old.parts]
        elif isinstance(old, Input):
            assert new is old
