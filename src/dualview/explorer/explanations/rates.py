"""How often the channels that are shown are on, for each class."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np

from dualview.conversion.gated_network import GatedNetwork
from dualview.datasets import Dataset, Split
from dualview.explorer.explanations.inputs import spread_rows
from dualview.explorer.explanations.records import ChannelRates
from dualview.primal.rates import GateRates, gate_rates
from dualview.training.feeding import batches_for

MOST_EXAMPLES = 1000
"""Counted on, at most: of ten classes, a hundred each."""
BATCH = 50
"""Examples at a time: wide layers of images have many gates."""


def rates_of(net: GatedNetwork, data: Dataset, part: Split) -> GateRates:
    """How often each gate is on, counted in float32 on examples spread over a split."""
    rows = spread_rows(MOST_EXAMPLES, len(part))
    own = copy.deepcopy(net).cpu().float().eval()
    return gate_rates(own, batches_for(own, data, part.at(rows), BATCH))


def channel_rates(
    rates: GateRates, source: int, channels: Sequence[int], n_classes: int
) -> ChannelRates:
    """The rates of some channels of one layer, each the mean over its positions.

    Args:
        rates: of all gates.
        source: the layer of the gating network that supplies the gates.
        channels: whose rates they are.
        n_classes: of the data; those without an example have rate NaN.
    """
    of_layer = rates.by_class[source]  # (classes counted, channels, positions...)
    means = of_layer.flatten(2).mean(2) if of_layer.dim() > 2 else of_layer
    by_class = np.full((len(channels), n_classes), np.nan)
    by_class[:, list(rates.classes)] = means[:, list(channels)].T.numpy()
    return ChannelRates(tuple(channels), by_class)
