"""ONNX: what PyTorch's exporter writes of four networks, read by `dualview.from_onnx`."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from .measuring import redraw_constants, take_statistics
from .models import ZooModel, images
from .torchvision_import import declare_operators

FAMILIES = {
    "MobileNetV3": ("mobilenet_v3_small", 64),
    "ResNet": ("resnet18", 64),
    "SqueezeNet": ("squeezenet1_1", 64),
    "VGG": ("vgg11_bn", 224),  # of smaller images its adaptive pool is written entry by entry
}
"""Family -> constructor of torchvision, size of the images."""


def _maker(name: str, size: int) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        declare_operators()
        from torchvision import models

        from dualview import from_onnx

        model = getattr(models, name)(num_classes=10).eval()
        x = images(size)(model)
        redraw_constants(model)
        take_statistics(model, x)  # a file has no batch norm that could take them
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            path = Path(folder) / "model.onnx"
            batch = {0: torch.export.Dim.DYNAMIC}
            torch.onnx.export(
                model, (x,), path, dynamo=True, dynamic_shapes=(batch,), verbose=False
            )
            return from_onnx(path)

    return make


MODELS = tuple(
    ZooModel("onnx", family, name, _maker(name, size), images(size), drawn=True)
    for family, (name, size) in FAMILIES.items()
)
