"""Claim: third parties' models convert exactly, or are refused for a stated reason.

Each model of `MODELS` either has a dual form,
`disentangle(model, "dnn", example_input=x, mode="evaluation")`, whose output equals the model's to
2e-5 in float32 and 1e-12 in float64, or it is refused.

    python -m benchmarks.zoo                       # all: record results/zoo.json, page docs/zoo.md
    python -m benchmarks.zoo timm                  # a library's anew; the others stay as recorded
    python -m benchmarks.zoo pytorchcv/nin_cifar10 # this one anew
    python -m benchmarks.zoo --page                # the page alone, from the record

The libraries are those of the extra `zoo`, and are imported where a model of theirs is built. Two
more are installed by `pip install --no-deps facenet-pytorch==2.6.0 torchcrepe==0.0.24`. A library
has a file of its own here, with the table of its models.
"""

from .measuring import (
    BOUNDS,
    Outcome,
    error_of,
    holds,
    measure,
    redraw_constants,
    spread_of,
    take_statistics,
)
from .models import ZooModel
from .page import page
from .record import MODELS, PAGE, RECORD, read, write

__all__ = [
    "BOUNDS",
    "MODELS",
    "PAGE",
    "RECORD",
    "Outcome",
    "ZooModel",
    "error_of",
    "holds",
    "measure",
    "page",
    "read",
    "redraw_constants",
    "spread_of",
    "take_statistics",
    "write",
]
