"""The examples on axis 0, where a model puts another axis before them.

- Branches that are stacked before the examples and summed have the kernel of their sum.
- In every spelling the network is the model's, no axis of the examples is moved, and the kernel is
  that of the same attention with the pieces split in place.
- What else reads such a permutation keeps it, and the kernel says what it is.
"""

import pytest
import torch
from torch import nn

import dualview as dv
from dualview.conversion.spellings import key_at
from dualview.errors import PathKernelError

X = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class Attention(nn.Module):
    """Two heads of two features over three tokens; `split` takes (n, t, 3, heads, d) apart."""

    def __init__(self, split):
        super().__init__()
        self.qkv, self.out, self.head = nn.Linear(4, 12), nn.Linear(4, 4), nn.Linear(4, 2)
        object.__setattr__(self, "split", split)

    def forward(self, x):
        q, k, v = self.split(self.qkv(x).unflatten(-1, (3, 2, 2)))
        mixed = (q @ k.mT).softmax(-1) @ v
        return self.head(torch.relu(self.out(mixed.transpose(1, 2).flatten(2))).mean(1))


def in_place(h):
    return [part.squeeze(2).transpose(1, 2) for part in h.chunk(3, 2)]


def one_by_one(h):
    return h[0], h[1], h[-1]


SPLITS = {
    "unbind": lambda h: h.permute(2, 0, 3, 1, 4).unbind(0),
    "function": lambda h: torch.unbind(torch.permute(h, (2, 0, 3, 1, 4))),
    "negative axes": lambda h: h.permute(-3, 0, -2, 1, -1).unbind(0),
    "numbers": lambda h: [h.permute(2, 0, 3, 1, 4)[k] for k in range(3)],
    "one permutation": lambda h: one_by_one(h.permute(2, 0, 3, 1, 4)),
    "select": lambda h: [h.permute(2, 0, 3, 1, 4).select(0, k) for k in range(3)],
    "nothing else moves": lambda h: [p.transpose(1, 2) for p in h.permute(2, 0, 1, 3, 4).unbind(0)],
}


def network(split):
    torch.manual_seed(1)
    model = Attention(split).double().eval()
    net = dv.disentangle(model, "dnn", example_input=X).eval()
    torch.testing.assert_close(net(X), model(X), rtol=1e-12, atol=1e-12)
    return net


@pytest.mark.parametrize("name", SPLITS)
def test_the_examples_stay_in_their_place(name):
    net = network(SPLITS[name])
    for node in net.weights_network.graph.nodes:
        if key_at(node) == "permute":
            assert next(iter(node.args[1])) == 0
    torch.testing.assert_close(dv.npk(net, X), dv.npk(network(in_place), X), rtol=1e-12, atol=0)


SUMS = {
    "plain": lambda a, b: a + b,
    "sum": lambda a, b: torch.stack([a, b]).sum(0),
    "mean": lambda a, b: 2 * torch.stack((a, b), dim=0).mean(dim=0),
    "both": lambda a, b: (lambda s: 0.5 * s.sum(0) + s.mean((0,)))(torch.stack([a, b])),
}


@pytest.mark.parametrize("name", SUMS)
def test_stacked_branches_that_are_summed(name):
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.last = nn.Linear(4, 3), nn.Linear(4, 3), nn.Linear(3, 2)

        def forward(self, x):
            h = SUMS[name](torch.relu(self.one(x)), torch.relu(self.two(x)))
            return self.last(h.mean(1))

    torch.manual_seed(2)
    model = Branches().double()
    net = dv.disentangle(model, "dnn").eval()
    torch.testing.assert_close(net(X), model(X), rtol=1e-12, atol=1e-12)
    expected = 0.0
    for gate in net.gates(X):  # of dense layers at every token, averaged
        overlap = torch.einsum("apk,bqk->apbq", gate, gate)
        expected = expected + (torch.einsum("apk,bqk->apbq", X, X) * overlap).mean((1, 3))
    torch.testing.assert_close(dv.npk(net, X, normalise=False), expected, rtol=1e-12, atol=0)


def test_other_uses_keep_the_permutation():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(4, 6), nn.Linear(3, 2)

        def forward(self, x):
            h = torch.relu(self.first(x)).unflatten(-1, (2, 3)).permute(2, 0, 1, 3)
            return self.last((h[0] + h.sum(0)).mean(1))

    model = Twice().double()
    net = dv.disentangle(model, "dnn").eval()
    torch.testing.assert_close(net(X), model(X), rtol=1e-12, atol=1e-12)
    with pytest.raises(PathKernelError, match="axis of the examples"):
        dv.npk(net, X)
