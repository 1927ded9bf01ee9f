"""The empirical NTK.

- It is the inner product of autograd's gradients of one logit, taken one example at a time, of the
  network with the biases and batch-norm scales asked for; scales are not differentiated.
- So it is of the sum of logits over the root of their number.
- Chunks do not change it; gates are fixed; given weights take the place of the network's own.
"""

import copy
import itertools

import pytest
import torch
from torch import nn

import dualview as dv
from dualview.errors import PathKernelError
from dualview.path_kernel.empirical import empirical_ntk
from dualview.path_kernel.random_weights import draw_weights, kernel_network
from tests.cases import enliven, small_architecture, small_input


def by_autograd(net, x, output, biases, scale):
    """Of the network itself, its batch norms and biases changed to what the options say."""
    net = copy.deepcopy(net)
    for norm in [m for m in net.weights_network.modules() if isinstance(m, nn.BatchNorm2d)]:
        norm.running_mean.zero_()
        if not scale:
            norm.running_var.fill_(1 - norm.eps)
            nn.init.ones_(norm.weight)
    scales = [m.weight for m in net.weights_network.modules() if isinstance(m, nn.BatchNorm2d)]
    parameters = {
        n: p for n, p in net.weights_network.named_parameters() if all(p is not s for s in scales)
    }
    added = [n for n in parameters if n.endswith("bias") or n in ADDED]
    scaling = [n for n in parameters if "norm" in n and n.endswith("weight")]
    if not biases:
        for name in added:
            nn.init.zeros_(parameters.pop(name))
    rows = []
    for example in x:
        gates, switches = net.gates_and_switches(example[None])
        gates = [g.detach() for g in gates]
        net.weights_network.zero_grad()
        net.weights_network(example[None], *gates, *switches)[0, output].backward()
        rows.append(
            torch.cat([p.grad.flatten() for n, p in parameters.items() if n not in scaling])
        )
    rows = torch.stack(rows)
    return rows @ rows.T


ADDED = ("class_token", "positions")  # of vit, though they have several axes


@pytest.mark.parametrize(
    ("name", "biases", "scale"),
    [
        *itertools.product(["fc", "gconv", "vit"], [False, True], [False]),
        *itertools.product(["vgg16", "resnet20"], [False, True], [False, True]),
    ],
)
def test_inner_product_of_gradients(name, biases, scale):
    normalised = name in ("vgg16", "resnet20")
    net = dv.disentangle(enliven(small_architecture(name, normalised)), "dgn", seed=0).eval()
    enliven(net.weights_network)
    x = small_input(name, 3)
    expected = by_autograd(net, x, 2, biases, scale)
    options = {"biases": biases, "batch_norm": "scale" if scale else "identity"}
    torch.testing.assert_close(empirical_ntk(net, x, output=2, **options), expected)
    torch.testing.assert_close(
        empirical_ntk(net, x[:2], x, output=2, memory=1.0, **options), expected[:2]
    )


@pytest.mark.parametrize("name", ["fc", "c4gap"])
def test_sum_of_logits(name):
    net, x = dv.disentangle(small_architecture(name), "dgn", seed=0).eval(), small_input(name, 3)
    network, gates = kernel_network(net), [gate.detach() for gate in net.gates(x)]
    rows = []
    for i in range(len(x)):
        network.zero_grad()
        out = network(x[i : i + 1], *(gate[i : i + 1] for gate in gates))[0]
        (out.sum() / len(out) ** 0.5).backward()
        rows.append(torch.cat([p.grad.flatten() for p in network.parameters() if p.dim() > 1]))
    expected = torch.stack(rows) @ torch.stack(rows).T
    torch.testing.assert_close(empirical_ntk(net, x, output="sum"), expected)
    torch.testing.assert_close(empirical_ntk(net, x, output="sum", memory=1.0), expected)


def test_given_weights():
    net = dv.disentangle(small_architecture("fc"), "dgn", seed=0).eval()
    x = small_input("fc", 2)
    weights = draw_weights(net.weights_network, 3)
    got = empirical_ntk(net, x, weights=weights)
    net.weights_network.load_state_dict(weights)
    torch.testing.assert_close(got, by_autograd(net, x, 0, biases=False, scale=False))


def test_biases_of_given_weights_count_only_where_biases_do():
    net = dv.disentangle(small_architecture("fc"), "dgn", seed=0).eval()
    x = small_input("fc", 2)
    weights = draw_weights(net.weights_network, 3)
    with_biases = draw_weights(net.weights_network, 3, biases=True)
    got = empirical_ntk(net, x, weights=with_biases)
    torch.testing.assert_close(got, empirical_ntk(net, x, weights=weights))
    assert not torch.allclose(empirical_ntk(net, x, weights=with_biases, biases=True), got)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"other": torch.ones(1)}, r"weights: expected parameters .* by name, got 'other'"),
        ({"head.weight": torch.ones(1)}, r"weights: expected 'head.weight' of shape .* got \(1,\)"),
    ],
)
def test_weights_of_another_network_are_refused(weights, message):
    net = dv.disentangle(small_architecture("fc"), "dgn")
    names = [n for n, p in net.weights_network.named_parameters() if p.dim() == 2]
    weights = {n.replace("head.weight", names[-1]): w for n, w in weights.items()}
    with pytest.raises(PathKernelError, match=message.replace("head.weight", names[-1])):
        empirical_ntk(net, small_input("fc"), weights=weights)


def test_missing_logit_is_refused():
    net = dv.disentangle(small_architecture("fc"), "dgn")
    with pytest.raises(PathKernelError, match=r"output: expected a logit .* got 3"):
        empirical_ntk(net, small_input("fc"), output=3)


def test_an_axis_folded_into_that_of_the_examples_is_refused():
    class Folded(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 3)

        def forward(self, x):
            return self.b(torch.relu(self.a(x.view(-1, 4)))).view(x.shape[0], -1)

    net, x = dv.disentangle(Folded(), "dnn"), torch.randn(3, 2, 4)
    with pytest.raises(PathKernelError, match="folds another axis"):
        dv.empirical_ntk(net, x)
    assert dv.npk_features(net, x, 6).shape == (3, 6)
