"""Layers of PyTorch that take another's place, with its own tensors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

BATCH_NORM_OF_RANK: dict[int, type[Any]] = {
    2: nn.BatchNorm1d,
    3: nn.BatchNorm1d,
    4: nn.BatchNorm2d,
    5: nn.BatchNorm3d,
}
"""Number of axes of a value -> the batch norm that takes it."""


def empty_batch_norm(rank: int, features: int, eps: float, momentum: float, affine: bool) -> Any:
    """A batch norm for values of `rank` axes that waits for its tensors."""
    layer = BATCH_NORM_OF_RANK[rank](features, eps, momentum, affine, device="meta")
    layer.num_batches_tracked = torch.zeros((), dtype=torch.long)
    return layer


def give_tensor(layer: nn.Module, name: str, tensor: Tensor) -> None:
    """Let `tensor` itself be the parameter or buffer of `layer` called `name`.

    A parameter in a buffer's place is a parameter there, and the other way round.
    """
    if isinstance(tensor, nn.Parameter) == (name in layer._parameters):
        setattr(layer, name, tensor)
        return
    (layer._parameters if name in layer._parameters else layer._buffers).pop(name)
    if isinstance(tensor, nn.Parameter):
        layer.register_parameter(name, tensor)
    else:
        layer.register_buffer(name, tensor)
