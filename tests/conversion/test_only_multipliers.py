"""Networks whose activations only multiply the signal: gated linear units, attention, norms.

They have multipliers and no gates, and are taken apart all the same.

- The dual form is the model; a DGN with the model's weights is, too.
- The kernels are the exact averages over all signs of the weights, and the listed paths sum to the
  output.
- They are saved and loaded, explained in a page, and taught by a trained network.
- A gated layer cannot be asked for, a DLGN is refused, and so is a network that is linear.
"""

import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import dualview as dv
from dualview.datasets import from_arrays
from dualview.errors import (
    NoActivationError,
    PathKernelError,
    PrimalFilterError,
    UnsupportedOperationError,
)
from dualview.training import TrainSettings
from tests.cases import relative_error
from tests.path_kernel.test_tiny_graphs import FreshWeights

pytestmark = [
    pytest.mark.filterwarnings("ignore::dualview.DualviewWarning"),
    pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning"),  # of vmap
]


class Units(nn.Module):
    """Two gated linear units, one behind the other."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(2, 2, bias=False), nn.Linear(1, 4, bias=False)
        self.head = nn.Linear(2, 2, bias=False)

    def forward(self, x):
        return self.head(F.glu(self.second(F.glu(self.first(x), 1)), 1))


class Attention(nn.Module):
    """One head over two tokens."""

    def __init__(self):
        super().__init__()
        self.query, self.value = nn.Linear(1, 2, bias=False), nn.Linear(1, 2, bias=False)
        self.head = nn.Linear(2, 2, bias=False)

    def forward(self, x):
        tokens = x[:, :, None]
        query = self.query(tokens)
        return self.head((torch.softmax(query @ query.mT, -1) @ self.value(tokens)).mean(1))


def normed():
    """The scale of a norm is all that is not linear."""
    return nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3), nn.Linear(3, 2, bias=False))


NETWORKS = {"gated linear units": Units, "attention": Attention, "norm": normed}
each = pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)


def made(make, kind, **options):
    """A model in float64, it taken apart, and two examples."""
    torch.manual_seed(0)
    model = make().double().eval()
    x = torch.randn(2, 2, dtype=torch.float64)
    return model, dv.disentangle(model, kind, seed=0, **options).eval(), x


@each
def test_it_is_the_model(make):
    for kind, options in (("dnn", {}), ("dgn", {"weights": "copied", "gate": "hard"})):
        model, net, x = made(make, kind, **options)
        torch.testing.assert_close(net(x), model(x), rtol=1e-12, atol=1e-14)
        assert net.n_gates == len(net.gates(x)) == 0
        assert net.gates_and_switches(x)[1], "multipliers"
        torch.testing.assert_close(pickle.loads(pickle.dumps(net))(x), net(x))


@each
@pytest.mark.parametrize("kind", ["dnn", "dgn"])
def test_kernels_are_averages_over_weights(make, kind):
    _, net, x = made(make, kind)
    npk, ntk = FreshWeights(net, x, {"biases": False, "batch_norm": "identity"}).averages()
    assert relative_error(dv.npk(net, x), npk) < 1e-12
    assert relative_error(dv.expected_ntk(net, x), ntk) < 1e-12


def test_paths_sum_to_the_output():
    _, net, x = made(Units, "dgn")
    for output in (0, 1):
        found = dv.top_paths(net, x[:1], k=4, output=output)
        total = sum(path.contribution for path in found.paths)
        assert total == pytest.approx(net(x)[0, output].item(), rel=1e-12)


def test_gated_layers_cannot_be_asked_for():
    _, net, x = made(Units, "dgn")
    with pytest.raises(PathKernelError, match="a gated layer, of which the network has none"):
        dv.layer_contributions(net, x[:1], output=0, layer=0)
    with pytest.raises(PrimalFilterError, match="a gated layer, of which the network has none"):
        dv.gate_distances(net, x, layer=0)


@each
def test_no_dlgn(make):
    with pytest.raises(UnsupportedOperationError, match="promises pre-activations that are affine"):
        made(make, "dlgn")


def test_linear_networks_stay_refused():
    with pytest.raises(NoActivationError, match="got none"):
        made(lambda: nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2)), "dgn")


def test_pages_and_a_student(tmp_path):
    torch.manual_seed(0)
    x, y = torch.randn(60, 1, 1, 2), torch.arange(60) % 2
    data = from_arrays(x, y)
    model = nn.Sequential(nn.Flatten(), Units())
    settings = TrainSettings(epochs=1, threads=1)
    found = dv.distil(model, data, kind="dgn", folder=tmp_path / "student", settings=settings)
    assert found.hard_accuracy == found.soft_accuracy
    shown = dv.explorer_page(found.network, data, tmp_path / "page.html")
    assert (shown.gate, shown.layers) == ("none, its activations only multiply the signal", ())
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "no layer of the network has gates" in page
    assert 'href="#h-gates"' not in page
    assert 'aria-labelledby="h-gates" hidden' in page
    grams = dv.npk_gram(found.network, x.flatten(1)[:, None, None], tmp_path / "gram.zarr")
    assert (
        relative_error(torch.tensor(grams[:]), dv.npk(found.network, x.flatten(1)[:, None, None]))
        < 1e-5
    )
