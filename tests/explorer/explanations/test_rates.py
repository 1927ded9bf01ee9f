"""How often the channels that are shown are on.

- Rates are shares of a class's examples and of all positions, by a loop over the split.
- With a permuted gate order they are those of the layer that supplies the gates.
- A class without an example has none.
"""

import numpy as np
import pytest
import torch

from dualview.explorer.explanations.rates import channel_rates, rates_of

from .cases import exact, inputs_of, network, small_data


@pytest.mark.parametrize("shape", ["dense", "convolutional"])
def test_rates(shape):
    data, net = small_data(), exact(network(shape))
    rates = rates_of(network(shape), data, data.test)
    assert int(rates.counts.sum()) == len(data.test)
    for source in range(net.n_gates):
        channels = [2, 0]
        found = channel_rates(rates, source, channels, data.n_classes)
        assert found.channels == (2, 0)
        for label in range(data.n_classes):
            rows = [r for r in range(len(data.test)) if data.test.labels[r] == label]
            on = torch.cat([net.preactivations(inputs_of(r))[source] for r in rows]) > 0
            for place, channel in enumerate(channels):
                share = on[:, channel].double().mean().item()
                assert found.by_class[place, label] == pytest.approx(share, rel=1e-6)


def test_classes_without_an_example():
    data = small_data()
    rates = rates_of(network("dense"), data, data.test)
    found = channel_rates(rates, 0, [1], n_classes=4)
    assert np.isnan(found.by_class).tolist() == [[False, False, False, True]]
