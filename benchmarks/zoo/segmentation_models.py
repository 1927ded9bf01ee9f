"""segmentation-models-pytorch: four decoders behind a ResNet-18; random weights."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from .models import ZooModel, images
from .torchvision_import import declare_operators

FAMILIES = {"DeepLabV3+": "DeepLabV3Plus", "FPN": "FPN", "PSPNet": "PSPNet", "U-Net": "Unet"}
"""Family -> constructor."""


def _maker(name: str) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        declare_operators()
        import segmentation_models_pytorch as smp

        return getattr(smp, name)("resnet18", encoder_weights=None, classes=2)

    return make


MODELS = tuple(
    ZooModel("segmentation-models-pytorch", family, name, _maker(name), images(64))
    for family, name in FAMILIES.items()
)
