"""Explanations of some test images of a network, tried on it: what a record keeps of that."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from dualview.conversion.gated_network import GatedNetwork
from dualview.datasets import Dataset, Split
from dualview.experiments.networks import as_gated
from dualview.path_attribution.faithfulness.evaluation import (
    MEASURES,
    ExplanationScores,
    evaluate_explanations,
)
from dualview.progress import Progress
from dualview.training.feeding import inputs_of

EXAMPLES = 200
"""Enough to tell most methods apart."""


def tried(
    net: nn.Module,
    data: Dataset,
    *,
    split: str = "test",
    examples: int = EXAMPLES,
    methods: Sequence[str] | None = None,
    soften: float = 1.0,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """What `evaluate_explanations` finds on examples of a split, drawn by the seed.

    Args:
        net: a trained network; of a plain module, which takes standardised images, DeepLIFT is
            tried, too, unless methods are named.
        data: what it was trained on.
        split: "train", "validation" or "test".
        examples: how many; all where there are fewer.
        methods: as `evaluate_explanations` takes them.
        soften: likewise.
        seed: of the examples, and of all that is drawn.
        progress: shows how it goes.

    Returns:
        "examples", "methods", "fractions", "soften" and "trial_seconds"; by measure the means and
        in "MEASURE_error" their standard errors, method by method; "deletion_curve" and
        "insertion_curve", and their errors.
    """
    start = time.perf_counter()
    part: Split = getattr(data, split)
    chosen = torch.randperm(len(part), generator=torch.Generator().manual_seed(seed))
    rows = chosen[: min(examples, len(part))].sort().values
    gated = as_gated(net.cpu().eval(), data)
    x = inputs_of(gated, data, part.at(rows))
    plain = None if isinstance(net, GatedNetwork) or methods else net
    found = evaluate_explanations(
        gated, x, methods=methods, model=plain, soften=soften, seed=seed, progress=progress
    )
    return measured(found) | {"soften": soften, "trial_seconds": time.perf_counter() - start}


def measured(found: ExplanationScores) -> dict[str, Any]:
    """The scores as a record keeps them: numbers and lists of numbers."""
    kept: dict[str, Any] = {
        "examples": found.n_examples,
        "methods": list(found.methods),
        "fractions": list(found.fractions),
    }
    for measure in MEASURES:
        means = [found.mean(measure, method) for method in found.methods]
        kept[measure] = [mean for mean, _ in means]
        kept[f"{measure}_error"] = [error for _, error in means]
    for name, curves in found.curves.items():
        kept[f"{name}_curve"] = curves.mean(1).tolist()
        spread = curves.std(1, ddof=min(1, found.n_examples - 1))
        kept[f"{name}_curve_error"] = (spread / found.n_examples**0.5).tolist()
    return kept
