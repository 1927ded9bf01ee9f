"""All models of the zoo, and the record of what became of them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from dualview.experiments.records import Provenance
from dualview.files.writing import read_json, write_json

from . import (
    monai_models,
    onnx_models,
    pretrained_models,
    pytorchcv_models,
    segmentation_models,
    timm_models,
    torchvision_models,
    transformers_models,
)
from .measuring import Outcome

ROOT = Path(__file__).parents[2]
RECORD = ROOT / "results" / "zoo.json"
PAGE = ROOT / "docs" / "zoo.md"

MODELS = {
    model.key: model
    for module in (
        pytorchcv_models,
        timm_models,
        torchvision_models,
        transformers_models,
        monai_models,
        segmentation_models,
        onnx_models,
        pretrained_models,
    )
    for model in module.MODELS
}
"""Library and name -> model."""


def read(path: Path = RECORD) -> dict[str, Outcome]:
    """Recorded outcomes by key, in the order of `MODELS`; of listed models only."""
    entries = [_outcome(entry) for entry in read_json(path)["models"]] if path.exists() else []
    found = {outcome.key: outcome for outcome in entries}
    return {key: found[key] for key in MODELS if key in found}


def _outcome(entry: dict[str, Any]) -> Outcome:
    shapes = tuple(tuple(shape) for shape in entry.pop("input_shapes"))
    where = Provenance(**entry.pop("provenance"))
    return Outcome(**entry, input_shapes=shapes, provenance=where)


def write(outcomes: dict[str, Outcome], path: Path = RECORD) -> None:
    """Write the record, in the order of `MODELS`."""
    write_json(path, {"models": [asdict(outcomes[key]) for key in MODELS if key in outcomes]})
