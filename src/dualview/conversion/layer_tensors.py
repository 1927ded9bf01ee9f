"""Layers of PyTorch that take another's place, with its own tensors."""

from __future__ import annotations

from collections.abc import Mapping
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

TURNED = "turned"
"""Under this name a captured network's `meta` holds the weights that lie the other way round than
the model's own, each with that."""


def batch_norm(
    rank: int, eps: float, momentum: float, tensors: Mapping[str, Tensor | None]
) -> nn.Module:
    """A batch norm for values of `rank` axes with these tensors.

    Args:
        rank: number of axes.
        eps: added to the variance.
        momentum: of the running statistics.
        tensors: "running_mean" and "running_var", "weight" and "bias" where there are any; one of
            the last two alone stands beside a constant.
    """
    mean = tensors["running_mean"]
    assert mean is not None
    affine = tensors.get("weight") is not None or tensors.get("bias") is not None
    layer = BATCH_NORM_OF_RANK[rank](len(mean), eps, momentum, affine, device="meta")
    layer.num_batches_tracked = torch.zeros((), dtype=torch.long, device=mean.device)
    for name in ("running_mean", "running_var", *(("weight", "bias") if affine else ())):
        tensor = tensors.get(name)
        if tensor is None:
            tensor = torch.ones_like(mean) if name == "weight" else torch.zeros_like(mean)
        give_tensor(layer, name, tensor)
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
