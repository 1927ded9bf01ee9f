"""The empirical NTK.

- It is the inner product of autograd's gradients of one logit, taken one example at a time.
- Chunks do not change it; gates are fixed; given weights take the place of the network's own.
"""

import itertools

import pytest
import torch

import dualview as dv
from dualview.errors import PathKernelError
from dualview.path_kernel.empirical import empirical_ntk
from dualview.path_kernel.random_weights import draw_weights
from tests.cases import small_architecture, small_input


def by_autograd(net, x, output, biases):
    rows = []
    for example in x:
        gates, switches = net.gates_and_switches(example[None])
        gates = [g.detach() for g in gates]
        net.weights_network.zero_grad()
        net.weights_network(example[None], *gates, *switches)[0, output].backward()
        grads = [
            p.grad.flatten()
            for name, p in net.weights_network.named_parameters()
            if biases or (p.dim() > 1 and name not in BIASES)
        ]
        rows.append(torch.cat(grads))
    rows = torch.stack(rows)
    return rows @ rows.T


BIASES = ("class_token", "positions")  # of vit, though they have several axes


@pytest.mark.parametrize(
    ("name", "biases"),
    [*itertools.product(["fc", "gconv", "vgg16", "resnet20"], [False, True]), ("vit", False)],
)
def test_inner_product_of_gradients(name, biases):
    net = dv.disentangle(small_architecture(name, name == "vgg16"), "dgn", seed=0).eval()
    x = small_input(name, 3)
    expected = by_autograd(net, x, 2, biases)
    got = empirical_ntk(net, x, output=2, biases=biases)
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(
        empirical_ntk(net, x[:2], x, output=2, biases=biases, memory=1.0), expected[:2]
    )


def test_given_weights():
    net = dv.disentangle(small_architecture("fc"), "dgn", seed=0).eval()
    x = small_input("fc", 2)
    weights = draw_weights(net.weights_network, 3)
    got = empirical_ntk(net, x, weights=weights)
    net.weights_network.load_state_dict(weights)
    torch.testing.assert_close(got, by_autograd(net, x, 0, biases=False))


def test_missing_logit_is_refused():
    net = dv.disentangle(small_architecture("fc"), "dgn")
    with pytest.raises(PathKernelError, match=r"output: expected a logit .* got 3"):
        empirical_ntk(net, small_input("fc"), output=3)
