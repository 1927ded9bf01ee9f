"""In-place operations.

- A traced network computes what the model computes where in-place results are used under the old
  name, through `+=`, through shared in-place modules.
- A change that would have to travel through a view is refused.
"""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dualview.conversion.tracing import trace
from dualview.errors import UnsupportedOperationError


class Base(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.relu = nn.ReLU(inplace=True)


class OldName(Base):
    def forward(self, x):
        y = self.fc(x)
        F.relu_(y)
        return self.fc(y)


class SharedInPlaceModule(Base):
    def forward(self, x):
        y = self.fc(x)
        z = self.relu(y)
        return self.fc(self.relu(self.fc(z))) + y


class AugmentedAddition(Base):
    def forward(self, x):
        y = self.fc(x)
        kept = y
        y += x
        return torch.relu(kept) - y


class AugmentedScale(Base):
    def forward(self, x):
        y = self.fc(x)
        kept = y
        y *= 2
        y -= x
        y /= 3
        return torch.relu(kept) + y


class Methods(Base):
    def forward(self, x):
        y = self.fc(x)
        y.add_(x).mul_(2)
        y.relu_()
        return y


class ActivatedView(Base):
    def forward(self, x):
        y = self.fc(x).view(-1, 2, 2).flatten(1)
        y.relu_()
        return y


class InPlaceDropout(Base):
    def forward(self, x):
        y = self.relu(self.fc(x))
        F.dropout(y, 0.5, self.training, inplace=True)
        return y


class SizeOfEarlier(Base):
    """A size that was read before the change is no other name of the tensor."""

    def forward(self, x):
        number = x.size(0)
        y = self.fc(x)
        y.relu_()
        return self.fc(y.view(number, 2, 2).view(number, -1))


WORKING = [
    SizeOfEarlier,
    OldName,
    SharedInPlaceModule,
    AugmentedAddition,
    AugmentedScale,
    Methods,
    ActivatedView,
    InPlaceDropout,
]


@pytest.mark.parametrize("kind", WORKING, ids=lambda k: k.__name__)
def test_same_values(kind):
    model = kind().double().eval()
    x = torch.randn(3, 4, dtype=torch.float64)
    torch.testing.assert_close(trace(model).module(x.clone()), model(x.clone()))


class ViewSeesChange(Base):
    def forward(self, x):
        y = self.fc(x)
        view = y.view(-1, 2, 2)
        y.relu_()
        return view.flatten(1) + y


class ChangeThroughView(Base):
    def forward(self, x):
        y = self.fc(x)
        y[:, :2].relu_()
        return self.fc(y)


@pytest.mark.parametrize("kind", [ViewSeesChange, ChangeThroughView], ids=lambda k: k.__name__)
def test_change_seen_through_a_view_is_refused(kind):
    with pytest.raises(UnsupportedOperationError, match=r"relu.*another name \(a view\)"):
        trace(kind())


def test_change_of_a_buffer_is_refused():
    class Counts(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("seen", torch.zeros(1))

        def forward(self, x):
            self.seen.add_(1)
            return F.relu(x) + self.seen

    with pytest.raises(UnsupportedOperationError, match="own tensor 'seen' in place"):
        trace(Counts())
