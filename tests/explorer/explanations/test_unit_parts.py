"""What units add to classes, over many examples.

- Means are those of `contributions_of_layers`, example by example, for every kind of network.
- Pairs of units: the sum over paths through both, by masking one layer at a time; they sum over the
  units before to what the unit behind adds, less what begins at biases between them.
- The network stays as it was.
"""

import numpy as np
import pytest
import torch

from dualview.explorer.explanations.unit_parts import class_sums, pair_parts, private_copy
from dualview.path_attribution.layer_sums import contributions_of_layers

from .cases import CASES, exact, inputs_of, network, small_data

ROWS = range(9)


def parts_of(net, outputs, row):
    """For each output, for each layer (channels,): what each adds to the logit of one example."""
    found = contributions_of_layers(net, inputs_of(row), outputs)
    return [[one.units.reshape(len(one.units), -1).sum(1) for one in layers] for layers in found]


@pytest.mark.parametrize(("shape", "kind"), CASES)
def test_means_by_class(shape, kind):
    net, data = network(shape, kind), small_data()
    sums = class_sums(private_copy(net), data, data.test, (0, 2))
    labels = data.test.labels.numpy()
    assert sums.rows == tuple(ROWS)
    own = exact(net)
    with torch.no_grad():
        logits = torch.cat([own(inputs_of(row)) for row in ROWS]).numpy()
    assert (sums.predicted == logits.argmax(1)).all()
    assert (sums.labels == labels).all()
    for i, label in enumerate((0, 2)):
        rows = (labels == label).nonzero()[0]
        each = [parts_of(own, (0, 2), row) for row in rows]
        for j, output in enumerate((0, 2)):
            mean = logits[rows, output].mean()
            assert sums.logits[i, j] == pytest.approx(mean, rel=1e-4, abs=1e-5)
            for layer, parts in enumerate(sums.parts):
                wanted = np.mean([example[j][layer] for example in each], 0)
                np.testing.assert_allclose(parts[:, i, j], wanted, rtol=2e-4, atol=2e-5)


def test_pairs_by_definition():
    """In a dense network: activation before * weight * gate * what follows."""
    net, data = exact(network("dense")), small_data()
    (found,) = [
        p for p in pair_parts(private_copy(net), data, data.test, [(0,), (3, 1)]) if p is not None
    ]
    first, second, last = (net.weights_network.get_submodule(n) for n in ("1", "3", "5"))
    wanted = np.zeros((4, 5))
    for row in ROWS:
        x = inputs_of(row)
        g1, g2 = (gate[0] for gate in net.gates(x))
        before = (first.weight @ net.transformed(x).flatten() + first.bias) * g1
        after = last.weight[int(data.test.labels[row])] * g2
        wanted += (after[:, None] * second.weight * before).numpy() / len(ROWS)
    np.testing.assert_allclose(found, wanted[[3, 1]], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shape", ["convolutional", "residual"])
def test_pairs_sum_to_what_the_unit_adds(shape):
    """Without biases behind the first layer, all paths to a unit pass the layer before."""
    net, data = exact(network(shape)), small_data()
    for name, values in (
        *net.weights_network.named_parameters(),
        *net.weights_network.named_buffers(),
    ):
        if name.endswith(("bias", "running_mean")):
            values.zero_()
    found = pair_parts(
        private_copy(net), data, data.test, [range(2), range(2)] + [()] * (net.n_gates - 2)
    )
    labels = data.test.labels.tolist()
    wanted = np.mean([parts_of(net, [label], row)[0][1] for row, label in enumerate(labels)], 0)
    assert found[0] is None
    np.testing.assert_allclose(found[1].sum(1), wanted[:2], rtol=1e-4, atol=1e-5)


def test_nothing_is_changed():
    net, data = network("convolutional"), small_data()
    before = {name: values.clone() for name, values in net.state_dict().items()}
    pair_parts(private_copy(net), data, data.test, [(0,), (0,)])
    assert all(values.equal(before[name]) for name, values in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())
