"""Does a network fit the data? Tried on one example before anything is trained."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dualview.datasets import Batches, Dataset
from dualview.tracing import evaluation_mode
from dualview.training.settings import SettingsError


def check_network_fits(net: nn.Module, data: Dataset, precision: str) -> None:
    """Run the network on the first training example.

    Args:
        net: as `train` takes it.
        data: as `train` takes it.
        precision: Lightning's; "64-true" and the like convert network and images.

    Raises:
        SettingsError: it does not take the images, or has no output for some class.
    """
    image, _ = next(iter(Batches(data.train, 1, mean=data.mean, std=data.std)))
    shape, classes = tuple(image.shape[1:]), data.n_classes
    converts = precision.endswith("-true") and precision != "32-true"
    like = next((p for p in net.parameters() if p.is_floating_point()), image)
    try:
        with evaluation_mode(net), torch.no_grad():
            out = net(image.to(like.device, like.dtype if converts else image.dtype))
    except Exception as error:  # whatever a layer raises
        raise SettingsError(
            f"net: it does not take this data's images, (b, c, h, w) = (1, {_listed(shape)}): "
            f"{error}. Repair: a network for float32 images of this shape (net.float()); "
            f"dense layers want an nn.Flatten() first"
        ) from error
    got = f"shape {tuple(out.shape)}" if isinstance(out, Tensor) else type(out).__name__
    least = 1 if classes == 2 else classes  # of two the squared loss takes a single output
    if not isinstance(out, Tensor) or out.dim() != 2 or len(out) != 1 or out.shape[1] < least:
        raise SettingsError(
            f"net: expected outputs (b, {classes}), one for each class, for images of shape "
            f"(1, {_listed(shape)}); got {got}. Repair: end in a layer of {classes} outputs; dense "
            f"layers want an nn.Flatten() first"
        )


def _listed(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))
