"""Random features of the NPK.

- Their inner products are unbiased. That the error falls as 1/sqrt(m) is a statement of the theory,
  `experiments/theory/test_features.py`.
- They stream: batches, and more features, do not change what is there; train and test agree.
- They work where no exact rule exists (tied weights, transposed convolutions; LayerNorm and
  attention, against the recursion over all second moments).
"""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import dualview as dv
from dualview.architectures import ResNet
from dualview.errors import PathKernelError
from dualview.path_kernel.features import npk_features
from tests.cases import (
    SMALL,
    TokenMixer,
    enliven,
    relative_error,
    small_architecture,
    small_input,
)
from tests.path_kernel.second_moments import second_moments

NETWORKS = {
    "fc": (lambda: small_architecture("fc"), SMALL["fc"][1]),
    "gconv": (lambda: small_architecture("gconv"), SMALL["gconv"][1]),
    "residual": (lambda: enliven(ResNet(1, 3, (3, 6, 7), 2, True).double()), (3, 6, 7)),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("weights_input", ["data", "ones"])
@pytest.mark.filterwarnings("ignore::dualview.DualviewWarning")
def test_unbiased_within_their_standard_error(name, weights_input):
    make, shape = NETWORKS[name]
    net = dv.disentangle(make(), "dlgn", weights_input=weights_input, seed=0)
    x = torch.randn(3, *shape, dtype=torch.float64)
    m = 1000
    features = npk_features(net, x, m, per_draw=1) * math.sqrt(m)
    products = features[:, None] * features[None]  # (n, n, m): one estimate a feature
    error = (products.mean(-1) - dv.npk(net, x)).abs()
    assert (error < 4.5 * products.std(-1) / math.sqrt(m)).all()


def test_unbiased_under_the_multipliers_of_layer_norm_and_attention():
    net = dv.disentangle(TokenMixer(affine=False).double(), "dgn", seed=0).eval()
    x = torch.randn(2, 3, 3, dtype=torch.float64)
    m = 1000
    features = npk_features(net, x, m, per_draw=1) * math.sqrt(m)
    products = features[:, None] * features[None]
    error = (products.mean(-1) - second_moments(net, x, x)[0]).abs()
    assert (error < 4.5 * products.std(-1) / math.sqrt(m)).all()


def test_streaming_and_continuation():
    net, x = dv.disentangle(small_architecture("gconv"), "dgn", seed=0), small_input("gconv", 5)
    many = npk_features(net, x, 100)
    torch.testing.assert_close(npk_features(net, x, 100, batch_size=2), many)
    torch.testing.assert_close(npk_features(net, x[2:4], 100), many[2:4])
    few = npk_features(net, x, 40)
    torch.testing.assert_close(few * math.sqrt(40), many[:, :40] * math.sqrt(100))
    assert not torch.allclose(npk_features(net, x, 40, seed=1), few)


class NoRule(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3, padding=1, bias=False)
        self.up = nn.ConvTranspose2d(2, 2, 2, bias=False)

    def forward(self, x):
        x = F.relu(self.conv(F.relu(self.conv(x))))  # tied weights
        return self.up(x).mean((2, 3))


def test_any_graph():
    net = dv.disentangle(NoRule().double(), "dgn", seed=0)
    x = torch.randn(3, 2, 4, 4, dtype=torch.float64)
    with pytest.raises(PathKernelError):
        dv.npk(net, x)
    features = npk_features(net, x, 50)
    assert features.shape == (3, 50)
    assert features.abs().sum() > 0


def test_own_outputs_of_a_network_without_a_final_dense_layer():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 5), nn.ReLU())
    net = dv.disentangle(model, "dgn", seed=0)
    assert npk_features(net, torch.randn(2, 3), 12).shape == (2, 12)


def test_hard_gates():
    net = dv.disentangle(small_architecture("fc"), "dlgn", seed=0)
    x = small_input("fc", 3)
    features = npk_features(net, x, 6000, gates="hard")
    assert relative_error(features @ features.T, dv.npk(net, x, gates="hard")) < 0.3
    assert relative_error(features @ features.T, npk_features(net, x, 6000) @ features.T) > 0.01


def test_global_random_state_is_left_alone():
    net, x = dv.disentangle(small_architecture("fc"), "dgn", seed=0), small_input("fc", 2)
    state = torch.get_rng_state()
    npk_features(net, x, 5)
    assert torch.equal(torch.get_rng_state(), state)


def test_bad_examples_are_refused():
    net = dv.disentangle(small_architecture("fc"), "dgn", seed=0)
    with pytest.raises(PathKernelError, match="gates: expected"):
        npk_features(net, small_input("fc"), 5, gates="own")
    with pytest.raises(PathKernelError, match="NaN or inf in row 0"):
        npk_features(net, small_input("fc") * math.nan, 5)


def test_no_features_are_refused():
    net = dv.disentangle(small_architecture("fc"), "dlgn")
    with pytest.raises(
        PathKernelError, match="n_features: expected a whole number from 1 on, got 0"
    ):
        npk_features(net, small_input("fc"), 0)
