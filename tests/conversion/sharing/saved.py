"""Saved networks for the tests, and what they change in them."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

import dualview as dv
from dualview.architectures import c4gap, fc
from dualview.conversion.sharing.config import CONFIG
from dualview.conversion.sharing.loading import file_digest
from dualview.training import MODEL


def small_fc(kind="dlgn", **options):
    """A fully connected network of a reference architecture, float64."""
    model = fc(3, (1, 2, 2), width=5, depth=3).double()
    return dv.disentangle(model, kind, seed=0, **options).eval()


def small_c4gap(kind="dlgn", **options):
    model = c4gap(3, (2, 6, 6), width=4, batch_norm=True).double().eval()
    example = torch.zeros(1, 2, 6, 6, dtype=torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dv.DualviewWarning)  # batch norm on a constant-1 input
        return dv.disentangle(model, kind, seed=0, example_input=example, **options)


class Net(nn.Module):
    """A model of a user's own: no architecture of the package, and no `reset_parameters`."""

    def __init__(self, units=4, kernel=3):
        super().__init__()
        self.conv = nn.Conv2d(2, 3, kernel, padding=1)
        self.slope = nn.PReLU()
        self.scale = nn.Parameter(torch.full((3, 1, 1), 1.5))
        self.out = nn.Linear(3, units)

    def forward(self, x):
        x = self.slope(self.conv(x)) * self.scale
        return self.out(torch.relu(x).mean((2, 3)))


def draw(network):
    """Initialises what has no `reset_parameters`."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_()


def own_net(kind="dgn", **options):
    return dv.disentangle(Net().double(), kind, initialise=draw, seed=1, **options).eval()


def change_config(folder: Path, **entries) -> None:
    """Put other entries into a saved config; Ellipsis removes one."""
    config = {**json.loads((folder / CONFIG).read_text()), **entries}
    config = {name: value for name, value in config.items() if value is not ...}
    (folder / CONFIG).write_text(json.dumps(config))


def change_tensors(folder: Path, change) -> None:
    """Put other tensors into a saved folder, with a checksum that fits: what an attacker can do."""
    tensors = load_file(folder / MODEL)
    change(tensors)
    save_file(tensors, folder / MODEL)
    change_config(folder, sha256=file_digest(folder / MODEL))
