"""C6WHITE and its whitened patches.

- Fitted, the patches of the images have unit second moments along every direction and none between
  two; the directions are eigenvectors, by falling variance, and each comes with both signs.
- The same images give the same filters, whatever their order; nothing is blown up where images
  have no variance.
- The filters are constants: no parameters, not drawn anew, the same in both networks of a DGN or
  DLGN, saved and loaded with them.
- The network is the composition that its docstring names, written out here; the logits are those
  of features divided by 3.
- With its pools behind the activations (C6LATE) it gives the same, and has its gates before them.
- Small images are refused, and what has no such layer is left alone.
"""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import dualview as dv
from dualview.architectures import build, c4gap
from dualview.architectures.whitened import (
    REGULARISATION,
    WhitenedPatches,
    c6late,
    c6white,
    has_whitened_patches,
    whiten,
    whitening_filters,
)
from dualview.errors import ArchitectureError
from tests.cases import enliven, small_architecture, small_input

IMAGES = torch.randn(60, 3, 7, 6, generator=torch.Generator().manual_seed(5)).cumsum(-1)


def patches(images):
    """All 2x2 patches, one in each row, by slices."""
    n, c, h, w = images.shape
    rows = [
        images[:, :, i : i + 2, j : j + 2].reshape(n, c * 4)
        for i in range(h - 1)
        for j in range(w - 1)
    ]
    return torch.cat(rows).double()


def test_patches_are_white():
    filters = whitening_filters(IMAGES)
    coordinates = patches(IMAGES) @ filters.T
    moments = coordinates.T @ coordinates / len(coordinates)
    second = patches(IMAGES).T @ patches(IMAGES) / len(patches(IMAGES))
    variances = (filters @ second @ filters.T).diagonal() * (1 / filters.norm(dim=1)) ** 2
    assert (variances.diff() <= 0).all()
    torch.testing.assert_close(moments, torch.diag(variances / (variances + REGULARISATION)))
    directions = F.normalize(filters, dim=1)
    torch.testing.assert_close(second @ directions.T, directions.T * variances)
    assert (filters.gather(1, filters.abs().argmax(1, keepdim=True)) > 0).all()


def test_filters_depend_on_the_images_alone():
    filters = whitening_filters(IMAGES)
    assert torch.equal(filters, whitening_filters(IMAGES))
    torch.testing.assert_close(filters, whitening_filters(IMAGES.flip(0)))
    torch.testing.assert_close(filters, whitening_filters(IMAGES.repeat(20, 1, 1, 1)))


def test_no_variance_is_not_blown_up():
    grey = IMAGES[:, :1].expand(-1, 3, -1, -1)
    assert whitening_filters(grey).abs().max() <= REGULARISATION**-0.5
    assert whitening_filters(torch.zeros(3, 1, 4, 4)).isfinite().all()


def test_both_signs():
    layer = WhitenedPatches(3)
    layer.fit(IMAGES)
    values = layer(IMAGES)
    assert values.shape == (60, 24, 6, 5)
    assert torch.equal(values[:, :12], -values[:, 12:])
    expected = patches(IMAGES[:1]) @ whitening_filters(IMAGES).T
    got = values[0, :12].flatten(1).T.double()
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


def test_until_it_is_fitted_it_hands_the_pixels_on():
    layer = WhitenedPatches(2)
    x = torch.randn(1, 2, 3, 3)
    torch.testing.assert_close(layer(x)[0, :8].flatten(1).T.double(), patches(x))


@pytest.mark.parametrize("kind", ["dnn", "dgn", "dlgn"])
def test_filters_are_constants(kind, tmp_path):
    model = c6white(3, (3, 9, 9), width=2).eval()
    whiten(model, torch.randn(40, 3, 9, 9).cumsum(-1))
    filters = model.patches.weight.clone()
    model.reset_parameters()
    assert torch.equal(model.patches.weight, filters)
    net = dv.disentangle(model, kind, seed=0)
    for network in (net.gating_network, net.weights_network):
        assert torch.equal(network.patches.weight, filters)
    assert not any("patches" in name for name, _ in net.named_parameters())
    net.save_pretrained(tmp_path / "net")
    again = dv.GatedNetwork.from_pretrained(tmp_path / "net")
    assert again.recipe.architecture.name == "c6white"
    assert torch.equal(again.weights_network.patches.weight, filters)


@pytest.mark.parametrize("gelu", [False, True])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_written_out(gelu, batch_norm):
    model = enliven(c6white(4, (2, 11, 12), 3, batch_norm, gelu)).double().eval()
    activation = F.gelu if gelu else F.relu
    x = torch.randn(2, 2, 11, 12, dtype=torch.float64)
    z = activation(F.conv2d(x, model.patches.weight))
    for block, channels in zip(model.blocks, (3, 12, 12), strict=True):
        first, second = [m for m in block if isinstance(m, nn.Conv2d)]
        norms = [m for m in block if isinstance(m, nn.BatchNorm2d)] or [nn.Identity()] * 2
        z = activation(norms[0](F.max_pool2d(first(z), 2)))
        z = activation(norms[1](second(z)))
        assert z.shape[1] == channels
    logits = z.amax((2, 3)) @ model.head.dense.weight.T / 3
    torch.testing.assert_close(model(x), logits)


def test_late_pools_are_the_same_steps_in_another_order():
    early, late = c6white(4, (2, 11, 12), 3), c6late(4, (2, 11, 12), 3)
    early, late = enliven(early).double().eval(), late.double().eval()
    pairs = zip(early.parameters(), late.parameters(), strict=True)
    with torch.no_grad():
        for own, taken in pairs:
            taken.copy_(own)
        for own, taken in zip(early.buffers(), late.buffers(), strict=True):
            taken.copy_(own)
    x = torch.randn(2, 2, 11, 12, dtype=torch.float64)
    torch.testing.assert_close(late(x), early(x))
    of_early, of_late = (
        [tuple(q.shape[2:]) for q in dv.disentangle(m, "dlgn", seed=0).preactivations(x)]
        for m in (early, late)
    )
    assert of_early == [(10, 11), (5, 5), (5, 5), (2, 2), (2, 2), (1, 1), (1, 1)]
    assert of_late == [(10, 11), (10, 11), (5, 5), (5, 5), (2, 2), (2, 2), (1, 1)]


def test_small_images_are_refused():
    with pytest.raises(ArchitectureError, match="at least 9x9 positions, got 8x40"):
        build("c6white", num_classes=2, input_shape=(1, 8, 40))


def test_other_networks_are_left_alone():
    model = c4gap(width=3)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert not has_whitened_patches(model)
    assert has_whitened_patches(small_architecture("c6white"))
    whiten(model, small_input("c4gap").float())
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
