"""Properties proved here.

1. A layer's network gives the layer's pre-activations, and holds none of the later layers.
2. Its linear part, applied to blocks of vectors in either direction, is the Jacobian's.
3. `.detach()` in the model, which hides a part from derivatives, hides nothing from filters.
4. Refused, with the repair: other kinds of network, layers out of range, batch norm or dropout in
   training mode, batch norm without statistics, parameters that are not finite.
5. Only what the layer needs is checked.
"""

import pytest
import torch
from torch import nn

import dualview as dv
from dualview.errors import DualviewError, PrimalFilterError
from dualview.primal.affine import LINEAR_KINDS, filter_sums, layer_network, linear_image
from tests.cases import SMALL, small_architecture
from tests.primal.oracle import assert_close, assert_exact, differences, gated, jacobian, stack

SHAPE = SMALL["c4gap"][1]


def test_a_layer_alone():
    net = gated(small_architecture("c4gap", batch_norm=True))
    x = torch.randn(2, *SHAPE, dtype=torch.float64)
    for layer, expected in enumerate(net.preactivations(x)):
        network = layer_network(net, layer)
        assert_close(network(x), expected.detach())
        convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
        assert len(convolutions) == layer + 1


def test_both_directions():
    net = gated(small_architecture("c4gap", batch_norm=True))
    filters, offsets = jacobian(net, 2, SHAPE)
    network = layer_network(net, 2)
    vectors = torch.randn(5, *SHAPE, dtype=torch.float64)
    assert_close(
        linear_image(network, torch.zeros_like(vectors[:1]), vectors),
        torch.einsum("cijxyz,nxyz->ncij", filters, vectors),
    )
    weights = torch.randn(4, *offsets.shape, dtype=torch.float64)
    sums = filter_sums(network, vectors[:1], weights)
    assert_close(sums, torch.einsum("cijxyz,ncij->nxyz", filters, weights))


class Detached(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 2, 3, padding=1)

    def forward(self, x):
        x = torch.relu(self.conv1(x))
        return torch.relu(self.conv2(x.detach()) + x)


def test_detached_values_count():
    net = gated(Detached())
    exact = differences(net, 1, (2, 5, 5))
    hidden, _ = jacobian(net, 1, (2, 5, 5))
    assert (exact - hidden).abs().max() > 1e-3
    assert_exact(net, 1, (2, 5, 5), expected=exact)


@pytest.mark.parametrize("kind", ["dnn", "dgn"])
def test_networks_with_activations_before_their_gates_are_refused(kind):
    net = dv.disentangle(small_architecture("c4gap"), kind, seed=0).eval()
    assert kind not in LINEAR_KINDS
    with pytest.raises(PrimalFilterError, match=rf"kind='{kind}': .* kind='dlgn'.*jacrev"):
        layer_network(net, 0)


def test_other_objects_are_refused():
    with pytest.raises(PrimalFilterError, match=r"expected a GatedNetwork, got Linear"):
        layer_network(nn.Linear(1, 1), 0)  # type: ignore[arg-type]


@pytest.mark.parametrize("layer", [4, -1, 1.0, "2", None, True])
def test_layers_out_of_range_are_refused(layer):
    net = gated(small_architecture("c4gap"))
    with pytest.raises(PrimalFilterError, match=r"layer: expected a whole number from 0 to 3.*got"):
        layer_network(net, layer)


@pytest.mark.parametrize("name", ["c4gap", "resnet20"])
def test_batch_norm_in_training_mode_is_refused(name):
    net = gated(small_architecture(name, batch_norm=True)).train()
    with pytest.raises(PrimalFilterError, match=r"BatchNorm2d.*training mode.*net\.eval\(\)"):
        layer_network(net, 0)


def test_dropout_in_training_mode_is_refused():
    net = gated(stack(nn.Linear(3, 3), nn.Dropout(0.5))).train()
    with pytest.raises(PrimalFilterError, match=r"Dropout.*random numbers.*net\.eval\(\)"):
        layer_network(net, 0)
    assert_exact(net.eval(), 0, (3,))


def test_batch_norm_without_statistics_is_refused():
    norm = nn.BatchNorm2d(2, affine=False, track_running_stats=False)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), norm, nn.ReLU()).double()
    net = dv.disentangle(model, "dlgn", seed=0).eval()
    with pytest.raises(
        PrimalFilterError, match=r"statistics are those of the batch.*track_running"
    ):
        layer_network(net, 0)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_parameters_that_are_not_finite_are_refused_where_they_matter(value):
    net = gated(small_architecture("c4gap", batch_norm=True))
    with torch.no_grad():
        net.gating_network.get_submodule("4").running_var[1] = value
    assert_exact(net, 0, SHAPE)
    with pytest.raises(PrimalFilterError, match=r"'4\.running_var': expected finite"):
        layer_network(net, 2)


def test_errors_are_the_packages_own():
    assert issubclass(PrimalFilterError, DualviewError)
    assert issubclass(PrimalFilterError, ValueError)
