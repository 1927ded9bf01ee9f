"""What a row of the zoo is: how a model is built, and on which inputs it is measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor, nn

EXAMPLES = 2


@dataclass(frozen=True)
class ZooModel:
    """A constructor of the zoo."""

    library: str
    """Its distribution, as `pip` calls it."""
    family: str
    name: str
    make: Callable[[], nn.Module]
    """Builds it; its library is imported here."""
    inputs: Callable[[nn.Module], Any]
    """What it is measured on: a tensor, or a dictionary of its inputs; examples first."""
    pretrained: bool = False
    """Its weights came with it; else they are random."""
    drawn: bool = False
    """Its random weights are as they are measured already."""
    output: int | None = None
    """Of several outputs the one whose path kernel is asked for."""
    multipliers: tuple[str, ...] = ()
    """Layers that are named as the gate of a product in which nothing else says which factor is."""

    @property
    def key(self) -> str:
        """Its name in the zoo."""
        return f"{self.library}/{self.name}"

    def build(self) -> nn.Module:
        """The model in evaluation mode, its weights drawn with seed 0."""
        torch.manual_seed(0)
        return self.make().eval()

    def input(self, model: nn.Module) -> Any:
        """Examples that `model` takes, the same ones every time."""
        return self.inputs(model)

    def distribution(self) -> str:
        """Its library with its version, for example "pytorchcv 0.0.67"."""
        return f"{self.library} {version(self.library)}"


def images(size: int, channels: int = 3) -> Callable[[nn.Module], Tensor]:
    """Noise of `size` by `size` pixels, (examples, channels, size, size)."""
    return noise(channels, size, size)


def noise(*shape: int) -> Callable[[nn.Module], Tensor]:
    """Noise of one shape, (examples, ...)."""

    def inputs(_: nn.Module) -> Tensor:
        return torch.randn(EXAMPLES, *shape, generator=torch.Generator().manual_seed(0))

    return inputs


def tokens(length: int, vocabulary: int) -> Callable[[nn.Module], dict[str, Tensor]]:
    """Numbers of tokens, (examples, length), as the models of transformers call them."""

    def inputs(_: nn.Module) -> dict[str, Tensor]:
        source = torch.Generator().manual_seed(0)
        numbers = torch.randint(3, vocabulary, (EXAMPLES, length), generator=source)
        return {"input_ids": numbers}

    return inputs
