"""monai: networks for medical images with the options of its own examples; random weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from .models import ZooModel, images
from .torchvision_import import declare_operators

SIZE = 64

FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "DenseNet": ("DenseNet121", {"spatial_dims": 2, "in_channels": 3, "out_channels": 10}),
    "SegResNet": ("SegResNet", {"spatial_dims": 2, "in_channels": 3, "init_filters": 8}),
    "U-Net": (
        "UNet",
        {
            "spatial_dims": 2,
            "in_channels": 3,
            "out_channels": 2,
            "channels": (8, 16, 32),
            "strides": (2, 2),
            "num_res_units": 2,
        },
    ),
    "ViT": (
        "ViT",
        {
            "in_channels": 3,
            "img_size": (SIZE, SIZE),
            "patch_size": (16, 16),
            "hidden_size": 48,
            "mlp_dim": 96,
            "num_layers": 2,
            "num_heads": 4,
            "classification": True,
            "spatial_dims": 2,
            "num_classes": 10,
        },
    ),
}
"""Family -> constructor, options; what is not said is as monai has it."""


def _maker(name: str, options: dict[str, Any]) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        declare_operators()
        from monai.networks import nets

        return getattr(nets, name)(**options)

    return make


MODELS = tuple(
    ZooModel("monai", family, name, _maker(name, options), images(SIZE))
    for family, (name, options) in FAMILIES.items()
)
