"""torchvision: one classifier of each family of its documentation, ten classes; random weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from .models import ZooModel, images
from .torchvision_import import declare_operators

SIZE = 64

FAMILIES: dict[str, tuple[str, int, dict[str, Any]]] = {
    "AlexNet": ("alexnet", SIZE, {}),
    "ConvNeXt": ("convnext_tiny", SIZE, {}),
    "DenseNet": ("densenet121", SIZE, {}),
    "EfficientNet": ("efficientnet_b0", SIZE, {}),
    "EfficientNetV2": ("efficientnet_v2_s", SIZE, {}),
    "GoogLeNet": ("googlenet", SIZE, {"init_weights": False}),
    "InceptionV3": ("inception_v3", 299, {"init_weights": False}),
    "MaxViT": ("maxvit_t", 224, {}),
    "MnasNet": ("mnasnet0_5", SIZE, {}),
    "MobileNetV2": ("mobilenet_v2", SIZE, {}),
    "MobileNetV3": ("mobilenet_v3_small", SIZE, {}),
    "RegNet": ("regnet_y_400mf", SIZE, {}),
    "ResNet": ("resnet18", SIZE, {}),
    "ResNeXt": ("resnext50_32x4d", SIZE, {}),
    "ShuffleNetV2": ("shufflenet_v2_x0_5", SIZE, {}),
    "SqueezeNet": ("squeezenet1_0", SIZE, {}),
    "Swin": ("swin_t", SIZE, {}),
    "VGG": ("vgg11", SIZE, {}),
    "ViT": ("vit_b_32", SIZE, {"image_size": SIZE}),
    "Wide ResNet": ("wide_resnet50_2", SIZE, {}),
}
"""Family -> constructor, size of the images, options."""


def _maker(name: str, options: dict[str, Any]) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        declare_operators()
        from torchvision import models

        return getattr(models, name)(num_classes=10, **options)

    return make


MODELS = tuple(
    ZooModel("torchvision", family, name, _maker(name, options), images(size))
    for family, (name, size, options) in FAMILIES.items()
)
