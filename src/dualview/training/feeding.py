"""How a network gets its examples: images as they are, or standardised by its data.

A network that carries its input transform is called on images as they are, pixels from 0 to 1.
While it is trained, `Batches` does what the transform does, in one step with the scaling of pixels,
and the network behind the transform is run: the same numbers, to rounding, and faster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.input_transform import InputTransform, taken_off
from dualview.conversion.parameters import INPUT_TRANSFORM
from dualview.datasets import Batches, Dataset, Split


@dataclass(frozen=True, eq=False)
class Feed:
    """A network as training runs it.

    Attributes:
        core: takes standardised images; shares its parameters with the network.
        whole: takes images as they are.
        mean: of each channel, which standardised images have lost.
        std: the same for the standard deviation.
    """

    core: nn.Module
    whole: nn.Module
    mean: tuple[float, ...]
    std: tuple[float, ...]


def feed(net: nn.Module, data: Dataset) -> Feed:
    """How `net` is fed with `data`; a gated network without an input transform gets that of it.

    Raises:
        DataError: the data cannot be standardised.

    >>> from dualview.datasets import load
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    >>> feed(model, load("digits")).whole
    Sequential(
      (0): InputTransform(mean=(0.3045), std=(0.3758))
      (1): Sequential(
        (0): Flatten(start_dim=1, end_dim=-1)
        (1): Linear(in_features=64, out_features=10, bias=True)
      )
    )
    """
    core, carried = carried_transform(net)
    if carried is None:
        given = transform_of(data)
        like = next((p for p in net.parameters() if p.is_floating_point()), torch.zeros(()))
        given.to(like)
        if not isinstance(net, GatedNetwork):
            return Feed(net, nn.Sequential(given, net), data.mean, data.std)
        net.input_transform = given
        return Feed(net.without_input_transform(), net, data.mean, data.std)
    if carried.is_that_of(data.mean, data.std):  # to the last bit what training always did
        return Feed(core, net, data.mean, data.std)
    channels = len(data.mean) if len(carried.mean) == 1 else len(carried.mean)
    mean, std = (tuple(v.expand(channels).tolist()) for v in (carried.mean, carried.std))
    return Feed(core, net, mean, std)


def carried_transform(net: nn.Module) -> tuple[nn.Module, InputTransform | None]:
    """The network behind its input transform, with the same parameters; and the transform."""
    if isinstance(net, GatedNetwork):
        return net.without_input_transform(), net.input_transform
    return taken_off(net)


def transform_of(data: Dataset) -> InputTransform:
    """The transform that standardises images by the statistics of the data's train split.

    Raises:
        DataError: a channel whose pixels are all equal.
    """
    Batches(data.train, 1, mean=data.mean, std=data.std)  # says it better
    return InputTransform(data.mean, data.std)


def batches_for(
    net: nn.Module, data: Dataset, split: Split, size: int, device: torch.device | str = "cpu"
) -> Batches:
    """Batches of a split as `net` is to be called on them, in the split's order.

    Images as they are (pixels from 0 to 1) for a network that carries its input transform;
    standardised by the data's statistics for another, as `train` shows them to a plain module.
    """
    if carried_transform(net)[1] is not None:
        return Batches(split, size, device=device, normalise=False)
    return Batches(split, size, device=device, mean=data.mean, std=data.std)


def inputs_of(net: nn.Module, data: Dataset, split: Split) -> Tensor:
    """All images of a split at once, as `batches_for` has them: (n, c, h, w) float32."""
    return torch.cat([images for images, _ in batches_for(net, data, split, 512)])


def completed_state(state: dict[str, Any], net: nn.Module, prefix: str = "") -> dict[str, Tensor]:
    """A network's state with the input transform of `net` where the state is older than those."""
    if not isinstance(net, GatedNetwork) or net.input_transform is None:
        return state
    own = net.state_dict()
    return {**{prefix + name: own[name] for name in INPUT_TRANSFORM}, **state}
