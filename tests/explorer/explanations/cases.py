"""Small data and networks, explained once for all tests."""

from __future__ import annotations

import copy
import functools
from typing import Any

import torch
from torch import nn

import dualview as dv
from dualview.architectures import ResNet
from dualview.conversion.gated_network import GatedNetwork
from dualview.datasets import Dataset, Split
from dualview.datasets.dataset import channel_statistics
from dualview.explorer.explanations.explain import explain
from dualview.explorer.explanations.records import Explanations

ROWS = (0, 2, 5)
N_TRAIN = 12
KINDS = ("dlgn", "dlgn-sf", "dgn", "dnn")
SHAPES = ("dense", "convolutional", "strided", "residual")
CASES = [(s, k) for s in SHAPES for k in KINDS if (s, k) != ("residual", "dlgn-sf")]
"""Shallow features are defined for chains only."""


@functools.cache
def small_data(channels: int = 3, size: int = 7, n_classes: int = 3) -> Dataset:
    """Noise with a bright row that tells the class."""
    generator = torch.Generator().manual_seed(0)
    splits = [_split(n, channels, size, n_classes, generator) for n in (30, 6, 9)]
    mean, std = channel_statistics(splits[0].images)
    names = tuple("abcdefgh"[:n_classes])
    return Dataset(*splits, class_names=names, mean=mean, std=std, description="rows")


def _split(n: int, channels: int, size: int, n_classes: int, generator: torch.Generator) -> Split:
    labels = torch.arange(n) % n_classes
    images = torch.randint(0, 150, (n, channels, size, size), generator=generator)
    images[torch.arange(n), :, labels] += 90
    return Split(images.to(torch.uint8), labels)


def model(shape: str) -> nn.Module:
    """An ordinary network with biases, for `small_data`."""
    if shape == "dense":
        return nn.Sequential(
            nn.Flatten(), nn.Linear(147, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)
        )
    if shape == "permuted":
        layers = [nn.Linear(147, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3)]
        return nn.Sequential(nn.Flatten(), *layers)
    if shape == "residual":
        return ResNet(1, 3, (3, 7, 7), width=2, batch_norm=True)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 3, 3, stride=2 if shape == "strided" else 1, padding=1),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(3, 3),
    )


@functools.cache
def network(shape: str, kind: str = "dlgn", order: tuple[int, ...] | None = None) -> GatedNetwork:
    """A gated network with drawn parameters, biases and batch norm's statistics among them."""
    torch.manual_seed(1)
    example = torch.zeros(1, 3, 7, 7)
    options: dict[str, Any] = {} if order is None else {"gate_order": order}
    net = dv.disentangle(model(shape), kind=kind, seed=0, example_input=example, **options)
    with torch.no_grad():
        for name, values in (*net.named_parameters(), *net.named_buffers()):
            if name.endswith(("bias", "running_mean")):
                values.normal_(0, 0.3)
            if name.endswith("running_var"):
                values.uniform_(0.5, 2)
    return net.eval()


@functools.cache
def explained(shape: str, kind: str = "dlgn", **options: Any) -> Explanations:
    """Some test examples of `small_data`. Planes are drawn of dense networks, which is quick."""
    chosen = {"n_train": N_TRAIN, "planes": 2 if shape == "dense" else 0, **options}
    return explain(network(shape, kind), small_data(), ROWS, **chosen)


def exact(net: GatedNetwork) -> GatedNetwork:
    """The network in float64, without gradients."""
    return copy.deepcopy(net).double().requires_grad_(False)


def inputs_of(row: int, split: str = "test") -> torch.Tensor:
    """One example (1, c, h, w), normalised in float32, as float64. Written out."""
    data = small_data()
    image = getattr(data, split).images[row : row + 1] / 255
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (data.mean, data.std))
    return ((image - mean) / std).double()
