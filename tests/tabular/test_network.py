"""What is proved of `tabular/network.py`.

- A network for training gives standardised targets of standardised columns; the finished one gives
  the same in units of the data, and going back and forth changes nothing.
- `StraightThroughGate` is a hard gate with the derivative of a sigmoid.
- Means and deviations are those of scikit-learn's `StandardScaler`, with weights, also of columns
  that are constant but for rounding.
- Building a network leaves PyTorch's random state alone.
"""

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler

import dualview as dv
from dualview.tabular.network import (
    Scales,
    Shape,
    StraightThroughGate,
    finished,
    for_training,
    fresh_network,
    last_layer,
    row_losses,
    standardise,
)

SCALES = Scales(
    np.array([1e6, -2.0, 0.5]),
    np.array([10.0, 0.1, 1.0]),
    np.array([7.0, -1e3]),
    np.array([2, 0.3]),
)


@pytest.mark.parametrize("kind", ["dlgn", "dlgn-sf"])
@pytest.mark.parametrize("gates", ["hard", "annealed", "soft"])
def test_units_are_put_in_and_taken_out(kind, gates):
    shape = Shape(3, 2, kind, "data", 5, 3)
    learning = for_training(fresh_network(shape, 0), SCALES, gates, 4.0, torch.float64)
    net = finished(learning, SCALES, gates, 4.0)
    z = torch.randn(20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = z * torch.from_numpy(SCALES.column_deviations) + torch.from_numpy(SCALES.column_means)
    wanted = learning.weights_network(z, *learning.gates_and_switches(z, hard=gates != "soft")[0])
    wanted = wanted * torch.from_numpy(SCALES.target_deviations)
    wanted = wanted + torch.from_numpy(SCALES.target_means)
    torch.testing.assert_close(net(x), wanted, rtol=1e-9, atol=1e-9)
    again = for_training(net, SCALES, gates, 4.0, torch.float64)
    torch.testing.assert_close(again(z), learning(z), rtol=1e-12, atol=1e-12)
    assert last_layer(net).out_features == 2


def test_single_precision_is_kept_to_the_bit():
    plain = Scales(np.zeros(3), np.ones(3), np.zeros(2), np.ones(2))
    learning = for_training(
        fresh_network(Shape(3, 2, "dlgn", "ones", 4, 3), 0), plain, "hard", 4.0, torch.float32
    )
    again = for_training(finished(learning, plain, "hard", 4.0), plain, "hard", 4.0, torch.float32)
    for one, other in zip(learning.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_straight_through():
    q = torch.linspace(-3, 3, 13, dtype=torch.float64, requires_grad=True)
    gate = StraightThroughGate(2.5)(q)
    assert torch.equal(gate, dv.HardGate()(q))
    (slope,) = torch.autograd.grad(gate.sum(), q)
    soft = torch.sigmoid(2.5 * q.detach())
    torch.testing.assert_close(slope, 2.5 * soft * (1 - soft))


def test_random_state_stays():
    state = torch.random.get_rng_state()
    one, other = (fresh_network(Shape(3, 2, "dlgn", "data", 4, 3), 5) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), state)
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name])


@pytest.mark.parametrize("weighted", [False, True])
def test_standardise(weighted):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, 4)) * [1, 1e-8, 1e8, 0] + [0, 1, 1e8, 0.1]
    weights = rng.uniform(0, 3, 50) if weighted else np.ones(50)
    x = x[:, :3] if weighted else x  # StandardScaler takes no root of a weighted constant's noise
    means, deviations = standardise(x, weights, "X")
    scaler = StandardScaler().fit(x, sample_weight=weights if weighted else None)
    np.testing.assert_allclose(means, scaler.mean_, rtol=1e-12)
    np.testing.assert_allclose(deviations, scaler.scale_, rtol=1e-6)
    assert weighted or deviations[3] == 1


def test_losses_of_rows():
    outputs = torch.tensor([[0.0, 0.0], [2.0, 0.0]])
    found = row_losses(outputs, torch.tensor([0, 1]))
    wanted = torch.tensor([np.log(2), np.log(1 + np.exp(2))], dtype=torch.float32)
    torch.testing.assert_close(found, wanted)
    found = row_losses(outputs, torch.tensor([[1.0, 1.0], [2.0, 4.0]]))
    torch.testing.assert_close(found, torch.tensor([0.5, 4.0]))
