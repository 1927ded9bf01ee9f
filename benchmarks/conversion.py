"""Claim: a ResNet-50 is taken apart within 5 s, a small network within 0.05 s.

ResNet-50 as two libraries write it: symbolic tracing follows pytorchcv's, and `torch.export` that
of transformers, which asks for shapes; with an example of two images of 224 by 224 pixels, in
evaluation form. The small networks are given no example. Times are of the processor, so that other
programs of the machine count little; the first conversion, which imports what it needs, warms up.

    python benchmarks/conversion.py [--rounds 5] [--json FILE]
"""

from __future__ import annotations

import importlib
import time
import warnings
from collections.abc import Callable, Iterator
from statistics import median

import torch
from measurement import Measurement, parser_of, report
from torch import Tensor, nn

from dualview import DualviewWarning, disentangle
from dualview.architectures import c4gap, fc


def of_pytorchcv() -> tuple[nn.Module, Tensor]:
    resnet50 = importlib.import_module("pytorchcv.models.resnet").resnet50
    return resnet50(), torch.randn(2, 3, 224, 224)


def of_transformers() -> tuple[nn.Module, Tensor]:
    from transformers import ResNetConfig, ResNetForImageClassification

    return ResNetForImageClassification(ResNetConfig()), torch.randn(2, 3, 224, 224)


Made = tuple[nn.Module, Tensor | None]
"""A model, and an example input if any."""

NETWORKS: dict[str, tuple[Callable[[], Made], float, int]] = {
    "FC 784-1000x5-10": (lambda: (fc(10, (1, 28, 28)), None), 0.05, 10),
    "C4GAP 4x128": (lambda: (c4gap(10, (3, 32, 32)), None), 0.05, 10),
    "ResNet-50, traced": (of_pytorchcv, 5.0, 1),
    "ResNet-50, exported": (of_transformers, 5.0, 1),
}
"""Name -> model and example, bound on the time, conversions that a round is the mean of."""


def seconds_of(model: nn.Module, x: Tensor | None, times: int) -> float:
    """Processor time of one conversion, the mean of several."""
    start = time.process_time()
    for _ in range(times):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DualviewWarning)
            disentangle(model, "dnn", example_input=x, mode="evaluation")
    return (time.process_time() - start) / times


def measured(rounds: int) -> Iterator[Measurement]:
    for name, (make, bound, times) in NETWORKS.items():
        torch.manual_seed(0)
        model, x = make()
        model.eval()
        taken = [seconds_of(model, x, times) for _ in range(rounds + 1)][1:]
        yield Measurement(name, "processor time, median", median(taken), "s", rounds, at_most=bound)


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    report(
        __file__,
        __doc__,
        measured(options.rounds),
        libraries=("pytorchcv", "transformers"),
        json_file=options.json,
    )


if __name__ == "__main__":
    main()
