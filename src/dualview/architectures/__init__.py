"""The papers' networks and a vision transformer, as plain modules that know nothing of gates.

`papers`, `whitened` and `vision_transformer` hold the factories, `drawing` their initial
parameters, `record` what a network says of its making.
"""

from dualview.architectures.papers import (
    ARCHITECTURES,
    WITHOUT_DLGN,
    BasicBlock,
    ResNet,
    Sequential,
    Shape,
    build,
    c4gap,
    fc,
    gconv,
    resnet20,
    resnet32,
    resnet56,
    resnet110,
    vconv,
    vgg16,
)
from dualview.architectures.vision_transformer import vit
from dualview.architectures.whitened import c6white

__all__ = [
    "ARCHITECTURES",
    "WITHOUT_DLGN",
    "BasicBlock",
    "ResNet",
    "Sequential",
    "Shape",
    "build",
    "c4gap",
    "c6white",
    "fc",
    "gconv",
    "resnet20",
    "resnet32",
    "resnet56",
    "resnet110",
    "vconv",
    "vgg16",
    "vit",
]
