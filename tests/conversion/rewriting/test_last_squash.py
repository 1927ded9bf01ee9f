"""The squash that ends a model.

- Softmax, log-softmax and sigmoid at the end, in every spelling, go behind the weights network:
  `net(x)` is what the model gives, `net.logits(x)` what stands before the squash.
- Kernel and contributions are those of the model without its squash.
- Where the logits are given too, or moves follow the squash, it goes with them.
- A sigmoid in the middle is a gate.
- Of several outputs each gives its logits, in a tuple or by name, whatever stands beside them.
"""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import dualview as dv


class Headed(nn.Module):
    """dense, sigmoid, dense, `head`."""

    def __init__(self, head):
        super().__init__()
        self.a, self.b, self.head = nn.Linear(3, 5), nn.Linear(5, 2), head

    def forward(self, x):
        return self.head(self.b(torch.sigmoid(self.a(x))))


HEADS = {
    "nn.Softmax": lambda: nn.Softmax(1),
    "nn.LogSoftmax": lambda: nn.LogSoftmax(-1),
    "nn.Sigmoid": nn.Sigmoid,
    "F.softmax": lambda: lambda z: F.softmax(z, dim=1),
    "z.softmax": lambda: lambda z: z.softmax(-1),
    "torch.log_softmax": lambda: lambda z: torch.log_softmax(z, 1),
    "sigmoid, moved": lambda: lambda z: torch.sigmoid(z).unsqueeze(-1).flatten(1),
}


@pytest.mark.parametrize("given", [False, True], ids=["", "example_input"])
@pytest.mark.parametrize("name", HEADS)
def test_logits_and_outputs(name, given):
    torch.manual_seed(0)
    model = Headed(HEADS[name]()).double()
    x = torch.randn(6, 3, dtype=torch.float64)
    net = dv.disentangle(model, "dnn", example_input=x if given else None)
    logits = model.b(torch.sigmoid(model.a(x)))
    torch.testing.assert_close(net(x), model(x), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(net.logits(x), logits, rtol=1e-12, atol=1e-12)
    assert net.n_gates == 1


def test_views_speak_of_logits():
    torch.manual_seed(0)
    model, x = Headed(nn.Softmax(1)).double(), torch.randn(4, 3, dtype=torch.float64)
    bare = Headed(nn.Identity()).double()
    bare.load_state_dict(model.state_dict())
    ours, theirs = (dv.disentangle(m, "dnn") for m in (model, bare))
    torch.testing.assert_close(dv.npk(ours, x), dv.npk(theirs, x))
    parts = [dv.layer_contributions(net, x[:1], 1, layer=0) for net in (ours, theirs)]
    torch.testing.assert_close(parts[0].total, parts[1].total)


def test_logits_beside_probabilities():
    model = Headed(lambda z: (z.softmax(1), z)).double()
    x = torch.randn(6, 3, dtype=torch.float64)
    net = dv.disentangle(model, "dnn")
    for got, expected in zip(net(x), model(x), strict=True):
        torch.testing.assert_close(got, expected)


class TwoHeads(nn.Module):
    """As the networks of MTCNN: places, and the chances that there is something."""

    def __init__(self, outputs):
        super().__init__()
        self.a, self.places, self.scores = nn.Linear(3, 5), nn.Linear(5, 4), nn.Linear(5, 2)
        self.outputs = outputs

    def forward(self, x):
        h = torch.relu(self.a(x))
        return self.outputs(self.places(h), self.scores(h), h)


SEVERAL = {
    "a tuple": (lambda b, a, h: (b, a.softmax(1)), lambda b, a, h: (b, a)),
    "by name": (
        lambda b, a, h: {"places": b, "more": [torch.sigmoid(b), F.log_softmax(a, 1), h]},
        lambda b, a, h: {"places": b, "more": [b, a, h]},
    ),
    "one twice": (lambda b, a, h: (a, a.softmax(1)), lambda b, a, h: a),
}


@pytest.mark.parametrize("name", SEVERAL)
def test_of_several_outputs_each_gives_its_logits(name):
    torch.manual_seed(0)
    outputs, logits = SEVERAL[name]
    model, x = TwoHeads(outputs).double(), torch.randn(5, 3, dtype=torch.float64)
    net = dv.disentangle(model, "dnn", example_input=x[:2])
    torch.testing.assert_close(net(x), model(x), rtol=1e-12, atol=1e-12)
    model.outputs = logits
    torch.testing.assert_close(net.logits(x), model(x), rtol=1e-12, atol=1e-12)
