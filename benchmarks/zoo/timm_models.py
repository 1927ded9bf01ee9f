"""timm: one model of each of 25 families, ten classes; random weights.

Chosen for what they are built of, before any was tried.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from .models import ZooModel, images
from .torchvision_import import declare_operators

SIZE = 64

FAMILIES = {
    "ConvNeXt": "convnext_atto",
    "ConvNeXt V2": "convnextv2_atto",
    "DenseNet": "densenet121",
    "ECA-ResNet": "ecaresnet26t",
    "EfficientNet": "efficientnet_b0",
    "GhostNet": "ghostnet_050",
    "gMLP": "gmlp_ti16_224",
    "HRNet": "hrnet_w18_small",
    "LeViT": "levit_128s",
    "MLP-Mixer": "mixer_s32_224",
    "MobileNetV3": "mobilenetv3_small_050",
    "MobileViT": "mobilevit_xxs",
    "NF-ResNet": "nf_resnet26",
    "PoolFormer": "poolformer_s12",
    "RegNet Y": "regnety_002",
    "RepVGG": "repvgg_a0",
    "Res2Net": "res2net50_26w_4s",
    "ResMLP": "resmlp_12_224",
    "ResNeSt": "resnest14d",
    "ResNet": "resnet18",
    "SE-ResNeXt": "seresnext26d_32x4d",
    "SK-ResNet": "skresnet18",
    "Swin": "swin_tiny_patch4_window7_224",
    "VGG": "vgg11_bn",
    "ViT": "vit_tiny_patch16_224",
}
"""Family -> model."""

_SIZED: dict[str, dict[str, Any]] = {
    "gmlp_ti16_224": {"img_size": SIZE},
    "levit_128s": {"img_size": SIZE},
    "mixer_s32_224": {"img_size": SIZE},
    "resmlp_12_224": {"img_size": SIZE},
    "swin_tiny_patch4_window7_224": {"img_size": SIZE, "window_size": 2},
    "vit_tiny_patch16_224": {"img_size": SIZE},
}
"""Options of the models that are made for one size."""


def _maker(name: str) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        declare_operators()
        import timm

        return timm.create_model(name, num_classes=10, **_SIZED.get(name, {}))

    return make


MODELS = tuple(
    ZooModel("timm", family, name, _maker(name), images(SIZE)) for family, name in FAMILIES.items()
)
