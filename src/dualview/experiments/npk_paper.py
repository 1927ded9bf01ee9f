"""What the experiments of arXiv 2006.10529 share: networks, data, gates kept as they are.

Source: arXiv 2006.10529, sections 3 and 5.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dualview.conversion.disentangling import disentangle
from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.gates import HardGate
from dualview.conversion.input_transform import InputTransform
from dualview.conversion.parameters import load_parameters
from dualview.datasets import Dataset, Split
from dualview.errors import RunError, SavedNetworkError
from dualview.experiments.experiment import data_config
from dualview.experiments.naming import setting_title
from dualview.experiments.networks import listed
from dualview.experiments.seeds import Seeds
from dualview.training import TrainSettings

Draw = Callable[[], nn.Module]
"""Draws the architecture's parameters from PyTorch's random state."""


@dataclass(frozen=True)
class RegimeSetting:
    """An architecture, trained with one optimiser on some data, in every regime."""

    experiment: str
    arch: str
    width: int
    data: Dataset
    """As networks see it, not normalised."""
    validate: bool
    """False: the validation split is part of the train split."""
    training: Callable[[int], TrainSettings]
    """Of a seed; resolved."""
    seeds: Seeds

    @property
    def title(self) -> str:
        """As progress names it."""
        return setting_title(self.arch, self.training(0).optimizer)

    def draw(self) -> nn.Module:
        """The architecture, drawn from PyTorch's random state.

        Raises:
            SettingsError: it cannot be built so.
        """
        return listed(self.arch, self.data.n_classes, self.data.input_shape, self.width, False)

    def config(self) -> dict[str, Any]:
        """What the configs of all its runs say."""
        of_data = data_config(self.data)
        return {
            "experiment": self.experiment,
            **(of_data if self.validate else {**of_data, "n_validation": 0}),
            "normalised": False,
            "arch": self.arch,
            "width": self.width,
            "batch_norm": False,
        }

    def folder(self, out: Path, regime: str, seed: int) -> Path:
        """Of one run."""
        return out / f"{self.arch}-{self.training(0).optimizer}-{regime}-seed{seed}"


def unnormalised(data: Dataset) -> Dataset:
    """The data as the paper's networks see it: pixels divided by 255, nothing else.

    >>> from dualview.datasets import load
    >>> unnormalised(load("digits")).std
    (1.0,)
    """
    channels = len(data.mean)
    return replace(data, mean=(0.0,) * channels, std=(1.0,) * channels)


def all_for_training(data: Dataset) -> Dataset:
    """The data with its validation split put (back) into the train split.

    The validation split stays as it is, since a data set has one; nobody should look at it.
    """
    both = (data.train, data.validation)
    images = torch.cat([split.images for split in both])
    labels = torch.cat([split.labels for split in both])
    return replace(data, train=Split(images, labels))


class FrozenGates(GatedNetwork):
    """A gated network whose gating network never changes: only the weights network is trained.

    The gating network's parameters want no gradients, and it stays in evaluation mode, so that
    batch norm keeps its statistics.

    Args:
        net: taken apart with a kind that has two networks; its modules are used, not copied.

    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> net = FrozenGates(disentangle(model, "dgn", gate="hard", seed=0)).train()
    >>> [name for name, p in net.named_parameters() if not p.requires_grad]
    ['gating_network.0.weight', 'gating_network.0.bias']
    """

    def __init__(self, net: GatedNetwork) -> None:
        super().__init__(
            net.gating_network,
            net.weights_network,
            list(net.gate_functions),
            net.kind,
            net.weights_input,
            net.gate_order,
            input_transform=net.input_transform,
        )
        self.gating_network.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> FrozenGates:
        """Set the weights network's mode."""
        super().train(mode)
        self.gating_network.eval()
        return self


def drawn(draw: Draw, seed: int) -> nn.Module:
    """The architecture as `seed` draws it, whatever else is random."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return draw()


def frozen_gates(
    model: nn.Module,
    seed: int,
    example_input: Tensor | None = None,
    input_transform: InputTransform | None = None,
) -> FrozenGates:
    """Hard gates of `model`, which do not change any more, and weights drawn afresh by `seed`."""
    net = disentangle(
        model.eval(),
        "dgn",
        gate=HardGate(),
        weights="fresh",
        example_input=example_input,
        seed=seed,
        input_transform=input_transform,
    )
    return FrozenGates(net).train()


def load_trained(model: nn.Module, path: Path) -> None:
    """Put the parameters of a finished run into `model`.

    Raises:
        RunError: there are none, or they are another network's.
    """
    try:
        load_parameters(model, path)
    except SavedNetworkError as error:
        raise RunError(
            f"expected the parameters of the trained ReLU network: {error}. Or delete that run's "
            "folder, and it is trained again"
        ) from error
