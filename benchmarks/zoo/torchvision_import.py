"""torchvision, imported beside a PyTorch without CUDA."""

from __future__ import annotations

import torch

_OPERATORS = ("nms", "qnms")
_library: torch.library.Library | None = None


def declare_operators() -> None:
    """Declare what torchvision's compiled part would, where that part cannot be loaded.

    Its wheels are compiled against PyTorch with CUDA. Its Python part gives the shape rules of two
    operators, which nothing here calls, and fails to be imported if nobody has declared them. timm,
    monai, segmentation-models-pytorch, facenet-pytorch and onnx2torch import it.
    """
    global _library
    if _library is not None or hasattr(torch.ops.torchvision, "nms"):
        return
    _library = torch.library.Library("torchvision", "DEF")
    for name in _OPERATORS:
        _library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
