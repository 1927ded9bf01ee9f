"""Properties proved here.

1. Every kind is built in training mode, gives one logit a class, and has the options asked for.
2. One seed draws one network, another seed another; neither depends on nor changes PyTorch's global
   random state.
3. A gating network starts from the DNN's initial parameters; the weights network is drawn apart.
4. A vision transformer learns as DNN and DGN, and is refused as DLGN. What else cannot be built is
   refused as a wrong setting.
5. Whitened patches are whitened by the training images, as the network meets them, and by no
   others; both networks of a DLGN have the same.
6. The example input is the first training image, normalised.
"""

import pytest
import torch
from torch.nn import functional as F

from dualview.architectures.whitened import whitening_filters
from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.gates import SoftGate
from dualview.datasets import Batches
from dualview.errors import ConversionError
from dualview.experiments.data import enlarged
from dualview.experiments.networks import build_network, count_parameters, example_input
from dualview.experiments.settings import KINDS, split_kind
from dualview.training import SettingsError
from tests.experiments.small import small
from tests.training.tiny import tiny_data

DATA = tiny_data()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_built(kind):
    net = build_network(small(beta=7.0), kind, 0, DATA)
    assert all(module.training for module in net.modules())
    assert net(torch.zeros(2, 1, 4, 4)).shape == (2, 3)
    if kind == "dnn":
        assert not isinstance(net, GatedNetwork)
        return
    assert (net.kind, net.weights_input) == split_kind(kind)
    (gate,) = set(net.gate_functions)
    assert isinstance(gate, SoftGate)
    assert gate.beta == 7.0


@pytest.mark.parametrize("kind", ["dnn", "dgn", "dlgn-ones"])
def test_the_seed_alone_draws_the_network(kind):
    draws = []
    for seed in (1, 1, 2):
        torch.manual_seed(len(draws))
        before = torch.get_rng_state()
        draws.append(build_network(small(), kind, seed, DATA).state_dict())
        assert torch.equal(torch.get_rng_state(), before)
    first, second, other = draws
    weights = [name for name, tensor in first.items() if tensor.dim() > 1]
    assert weights
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in weights)


@pytest.mark.parametrize("kind", ["dnn", "dgn"])
def test_a_vision_transformer_learns(kind):
    net = build_network(small(arch="vit", width=4), kind, 0, DATA)
    images, labels = DATA.train.images[:24] / 255, DATA.train.labels[:24]
    optimiser = torch.optim.Adam(net.parameters(), 1e-2)
    losses = []
    for _ in range(40):
        loss = F.cross_entropy(net(images), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]


def test_a_vision_transformer_has_no_dlgn():
    with pytest.raises(ConversionError, match="kind='dlgn' promises"):
        build_network(small(arch="vit", width=4), "dlgn", 0, DATA)


def test_the_gating_network_starts_from_the_dnn():
    dnn = dict(build_network(small(), "dnn", 3, DATA).named_parameters())
    dgn = build_network(small(), "dgn", 3, DATA)
    gating = [p for p in dgn.gating_network.parameters() if p.dim() > 1]
    weights = [p for p in dgn.weights_network.parameters() if p.dim() > 1]
    drawn = [p for p in dnn.values() if p.dim() > 1]
    assert len(gating) == len(drawn) - 1  # without the output layer
    assert all(torch.equal(a, b) for a, b in zip(gating, drawn, strict=False))
    assert not any(torch.equal(a, b) for a, b in zip(weights, drawn, strict=True))


@pytest.mark.parametrize(
    "changes", [{"arch": "fcc"}, {"arch": "fc", "batch_norm": True}, {"arch": "vgg16"}]
)
def test_what_cannot_be_built_is_a_wrong_setting(changes):
    with pytest.raises(SettingsError):
        build_network(small(**changes), "dnn", 0, DATA)


def test_example_input():
    expected = DATA.train.images[:1] / 255
    torch.testing.assert_close(example_input(DATA), expected)


def test_count_parameters():
    net = build_network(small(), "dnn", 0, DATA)
    assert count_parameters(net) == 17 * 8 + 4 * 9 * 8 + 9 * 3


@pytest.mark.parametrize("kind", ["dnn", "dlgn"])
def test_patches_are_whitened_by_the_training_images(kind):
    data = enlarged(DATA, 3)
    net = build_network(small(arch="c6white", width=2), kind, 0, data)
    ((images, _),) = Batches(data.train, len(data.train), mean=data.mean, std=data.std)
    entries = whitening_filters(images).reshape(-1, 1, 2, 2)
    expected = torch.cat([entries, -entries]).float()
    found = [buffer for name, buffer in net.named_buffers() if name.endswith("patches.weight")]
    assert len(found) == (1 if kind == "dnn" else 2)
    for buffer in found:
        torch.testing.assert_close(buffer, expected)
