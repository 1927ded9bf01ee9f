"""Explanations tried on a network: the whole, on networks whose right answers are known.

- Of a linear decision, path contributions lose exactly what they say: sensitivity 1, and no order
  deletes faster. The random explanation does neither.
- Curves begin and end at the network's own probabilities of the input and of nothing.
- The same seed gives the same numbers; the mode of the network comes back.
- An input transform changes nothing but units.
"""

import numpy as np
import pytest
import torch
from torch import nn

import dualview as dv
from dualview import evaluate_explanations
from dualview.errors import PathKernelError


def linear(features=6, classes=3):
    """A decision that is linear wherever it is asked: the gates of a positive layer stay open."""
    torch.manual_seed(0)
    first, last = nn.Linear(features, 4), nn.Linear(4, classes)
    with torch.no_grad():
        first.bias.fill_(50.0)
        last.bias.copy_(-50 * last.weight.sum(1))
    return nn.Sequential(first, nn.ReLU(), last).double()


@pytest.fixture(scope="module")
def scores():
    net = dv.disentangle(linear(), "dnn")
    x = torch.randn(8, 6, generator=torch.Generator().manual_seed(1)).double()
    return net, x, evaluate_explanations(net, x, model=linear(), steps=6)


def test_a_linear_decision_is_explained_wholly(scores):
    _, _, found = scores
    for name in ("paths", "gradient-input", "integrated-gradients", "deeplift"):
        assert found.mean("sensitivity", name)[0] == pytest.approx(1)
    assert abs(found.mean("sensitivity", "random")[0]) < 0.5
    assert found.mean("deletion", "paths")[0] < found.mean("deletion", "random")[0]
    assert found.mean("insertion", "paths")[0] > found.mean("insertion", "random")[0]
    assert found.mean("stability", "paths")[0] > 0.9


def test_curves_end_where_they_must(scores):
    net, x, found = scores
    with torch.no_grad():
        full, none = net(x).softmax(1), net(torch.zeros_like(x)).softmax(1)
    rows = np.arange(len(x))
    classes = found.targets[:, 0]
    assert classes.tolist() == full.argmax(1).tolist()
    assert found.fractions == pytest.approx(np.linspace(0, 1, 7))
    for curve in found.curves["deletion"]:
        assert curve[:, 0] == pytest.approx(full[rows, classes].numpy())
        assert curve[:, -1] == pytest.approx(none[rows, classes].numpy())
    assert found.curves["insertion"][0][:, [0, -1]] == pytest.approx(
        found.curves["deletion"][0][:, [-1, 0]]
    )
    mean, error = found.mean("deletion", "paths")
    values = found.scores["deletion"][0]
    assert (mean, error) == pytest.approx((values.mean(), values.std(ddof=1) / np.sqrt(8)))
    assert "8 examples" in repr(found)


def test_repeatable_and_without_traces():
    net = dv.disentangle(linear(), "dlgn", seed=0)
    net.train()
    x = torch.randn(2, 6).double()
    first, second = (evaluate_explanations(net, x, steps=2, sets=3, seed=5) for _ in range(2))
    assert net.training
    for measure, values in first.scores.items():
        assert np.array_equal(values, second.scores[measure])


def test_an_input_transform_is_a_change_of_units():
    model = linear()
    net = dv.disentangle(model, "dnn", input_transform=dv.InputTransform(0.5, 0.25))
    x = torch.rand(3, 6).double()
    inside = evaluate_explanations(
        dv.disentangle(model, "dnn"), (x - 0.5) / 0.25, methods=["paths"]
    )
    found = evaluate_explanations(net, x, methods=["paths"])
    for measure, values in found.scores.items():
        assert values == pytest.approx(inside.scores[measure], abs=1e-9)


def test_what_cannot_be_meant_is_refused():
    net = dv.disentangle(linear(classes=1), "dnn")
    with pytest.raises(PathKernelError, match="net: expected logits of at least two classes"):
        evaluate_explanations(net, torch.ones(2, 6).double())
    net = dv.disentangle(linear(), "dlgn", seed=0)
    with pytest.raises(PathKernelError, match="model: expected None for a network of kind 'dlgn'"):
        evaluate_explanations(net, torch.ones(2, 6).double(), model=linear())
    with pytest.raises(PathKernelError, match="methods: expected"):
        evaluate_explanations(net, torch.ones(2, 6).double(), methods=["lime"])
