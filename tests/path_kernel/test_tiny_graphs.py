"""The kernels of random graphs against exact averages over fresh weights.

Weights of +-sigma are independent, with mean zero and variance sigma^2, and the output is linear in
each, so the average over all signs of the weights is the expectation, exactly. Shares no rule with
the kernels; what is a weight, a bias or a constant it is told by `npk_features`.

- On at least 300 random graphs `npk` is the average of f(x) f(x'), and `expected_ntk` that of the
  gradients' inner products, with and without biases, with batch norm's scales and without, for data
  and for ones. So all kernels mean the same by weights, biases and constants.
- On each of them `npk_features` are outputs of the network averaged over, and `empirical_ntk` is
  the inner product of its gradients at one draw.
- None is refused: permutations and changes of shape, dense layers over positions, norms by
  statistics of the example, multipliers, attention, one value added to itself in another place.
- Every operation of the tables has been tried.
"""

import itertools
import math
from functools import partial

import pytest
import torch
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st
from torch.func import functional_call, grad, vmap

import dualview as dv
from dualview.path_kernel.empirical import empirical_ntk
from dualview.path_kernel.features import npk_features
from dualview.path_kernel.random_weights import draw_weights, kernel_network, weight_deviations
from tests.cases import relative_error
from tests.tiny_graphs import ALL, tiny_graphs

GRAPHS = 300


def cases(wanted=""):
    """A graph, and what its kernels are asked for."""
    return st.booleans().flatmap(
        lambda biases: st.tuples(
            tiny_graphs(biases=biases, wanted=wanted),
            st.just(biases),
            st.sampled_from(["identity", "scale"]),
            st.sampled_from(["data", "ones"]),
        )
    )


class FreshWeights:
    """The network that the kernels are averages of, as a function of the signs of its weights."""

    def __init__(self, net, x, options):
        self.network = kernel_network(net, **options)
        deviations = weight_deviations(self.network, biases=options["biases"])
        own = {name: p.detach() for name, p in self.network.named_parameters()}
        self.drawn = {name: deviations[name] for name in own if deviations[name]}
        self.fixed = {
            name: own[name] if deviations[name] is None else torch.zeros_like(own[name])
            for name in own.keys() - self.drawn.keys()
        }
        self.shapes = {name: own[name].shape for name in self.drawn}
        gates, switches = net.gates_and_switches(x)
        self.given = (x, *gates, *switches)

    def weights(self, signs):
        sizes = [shape.numel() for shape in self.shapes.values()]
        parts = zip(self.shapes.items(), signs.split(sizes), strict=True)
        return {name: self.drawn[name] * part.view(shape) for (name, shape), part in parts}

    def outputs(self, weights):
        """(n,)"""
        return functional_call(self.network, {**self.fixed, **weights}, self.given)[:, 0]

    def gradients(self, weights):
        """(n, number of weights)"""

        def output(by, row):
            return functional_call(self.network, {**self.fixed, **by}, tuple(v[None] for v in row))[
                0, 0
            ]

        slopes = vmap(grad(output), (None, 0))(weights, self.given)
        return torch.cat([s.flatten(1) for s in slopes.values()], 1)

    def averages(self):
        """(E f f', E <grad f, grad f'>)."""
        count = sum(shape.numel() for shape in self.shapes.values())
        signs = torch.tensor(list(itertools.product((1.0, -1.0), repeat=count))).double()
        values = vmap(lambda s: self.outputs(self.weights(s)))(signs)
        slopes = vmap(lambda s: self.gradients(self.weights(s)))(signs)
        npk = values.mT @ values / len(signs)
        return npk, torch.einsum("swi,spi->wp", slopes, slopes) / len(signs)


ROUNDING = 1e-14
"""Below it a kernel is what is left of products near 1 that cancel, as the mean of what is centred
does: in an average of outputs squared, in a kernel once."""


def assert_close(got, expected):
    if max(got.abs().max(), expected.abs().max()) > ROUNDING:
        assert relative_error(got, expected) < 1e-10


def compare(model, weights_input, options):
    """One graph."""
    kind = "dnn" if weights_input == "data" else "dgn"
    net = dv.disentangle(model, kind, weights_input=weights_input, seed=0).eval()
    x = torch.randn(2, *model.input_shape, dtype=torch.float64)
    fresh = FreshWeights(net, x, options)
    npk, ntk = fresh.averages()
    assert_close(dv.npk(net, x, **options), npk)
    assert_close(dv.expected_ntk(net, x, **options), ntk)
    draws = [draw_weights(fresh.network, 1, k, biases=options["biases"]) for k in range(2)]
    features = torch.stack([fresh.outputs(weights) for weights in draws], 1) / math.sqrt(2)
    assert_close(npk_features(net, x, 2, seed=1, per_draw=1, **options), features)
    slopes = fresh.gradients({name: draws[0][name] for name in fresh.drawn})
    assert_close(empirical_ntk(net, x, weights=draws[0], **options), slopes @ slopes.mT)


@pytest.mark.filterwarnings("ignore::dualview.DualviewWarning")
@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")  # of vmap
def test_random_graphs():
    compared, tried = 0, set()

    @settings(max_examples=GRAPHS)
    @given(cases())
    def one_graph(case):
        nonlocal compared
        model, biases, batch_norm, weights_input = case
        options = {"biases": biases, "batch_norm": batch_norm}
        tried.update(model.made_of)
        with torch.no_grad():
            compare(model, weights_input, options)
        compared += 1

    one_graph()
    assert compared >= GRAPHS
    some = settings(max_examples=5_000, phases=[Phase.generate])  # any will do, not the smallest
    for name in sorted(ALL - tried):
        one_graph.hypothesis.inner_test(find(cases(name), partial(_has, name), settings=some))
    assert tried == ALL


def _has(name, case):
    return name in case[0].made_of
