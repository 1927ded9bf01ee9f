"""What is learnt from a teacher: logits, labels and gates, each with its share.

1. The distance is temperature^2 KL, against its definition, and 0 for equal logits up to a shift.
2. Slopes grow by one factor an epoch, to the last; gates are fitted in the first epochs.
3. A share of 0 is the loss of the labels, of 1 the distance alone; other settings, another run.
"""

from dataclasses import replace

import pytest
import torch
from torch import nn

import dualview as dv
from dualview.conversion.gates import SoftGate
from dualview.errors import DualviewError
from dualview.training.distil_settings import DistilSettings
from dualview.training.teacher import Teacher, distance

SETTINGS = DistilSettings(share=0.25, temperature=3.0, fitting=0.5, final_beta=64.0)


def networks():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    return dv.disentangle(model, "dnn"), dv.disentangle(model, "dgn", gate=SoftGate(4), seed=0)


def test_distance():
    a, b = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
    p, q = torch.softmax(b / 3, 1), torch.softmax(a / 3, 1)
    expected = 9 * (p * (p / q).log()).sum(1).mean()
    torch.testing.assert_close(distance(a, b, 3.0), expected)
    assert float(distance(a, a + 7, 3.0)) == pytest.approx(0, abs=1e-6)


def test_slopes_and_fitting():
    teacher, net = Teacher(networks()[0], SETTINGS, 4.0), networks()[1]
    slopes = []
    for epoch in range(5):
        teacher.set_gates(net, epoch, 5)
        slopes.append(net.gate_functions[0].beta)
    assert slopes == pytest.approx([4, 8, 16, 32, 64])
    assert [teacher.fits_gates(epoch, 4) for epoch in range(4)] == [True, True, False, False]


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_shares(share):
    own, net = networks()
    teacher = Teacher(own, replace(SETTINGS, share=share), 4.0)
    x, of_labels = torch.randn(4, 3), torch.tensor(2.0)
    logits = net(x)
    found = teacher.loss(net, x, logits, of_labels, fitting=False)
    expected = share * distance(logits, own(x), 3.0) + (1 - share) * of_labels
    torch.testing.assert_close(found, expected)
    with_gates = teacher.loss(net, x, logits, of_labels, fitting=True)
    assert with_gates.detach() > found.detach()


def test_identity():
    own, _ = networks()
    one, other = (Teacher(own, settings, 4.0) for settings in (SETTINGS, DistilSettings()))
    assert one.identity != other.identity != Teacher(own, DistilSettings(), 5.0).identity
    assert not any(parameter.requires_grad for parameter in own.parameters())


@pytest.mark.parametrize(
    ("field", "value"),
    [("share", 1.1), ("share", -0.1), ("temperature", 0), ("fitting", 2), ("final_beta", -1)],
)
def test_settings_that_cannot_be_meant(field, value):
    with pytest.raises(DualviewError, match=f"^{field}: expected"):
        DistilSettings(**{field: value})
