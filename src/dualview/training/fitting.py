"""Does a network fit the data? Tried on one example before anything is trained."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dualview.datasets import Batches, Dataset
from dualview.tracing import evaluation_mode
from dualview.training.settings import SettingsError


def check_network_fits(net: nn.Module, data: Dataset) -> None:
    """Run the network on the first training example.

    Raises:
        SettingsError: it does not take the images, or has no output for some class.
    """
    image, _ = next(iter(Batches(data.train, 1, mean=data.mean, std=data.std)))
    shape, classes = tuple(image.shape[1:]), data.n_classes
    like = next((p for p in net.parameters() if p.is_floating_point()), image)
    try:
        with evaluation_mode(net), torch.no_grad():
            out = net(image.to(like))
    except Exception as error:  # whatever a layer raises
        raise SettingsError(
            f"net: it does not take this data's images, (b, c, h, w) = (1, {_listed(shape)}): "
            f"{error}. Repair: a network for images of this shape; dense layers want an "
            f"nn.Flatten() first"
        ) from error
    got = f"shape {tuple(out.shape)}" if isinstance(out, Tensor) else type(out).__name__
    single = classes == 2  # of the squared loss, which says more of what it wants
    least = 1 if single else classes
    if not isinstance(out, Tensor) or out.dim() != 2 or len(out) != 1 or out.shape[1] < least:
        raise SettingsError(
            f"net: expected outputs (b, {classes}), one for each class, for images of shape "
            f"(1, {_listed(shape)}); got {got}. Repair: end in a layer of {classes} outputs; dense "
            f"layers want an nn.Flatten() first"
        )


def _listed(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))
