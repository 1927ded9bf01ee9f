"""Does a network fit the data and the loss? Tried before anything is trained."""

from __future__ import annotations

from torch import Tensor, nn

from dualview.conversion.trial_run import outputs_of_two
from dualview.datasets import Batches, Dataset
from dualview.errors import ExampleInputError
from dualview.training.feeding import Feed
from dualview.training.losses import targets
from dualview.training.settings import SettingsError, TrainSettings

AS_IT_IS = ("32", "32-true")
"""Lightning's precisions that convert neither the network nor the images, which are float32."""


def check_network_fits(fed: Feed, data: Dataset, settings: TrainSettings) -> None:
    """Run the network on the first training example.

    Args:
        fed: the network, and how it gets its images.
        data: as `train` takes it.
        settings: as `train` takes them.

    Raises:
        SettingsError: it does not take the images, or its outputs do not suit the loss.
    """
    images, labels = next(iter(Batches(data.train, 1, mean=fed.mean, std=fed.std)))
    net = fed.core
    like = next((p for p in net.parameters() if p.is_floating_point()), images)
    dtype = images.dtype if str(settings.precision) in AS_IT_IS else like.dtype
    shape, classes = (2, *images.shape[1:]), data.n_classes
    try:
        out = outputs_of_two(net, images.to(like.device, dtype))
    except ExampleInputError as error:
        raise SettingsError(
            f"net: it does not take this data's images, (b, c, h, w) = {shape}: {error}. Repair: a "
            f"network for float32 images of this shape (net.float()); dense layers want an "
            f"nn.Flatten() first"
        ) from error
    if not isinstance(out, Tensor) or out.dim() != 2 or len(out) != 2:
        got = f"shape {tuple(out.shape)}" if isinstance(out, Tensor) else type(out).__name__
        raise SettingsError(
            f"net: expected outputs (b, {classes}), one for each class, for images of shape "
            f"{shape}; got {got}. Repair: end in a layer of {classes} outputs; dense layers want "
            f"an nn.Flatten() first"
        )
    if settings.loss == "squared":
        targets(out, labels[[0, 0]], classes)
    elif out.shape[1] < classes:
        raise SettingsError(
            f"net: expected {classes} outputs for {classes} classes, got {out.shape[1]}. Repair: "
            f"build the network for the classes of the data"
        )
    _check_parameters(net)


def _check_parameters(net: nn.Module) -> None:
    parameters = list(net.parameters())
    if not any(p.requires_grad for p in parameters):
        raise SettingsError(
            "net: expected a network with parameters to train, got none. Repair: "
            "net.requires_grad_(True), or a network that has some"
        )
    if any(p.is_meta for p in parameters):
        raise SettingsError(
            "net: expected parameters that hold numbers, got some on the meta device. Repair: "
            "net.to_empty(device='cpu'), then draw or load them"
        )
