"""How tables, figures and progress write what they are about, and in which order."""

from __future__ import annotations

from collections.abc import Mapping

from dualview.files.user_code import own_name

ARCHITECTURE_NAMES: Mapping[str, str] = {
    "fc": "FC",
    "c4gap": "C4GAP",
    "c6white": "C6WHITE",
    "c6late": "C6LATE",
    "vgg16": "VGG-16",
    "resnet20": "ResNet-20",
    "resnet110": "ResNet-110",
    "vit": "ViT",
    "vconv": "VCONV",
    "gconv": "GCONV",
}
OPTIMIZER_NAMES: Mapping[str, str] = {"adam": "Adam", "sgd": "SGD"}


def architecture_name(arch: str) -> str:
    """How tables write an architecture.

    >>> architecture_name("vgg16"), architecture_name("./models/mine.py:make")
    ('VGG-16', 'mine.py:make')
    """
    return ARCHITECTURE_NAMES.get(arch, own_name(arch))


def architecture_place(arch: str) -> tuple[int, str]:
    """Where an architecture stands in tables and figures, for sorting.

    >>> sorted(["mine", "resnet20", "c4gap"], key=architecture_place)
    ['c4gap', 'resnet20', 'mine']
    """
    known = list(ARCHITECTURE_NAMES)
    return (known.index(arch) if arch in known else len(known)), arch


def setting_title(arch: str, optimizer: str, joint: str = ", ") -> str:
    """Architecture and optimiser in the paper's spelling.

    >>> setting_title("fc", "adam")
    'FC, Adam'
    """
    return f"{architecture_name(arch)}{joint}{OPTIMIZER_NAMES.get(optimizer, optimizer)}"
