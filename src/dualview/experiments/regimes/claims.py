"""What the experiment `regimes` says of the published order of the regimes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from statistics import fmean

from dualview.experiments.claims import Claim, Finding, setting_of
from dualview.experiments.naming import OPTIMIZER_NAMES
from dualview.experiments.published import NPK_PAPER, REGIME_ACCURACY
from dualview.experiments.records import RunRecord
from dualview.experiments.regimes.tables import by_setting
from dualview.experiments.summary import mean_sd, paired_differences, points

WITHIN = 0.01
"""A regime within one point of another one counts as its equal."""


FAMILIES = {"fc": "fully connected, MNIST", "gconv": "convolutional, CIFAR-10"}
"""Architectures of which there are records, as a claim names them."""
STATEMENTS = (
    ("Gates learnt by a ReLU network, then frozen, beat random ones", "flnpf", "frnpf-ii", 0.0),
    ("Gates learnt in a network of their own beat random ones", "dlnpf", "frnpf-ii", 0.0),
    ("The ReLU network is no worse than new weights on its frozen gates", "relu", "flnpf", -WITHIN),
)
"""Statement, the regime that is better, the other, and the least difference that bears it out."""


def _gain(
    records: Sequence[RunRecord], arch: str, more: str, less: str, least: float
) -> Finding | None:
    """`more` minus `less` with every optimiser; it holds where each mean is at least `least`."""
    runs = [run for run in records if run.architecture == arch and run.kind in (more, less)]
    gains = {
        _optimizer(group[0].config["optimizer"]): values
        for group in by_setting(runs)
        if (values := paired_differences(group, more, less))
    }
    if not gains:
        return None
    each = ", ".join(f"{points(*mean_sd(values))} ({name})" for name, values in gains.items())
    holds = all(fmean(values) > least for values in gains.values())
    return Finding(f"{each} points", holds, setting_of(runs))


def _published(arch: str, more: str, less: str) -> str:
    each = ", ".join(
        f"{points((row[more].percent - row[less].percent) / 100, None)} ({_optimizer(optimizer)})"
        for (name, optimizer), row in REGIME_ACCURACY.items()
        if name == arch
    )
    return f"{each} points ({NPK_PAPER})"


def _optimizer(name: str) -> str:
    return OPTIMIZER_NAMES.get(name, name)


CLAIMS = tuple(
    Claim(
        text=f"{text}: {family}",
        published=_published(arch, more, less),
        find=partial(_gain, arch=arch, more=more, less=less, least=least),
    )
    for arch, family in FAMILIES.items()
    for text, more, less, least in STATEMENTS
)
