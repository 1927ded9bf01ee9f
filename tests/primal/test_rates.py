"""Properties proved here.

1. Rates are the means of 1{q > 0} over each class, by a loop, for every kind of network; for any
   batch size, and for batches from a data loader.
2. The overall rate is the mean over all examples.
3. Gates are those in evaluation mode, and the network's mode comes back.
4. Labels need not be consecutive; without labels there is one class.
5. Data without examples, labels that do not fit, and values that are not finite are refused.
"""

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import dualview as dv
from dualview.datasets.batches import Batches
from dualview.datasets.dataset import Split
from dualview.errors import PrimalFilterError
from dualview.primal.rates import gate_rates
from tests.cases import small_architecture, small_input

LABELS = torch.tensor([5, 0, 5, 2, 2, 5, 0])


def network(kind="dlgn", name="c4gap"):
    model = small_architecture(name, batch_norm=name != "fc")
    example = small_input(name, 1) if kind == "dlgn-sf" else None
    return dv.disentangle(model, kind, seed=0, example_input=example).eval()


def assert_rates(rates, net, x, labels):
    assert rates.classes == tuple(labels.unique().tolist())
    with torch.no_grad():
        for layer, q in enumerate(net.preactivations(x)):
            assert rates.by_class[layer].shape == (len(rates.classes), *q.shape[1:])
            for place, label in enumerate(rates.classes):
                chosen = [n for n in range(len(x)) if labels[n] == label]
                assert rates.counts[place] == len(chosen)
                expected = sum((q[n] > 0).double() for n in chosen) / len(chosen)
                torch.testing.assert_close(rates.by_class[layer][place].double(), expected)
            torch.testing.assert_close(rates.overall[layer].double(), (q > 0).double().mean(0))


@pytest.mark.parametrize("kind", ["dnn", "dgn", "dlgn", "dlgn-sf"])
@pytest.mark.parametrize("size", [1, 3, 100])
def test_rates(kind, size):
    net, x = network(kind), small_input("c4gap", 7)
    assert_rates(gate_rates(net, x, LABELS, batch_size=size), net, x, LABELS)


def test_batches_of_a_loader():
    net, x = network(name="fc"), small_input("fc", 7)
    loader = DataLoader(TensorDataset(x, LABELS), batch_size=3)
    assert_rates(gate_rates(net, loader), net, x, LABELS)


def test_batches_of_the_package():
    net = network().float()
    split = Split(torch.randn(7, 3, 6, 5), LABELS)
    rates = gate_rates(net, Batches(split, 2, normalise=False))
    assert_rates(rates, net, split.images, LABELS)


def test_evaluation_mode():
    net, x = network().train(), small_input("c4gap", 7)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    rates = gate_rates(net, x, LABELS)
    assert net.training
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert_rates(rates, net.eval(), x, LABELS)


def test_without_labels_there_is_one_class():
    net, x = network(), small_input("c4gap", 7)
    rates = gate_rates(net, x)
    assert rates.classes == (0,)
    assert torch.equal(rates.by_class[2][0], rates.overall[2])


def test_a_gate_at_zero_is_off():
    net = network(name="fc")
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
    assert not gate_rates(net, small_input("fc", 2)).overall[0].any()


@pytest.mark.parametrize(
    ("data", "labels", "message"),
    [
        (torch.zeros(0, 3, 6, 5), None, "with examples on axis 0"),
        ([], None, "at least one example"),
        (
            torch.zeros(2, 3, 6, 5),
            torch.zeros(3, dtype=torch.long),
            "one whole number for each of 2 examples",
        ),
        (torch.zeros(2, 3, 6, 5), torch.zeros(2), "whole number .* got torch.float32"),
        ([(torch.zeros(2, 3, 6, 5), torch.zeros(1, dtype=torch.long))], None, "for each of 2"),
        ([(torch.zeros(1, 3, 6, 5), torch.zeros(1).long())], torch.zeros(1), "none beside batches"),
        (torch.full((1, 3, 6, 5), float("nan")), None, "finite"),
    ],
)
def test_refusals(data, labels, message):
    with pytest.raises(PrimalFilterError, match=message):
        gate_rates(network().float(), data, labels)


def test_an_axis_folded_into_the_batch_is_refused():
    class Folded(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = torch.nn.Linear(4, 2)

        def forward(self, x):
            return torch.relu(self.fc(x.reshape(-1, 4)))

    net = dv.disentangle(Folded(), "dgn", seed=0)
    assert net(torch.randn(5, 3, 4)).shape == (15, 2)
    with pytest.raises(PrimalFilterError, match=r"shape \(6, 2\) for two examples"):
        gate_rates(net, torch.randn(5, 3, 4))
