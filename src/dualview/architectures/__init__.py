"""The papers' networks and a vision transformer, as plain modules that know nothing of gates.

`papers`, `whitened` and `vision_transformer` hold the factories, `drawing` their initial
parameters, `record` what a network says of its making. Nothing is imported before it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    from dualview.architectures.whitened import c6late, c6white

NAMES = (
    "fc",
    "vconv",
    "gconv",
    "c4gap",
    "c6white",
    "c6late",
    "vgg16",
    "resnet20",
    "resnet32",
    "resnet56",
    "resnet110",
    "vit",
)
"""Of the factories, as `build` takes them, in the order of `ARCHITECTURES`."""

__all__ = [
    "ARCHITECTURES",
    "NAMES",
    "WITHOUT_DLGN",
    "BasicBlock",
    "ResNet",
    "Sequential",
    "Shape",
    "build",
    "c4gap",
    "c6late",
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


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    room = {"vit": "vision_transformer", "c6white": "whitened", "c6late": "whitened"}.get(
        name, "papers"
    )
    return getattr(importlib.import_module(f"{__name__}.{room}"), name)


def __dir__() -> list[str]:
    return __all__
