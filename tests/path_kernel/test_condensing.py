"""Terms that nobody can tell apart as one.

- Kernels are those of all terms apart, which other tests try: for few and many at once, gates
  before or after the addition, and where an earlier value is added again later.
- The number of terms stays bounded, whatever the depth.
"""

import pytest
import torch
from torch import nn

import dualview as dv
from dualview.path_kernel import condensing, propagate


class Residual(nn.Module):
    """Blocks whose gate follows the addition or does not; perhaps the first value at the end."""

    def __init__(self, blocks, after, again):
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(blocks))
        self.after, self.again = after, again
        self.last = nn.Linear(4, 2)

    def forward(self, x):
        first = h = self.first(x)
        for layer in self.layers:
            h = h + layer(torch.relu(h))
            h = torch.relu(h) if self.after else h
        return self.last(h + first if self.again else h)


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("after", [False, True])
def test_kernels_do_not_change(after, again, monkeypatch):
    net = dv.disentangle(Residual(5, after, again).double(), "dnn")
    x = torch.randn(4, 3, dtype=torch.float64)
    with monkeypatch.context() as patch:
        patch.setattr(propagate, "condensed", lambda value, *_: value)
        expected = dv.npk(net, x), dv.expected_ntk(net, x, biases=True)
    for most in (1, 3, condensing.MOST_TERMS):
        monkeypatch.setattr(condensing, "MOST_TERMS", most)
        torch.testing.assert_close(dv.npk(net, x), expected[0])
        torch.testing.assert_close(dv.expected_ntk(net, x, biases=True), expected[1])


@pytest.mark.parametrize("after", [False, True])
def test_the_number_of_terms_is_bounded(after, monkeypatch):
    most = 0
    own = propagate.condensed

    def counted(value, node, others):
        nonlocal most
        found = own(value, node, others)
        most = max(most, len(getattr(found, "terms", ())))
        return found

    monkeypatch.setattr(propagate, "condensed", counted)
    net = dv.disentangle(Residual(3 * condensing.MOST_TERMS, after, False).double(), "dnn")
    dv.npk(net, torch.randn(1, 3, dtype=torch.float64))
    assert most <= condensing.MOST_TERMS + 1
