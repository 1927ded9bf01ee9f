"""One example with its gates fixed.

- The network's copy is float64, in evaluation mode, and apart from the network.
- An example is read with its axis first, else without; a batch, NaN or another shape is refused.
- Batch norm without running statistics is refused by everything that fixes gates.
- The input node is x, or the ones in its place.
"""

import pytest
import torch
from torch import nn

import dualview as dv
from dualview.conversion.weights_graph import one_row_of_ones
from dualview.errors import PathKernelError, UnsupportedOperationError
from dualview.path_attribution.contributions import input_contributions, layer_contributions
from dualview.path_attribution.ensemble import ensemble_contributions
from dualview.path_attribution.example import checked_output, one_example, output_node
from dualview.path_attribution.strongest_paths import top_paths
from tests.path_enumeration.models import PostActivation, convolutional, dense, gated

CALLS = {
    "paths": lambda net, x: top_paths(net, x, 0, 1),
    "layer": lambda net, x: layer_contributions(net, x, 0, 0),
    "input": lambda net, x: input_contributions(net, x, 0),
    "ensemble": lambda net, x: ensemble_contributions(net, x, 0),
}
each_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())


def test_a_copy_in_float64():
    net = gated(dense(3, 4, 2, bias=True).float(), "dgn").train()
    x = torch.randn(1, 3)
    example = one_example(net, x)
    assert all(p.dtype == torch.float64 for p in example.network.parameters())
    assert not example.network.training
    assert net.training
    ours = {id(p) for p in example.network.parameters()}
    assert not ours & {id(p) for p in net.parameters()}
    (gate,) = example.given
    net.eval()
    assert torch.equal(gate, net.gates(x)[0].double())
    with torch.no_grad():
        torch.testing.assert_close(example.network(*example.arguments).float(), net(x))


def test_examples_of_a_convolution_are_not_taken_for_its_channels():
    net = gated(convolutional((1, 1, 2)), "dlgn")  # one channel: a lone image passes for a batch
    image = torch.randn(1, 4, 4, dtype=torch.float64)
    assert one_example(net, image).x.shape == (1, 1, 4, 4)
    assert one_example(net, image[None]).x.shape == (1, 1, 4, 4)


def test_an_example_that_can_be_read_in_two_ways_is_a_batch_of_one():
    net = gated(nn.Sequential(nn.Flatten(), *dense(6, 3, 2)), "dlgn")
    assert one_example(net, torch.randn(1, 2, 3).double()).x.shape == (1, 2, 3)
    assert one_example(net, torch.randn(2, 3).double()).x.shape == (1, 2, 3)


@each_call
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.randn(2, 3), r"expected one example .*got shape \(2, 3\): it is a batch of 2\."),
        (torch.randn(0, 3), r"got torch\.float32 \(0, 3\)"),
        (torch.randn(4), r"got shape \(4,\)"),
        (torch.tensor([1.0, float("nan"), 0.0]), "finite"),
        (torch.tensor([1, 2, 3]), r"floating-point tensor, got torch\.int64"),
        (torch.tensor(1.0), r"got torch\.float32 \(\)"),
        ([1.0, 2.0, 3.0], r"got \[1.0, 2.0, 3.0\]"),
    ],
    ids=["batch", "none", "shape", "nan", "integers", "scalar", "list"],
)
def test_wrong_examples(call, x, message):
    with pytest.raises(PathKernelError, match=message):
        call(gated(dense(3, 4, 2), "dlgn"), x)


@each_call
def test_networks_that_cannot_be_explained(call):
    with pytest.raises(PathKernelError, match="expected a GatedNetwork, got Sequential"):
        call(dense(3, 2), torch.randn(3))
    norm = nn.BatchNorm1d(4, track_running_stats=False)
    model = nn.Sequential(nn.Linear(3, 4), norm, nn.ReLU(), nn.Linear(4, 2))
    with pytest.raises(UnsupportedOperationError, match=r"module '1'.*track_running_stats=True"):
        call(dv.disentangle(model, "dnn"), torch.randn(3))


@each_call
def test_several_outputs_are_refused(call):
    class Two(nn.Module):
        def forward(self, x):
            x = x.relu()
            return x, 2 * x

    with pytest.raises(PathKernelError, match="expected one tensor, got several"):
        call(dv.disentangle(Two(), "dnn"), torch.randn(1, 3))


def test_input_node():
    for weights_input in ("data", "ones"):
        net = gated(dense(3, 4, 2), "dlgn", weights_input=weights_input)
        node = one_example(net, torch.randn(1, 3).double()).input_node
        assert (node.target is one_row_of_ones) == (weights_input == "ones")


def test_outputs_are_counted_flat():
    assert checked_output(5, (1, 2, 3)) == 5
    with pytest.raises(PathKernelError, match=r"from 0 to 5 .*shape \(2, 3\), counted flat"):
        checked_output(6, (1, 2, 3))
    network = gated(dense(3, 4, 2), "dlgn").weights_network
    assert output_node(network).target == "2"


def test_looking_for_the_axis_prints_nothing(capfd):
    net = gated(PostActivation(), "dlgn")  # its shortcut slices, which fails on a lone image
    assert one_example(net, torch.randn(1, 3, 3).double()).x.shape == (1, 1, 3, 3)
    assert capfd.readouterr() == ("", "")
