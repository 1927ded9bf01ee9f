"""How tables, figures and progress write what they are about, and in which order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

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


def counted(number: int, noun: str) -> str:
    """So many of something.

    >>> counted(1, "run"), counted(2000, "seed")
    ('1 run', '2,000 seeds')
    """
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def epoch_span(epochs: Iterable[int]) -> str:
    """For how long some runs were trained.

    >>> epoch_span([20, 20]), epoch_span([20, 5])
    ('20 epochs', '5 to 20 epochs')
    """
    least, *more = sorted(set(epochs))
    return f"{least} to {more[-1]} epochs" if more else counted(least, "epoch")


def setting_title(arch: str, optimizer: str, joint: str = ", ") -> str:
    """Architecture and optimiser in the paper's spelling.

    >>> setting_title("fc", "adam")
    'FC, Adam'
    """
    return f"{architecture_name(arch)}{joint}{OPTIMIZER_NAMES.get(optimizer, optimizer)}"
