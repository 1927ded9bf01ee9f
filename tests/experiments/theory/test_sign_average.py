"""Properties proved here.

1. One hidden layer, by hand: E[f f'] = v1 v2 <x, x'> <G, G'> and the NTK's two summands, each
   without its own variance; blocks between outputs are 0.
2. Variances by parameter name and one for all agree.
3. Too many weights are refused.
"""

import pytest
import torch

from dualview.experiments.theory.models import chain, normal, taken_apart
from dualview.experiments.theory.sign_average import sign_averages


def test_one_hidden_layer_by_hand():
    net, x = taken_apart(chain((2, 3, 2))), normal(4, 2)
    (gate,) = net.gates(x)
    product = (x @ x.T) * (gate @ gate.T)
    found = sign_averages(net, x, {"0.weight": 0.3, "2.weight": 0.7})
    assert found.patterns == 2**12
    for output in range(2):
        torch.testing.assert_close(found.outputs[output, output], 0.3 * 0.7 * product)
        torch.testing.assert_close(found.tangents[output, output], (0.3 + 0.7) * product)
    assert found.outputs[0, 1].abs().max() < 1e-15
    assert found.tangents[0, 1].abs().max() < 1e-15


def test_one_variance_for_all():
    net, x = taken_apart(chain((2, 2, 1))), normal(2, 2)
    one, named = sign_averages(net, x, 0.4), sign_averages(net, x, dict.fromkeys(NAMES, 0.4))
    torch.testing.assert_close(one.tangents, named.tangents)


NAMES = ("0.weight", "2.weight")


def test_too_many_weights():
    with pytest.raises(ValueError, match="at most 14 weights, got 15"):
        sign_averages(taken_apart(chain((4, 3, 1))), normal(1, 4), 1.0)
