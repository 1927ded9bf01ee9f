"""Section 4.2, the limit: the empirical NTK concentrates around the expected one with width."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from dualview.experiments.theory.measurement import Measurement, Sample
from dualview.experiments.theory.models import chain, convolutions, normal, taken_apart
from dualview.experiments.theory.statement import Settings, Statement
from dualview.path_kernel.empirical import empirical_ntk
from dualview.path_kernel.kernel import expected_ntk
from dualview.path_kernel.random_weights import draw_weights

NETWORKS = 16
"""Gating networks at each width, so that no line is that of one lucky network."""


FIT_FROM = 32
"""At smaller widths the deviation has so heavy a tail that some hundred draws do not resolve it."""


@dataclass(frozen=True)
class Family:
    """Networks of one architecture at several widths.

    Attributes:
        build: width -> model.
        kind: of gated network, with hard gates.
        shape: of one example.
        draws: width -> number of draws, a multiple of `NETWORKS`.
        quick_draws: the same where it is to be quick.
    """

    build: Callable[[int], nn.Module]
    kind: str
    shape: tuple[int, ...]
    draws: Mapping[int, int]
    quick_draws: Mapping[int, int]


DENSE = Family(
    build=lambda width: chain((6, width, width, 1)),
    kind="dlgn",
    shape=(6,),
    draws={8: 480, 16: 480, 32: 320, 64: 240, 128: 160, 256: 96, 512: 64},
    quick_draws={8: 96, 16: 96, 32: 160, 64: 160, 128: 96},
)
CONVOLUTIONAL = Family(
    build=lambda width: convolutions((2, width, width), (1,), padding="zeros"),
    kind="dgn",
    shape=(2, 3, 3),
    draws={8: 480, 16: 320, 32: 240, 64: 160, 128: 96, 256: 48},
    quick_draws={8: 96, 16: 96, 32: 160, 64: 128, 128: 64},
)


def measure(settings: Settings, family: Family) -> Measurement:
    """Empirical NTKs of fresh weights at every width, hard gates fixed."""
    draws = family.quick_draws if settings.quick else family.draws
    samples = tuple(_sample(settings, family, width, count) for width, count in draws.items())
    return Measurement(samples, NETWORKS, FIT_FROM, sum(draws.values()), "draws")


def _sample(settings: Settings, family: Family, width: int, draws: int) -> Sample:
    estimates, expected = [], []
    for network in range(NETWORKS):
        net = taken_apart(family.build(width), family.kind, gate="hard")
        x = normal(3, *family.shape)
        exact = expected_ntk(net, x)
        for draw in range(draws // NETWORKS):
            weights = draw_weights(net.weights_network, settings.seed, network + NETWORKS * draw)
            estimates.append(empirical_ntk(net, x, weights=weights))
            expected.append(exact)
    return Sample(width, torch.stack(estimates), torch.stack(expected))


def _statements(name: str, network: str) -> tuple[Statement, Statement]:
    """That the mean is the expected NTK, and how fast single draws come near it."""
    return (
        Statement(
            name=f"{name}-mean",
            section="width",
            title=f"E[NTK] at every width, {network}",
            text="At each width, from 8 on, the mean of empirical NTKs over fresh weights is the "
            "expected NTK: no width is too small.",
            source="derived",
            left="mean over draws of dv.empirical_ntk",
            right="dv.expected_ntk",
            compute=Measurement.mean_sides,
            comparison="mean",
            measurement=name,
        ),
        Statement(
            name=f"{name}-slope",
            section="width",
            title=f"deviation ∝ 1 / √width, {network}",
            text="A single draw’s NTK deviates from the expected one by a share that falls as "
            "one over the root of the width: slope of log root mean square deviation against log "
            f"width, from width {FIT_FROM} on.",
            source="arXiv 2006.10529, theorem 5.1 (the limit)",
            left="fit to deviations of single draws",
            right="−1/2",
            compute=Measurement.slope_sides,
            comparison="mean",
            measurement=name,
        ),
    )


STATEMENTS = (*_statements("dense", "dense"), *_statements("convolutional", "conv"))
