"""What stands for a tensor answers what a tensor of any values would, and refuses the rest.

A refusal that the model's own code catches is one all the same, and names the line.
"""

import pytest
import torch
from torch import Tensor, nn

import dualview as dv
from dualview.errors import ConversionError

X = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))


class Asks(nn.Module):
    def __init__(self, question):
        super().__init__()
        self.fc, self.question = nn.Linear(3, 2), question

    def forward(self, x):
        return torch.relu(self.fc(2 * x if self.question(x) else 3 * x))


ANSWERED = {
    "isinstance": lambda x: isinstance(x, Tensor),
    "no module": lambda x: isinstance(x, nn.Module),
    "hasattr": lambda x: hasattr(x, "shape"),
    "no attribute": lambda x: hasattr(x, "logits"),
    "is_tensor": torch.is_tensor,
}


@pytest.mark.parametrize("question", ANSWERED)
def test_answered_as_a_tensor_would(question):
    model = Asks(ANSWERED[question])
    net = dv.disentangle(model, "dnn")
    torch.testing.assert_close(net(X), model(X))


def caught(x):
    try:
        return bool(x.sum() > 0)
    except Exception:
        return True


REFUSED = {
    "branch": lambda x: x.sum() > 0,
    "float": lambda x: float(x.sum()),
    "item": lambda x: x.max().item(),
    "caught": caught,
    "iterated": lambda x: list(x),
    "gradients": lambda x: x.requires_grad,
}


@pytest.mark.parametrize("question", REFUSED)
def test_refused(question):
    with pytest.raises(ConversionError, match=r"test_stand_in\.py"):
        dv.disentangle(Asks(REFUSED[question]), "dnn")
