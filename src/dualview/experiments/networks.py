"""The network of one run: an architecture, taken apart as its kind says, drawn by its seed."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from dualview.architectures import build
from dualview.datasets import Batches, Dataset
from dualview.experiments.settings import ComparisonSettings, split_kind
from dualview.gated_network import disentangle
from dualview.gates import SoftGate
from dualview.training import SettingsError


def build_network(settings: ComparisonSettings, kind: str, seed: int, data: Dataset) -> nn.Module:
    """The untrained network of a kind; the same seed draws the same one, whatever else is random.

    With one seed, the gating network of a DGN starts from the DNN's initial parameters; its weights
    network is drawn independently of them.

    Raises:
        SettingsError: the architecture cannot be built so.
        ConversionError: it cannot be taken apart so.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _model(settings, data)
        if kind == "dnn":
            return model
        base, weights_input = split_kind(kind)
        options: dict[str, Any] = {"weights_input": weights_input, "max_pool": settings.max_pool}
        return disentangle(
            model.eval(),
            cast(Any, base),
            gate=SoftGate(settings.beta),
            example_input=example_input(data),
            seed=seed,
            **options,
        ).train()


def _model(settings: ComparisonSettings, data: Dataset) -> nn.Module:
    try:
        return build(
            settings.arch,
            num_classes=data.n_classes,
            input_shape=data.input_shape,
            width=settings.width,
            batch_norm=settings.batch_norm,
        )
    except ValueError as error:
        raise SettingsError(str(error)) from error


def example_input(data: Dataset) -> Tensor:
    """One training example as the network meets it: (1, c, h, w) float32."""
    first, _ = next(iter(Batches(data.train, 1, mean=data.mean, std=data.std)))
    return first


def count_parameters(net: nn.Module) -> int:
    """Numbers that training changes; what two networks share counts once."""
    return sum(p.numel() for p in net.parameters() if p.requires_grad)
