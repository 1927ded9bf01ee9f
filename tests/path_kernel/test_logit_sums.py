"""The error of the NTK of the sum of logits.

- It is that of the full kernel, written out from autograd's Jacobians, for any memory and option.
- It is 0 for one logit; it falls with width; what is between logits is a part of it.
- A network without open paths has no kernel to measure.
"""

import pytest
import torch
from torch import nn

import dualview as dv
from dualview.errors import PathKernelError
from dualview.path_kernel.logit_sums import sum_of_logits_error
from dualview.path_kernel.random_weights import draw_weights, kernel_network
from tests.cases import small_architecture, small_input


def written_out(net, x, biases=False):
    network = kernel_network(net, biases=biases).double()
    gates = [gate.detach().double() for gate in net.gates(x)]
    counted = [p for p in network.parameters() if biases or p.dim() > 1]
    rows = []
    for i in range(len(x)):
        out = network(x[i : i + 1].double(), *(gate[i : i + 1] for gate in gates))[0]
        for logit in out:
            found = torch.autograd.grad(logit, counted, retain_graph=True)
            rows.append(torch.cat([g.flatten() for g in found]))
    k = len(out)
    full = torch.stack(rows).view(len(x), k, -1)
    full = torch.einsum("iow,jpw->ijop", full, full)
    one = full.sum((2, 3)) / k
    missed = full - one[..., None, None] * torch.eye(k)
    between = full * (1 - torch.eye(k))
    return (missed.norm() / full.norm()).item(), (between.norm() / full.norm()).item(), k


@pytest.mark.parametrize("memory", [512e6, 60_000.0, 1.0])
@pytest.mark.parametrize(("name", "biases"), [("fc", False), ("c4gap", True)])
def test_written_out(name, biases, memory):
    net, x = dv.disentangle(small_architecture(name), "dgn", seed=0).eval(), small_input(name, 3)
    found = sum_of_logits_error(net, x, biases=biases, memory=memory)
    relative, between, logits = written_out(net, x, biases)
    assert found.relative == pytest.approx(relative)
    assert found.between == pytest.approx(between)
    assert found.logits == logits > 1


def wide(width, logits):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, logits))
    return dv.disentangle(model, "dgn", seed=0)


def test_width_and_one_logit():
    x = torch.randn(4, 4)
    assert sum_of_logits_error(wide(8, 1), x).relative == pytest.approx(0, abs=1e-6)
    narrow, broad = (sum_of_logits_error(wide(width, 5), x) for width in (8, 512))
    assert 0 < broad.relative < narrow.relative / 3
    assert 0 < broad.between < broad.relative
    other = draw_weights(wide(8, 5).weights_network, 3)
    assert sum_of_logits_error(wide(8, 5), x, weights=other) != narrow


def test_no_open_path():
    net = wide(3, 2)
    with pytest.raises(PathKernelError, match="open paths"):
        sum_of_logits_error(net, torch.zeros(2, 4), gates="hard")
