"""What training examples add to a prediction.

- Parts are alpha_j K(x, x_j), with the kernel by hand, and sum with the offset to the scores of the
  machine, whatever its options, for a network (fitted here) and for a fitted machine; several
  examples at once are the same as one by one.
- Top examples are in order and of one sign; parts of classes sum to the score less the offset.
- Images, flat or not, tensors or arrays; labels by number or name.
- A fitted machine keeps its labels, and refuses others: another order as well.
- What is missing, too much or of the wrong shape is refused.
"""

import numpy as np
import pytest
import torch

import dualview as dv
from dualview.errors import PathKernelError
from dualview.path_kernel.attribution import kernel_attribution, kernel_attributions
from dualview.path_kernel.machines import NPKClassifier, NPKFeatureClassifier
from tests.cases import small_architecture, small_input
from tests.path_kernel.test_machines import kernel_by_hand, network, problem


def test_parts_are_coefficient_times_kernel():
    net, (x, y), (new, _) = network(), problem(), problem(4, seed=1)
    machine = NPKClassifier(net, ridge=0.01).fit(x, y)
    kernel = kernel_by_hand(net, new, x)
    for row, example in enumerate(new):
        why = kernel_attribution(machine, example, train_labels=y)
        np.testing.assert_allclose(why.kernel, kernel[row], rtol=1e-10)
        np.testing.assert_allclose(why.parts, kernel[row][:, None] * machine.dual_coef_, rtol=1e-10)
        np.testing.assert_allclose(why.scores, machine.decision_function(new)[row], rtol=1e-9)
        np.testing.assert_allclose(why.offset + why.parts.sum(0), why.scores, atol=1e-12)
        assert why.discrepancy < 1e-12
        assert why.predicted == machine.predict(new[row : row + 1])[0]
        np.testing.assert_array_equal(why.labels, y)


def test_the_kernel_is_that_of_the_machine_with_all_its_options():
    net, (x, y), (new, _) = network(), problem(), problem(1, seed=1)
    machine = NPKClassifier(net, ridge=0.1, biases=True, bias_variance=3.0).fit(x, y)
    why = kernel_attribution(machine, new)
    np.testing.assert_allclose(why.scores, machine.decision_function(new)[0], rtol=1e-9)
    without = kernel_attribution(NPKClassifier(net, ridge=0.1).fit(x, y), new)
    assert not np.allclose(why.kernel, without.kernel)


def test_a_network_is_fitted_as_the_machine_is():
    net, (x, y), (new, _) = network(gate="soft"), problem(), problem(1, seed=1)
    for options in ({}, {"ridge": 0.1, "gates": "hard"}, {"ridge": [0.1, 1.0]}):
        machine = NPKClassifier(net, **options).fit(x, y)
        expected = kernel_attribution(machine, new, train_labels=y)
        why = kernel_attribution(net, new, x, y, **options)
        np.testing.assert_array_equal(why.parts, expected.parts)
        np.testing.assert_array_equal(why.scores, expected.scores)


def test_several_examples_are_the_same_as_one_by_one():
    net, (x, y), (new, _) = network(), problem(), problem(5, seed=1)
    machine = NPKClassifier(net).fit(x, y)
    every = kernel_attributions(machine, new, y)
    assert len(every) == 5
    for example, why in zip(new, every, strict=True):
        alone = kernel_attribution(machine, example[None], train_labels=y)
        np.testing.assert_allclose(why.parts, alone.parts, rtol=1e-12)


def test_examples_for_and_against():
    net, (x, y), (new, _) = network(), problem(30), problem(1, seed=1)
    why = kernel_attribution(net, new, x, y, ridge=0.1)
    best = why.top_for(k=1)[0]
    assert f"predicted {int(why.predicted)}: " in repr(why)
    assert f"most for it: {best.index} ({best.label}) {best.part:+.3g}" in repr(why)
    column = int(why.scores.argmax())
    own = why.parts[:, column]
    best = why.top_for(k=4)
    assert [e.index for e in best] == list(np.argsort(-own)[:4])
    for example in best:
        j = example.index
        assert example.part == own[j] > 0
        assert example.part == pytest.approx(example.kernel * example.coefficient)
        assert example.label == y[j]
        assert (example.kernel, example.coefficient) == (why.kernel[j], why.coefficients[j, column])
    other = next(c for c in why.classes if c != why.predicted)
    worst = why.top_against(other, k=30)
    parts = [example.part for example in worst]
    assert parts == sorted(parts)
    assert len(parts) == int((why.parts[:, list(why.classes).index(other)] < 0).sum()) < 30
    for label in (None, other):
        score = why.scores[column if label is None else list(why.classes).index(label)]
        offset = why.offset[column if label is None else list(why.classes).index(label)]
        groups = why.by_class(label)
        assert list(groups) == why.classes.tolist()
        assert sum(groups.values()) == pytest.approx(score - offset, rel=1e-10)
    with pytest.raises(PathKernelError, match=r"expected one of the classes \[0, 1, 2\], got 7"):
        why.by_class(7)
    for wrong in (0, 1.5, True):
        with pytest.raises(PathKernelError, match=f"k: expected a whole number .* got {wrong}"):
            why.top_for(k=wrong)


def test_two_named_classes():
    net, (x, y), (new, _) = network(), problem(classes=2), problem(1, seed=1)
    names = np.array(["cat", "dog"])[y]
    machine = NPKClassifier(net, ridge=0.1).fit(x, names)
    why = kernel_attribution(machine, new, train_labels=names)
    difference = why.scores[1] - why.scores[0]
    assert difference == pytest.approx(machine.decision_function(new)[0], rel=1e-9)
    assert why.top_for("dog")[0].label in ("cat", "dog")
    assert set(why.by_class()) == {"cat", "dog"}


def test_images_flat_or_not():
    net = dv.disentangle(small_architecture("c4gap"), "dlgn", seed=0).eval()
    x, y = small_input("c4gap", 12), torch.arange(12) % 3
    new = small_input("c4gap", 2)
    machine = NPKClassifier(net, ridge=0.1).fit(x, y)
    expected = kernel_attribution(machine, new[:1], train_labels=y)
    np.testing.assert_allclose(expected.scores, machine.decision_function(new)[0], rtol=1e-9)
    for same in (new[0], new[0].numpy(), new[:1].flatten(1), new[0].flatten().tolist()):
        why = kernel_attribution(machine, same, train_labels=y.numpy())
        np.testing.assert_allclose(why.parts, expected.parts, rtol=1e-12)
    flat = NPKClassifier(net, ridge=0.1, input_shape=tuple(x.shape[1:])).fit(x.flatten(1), y)
    why = kernel_attribution(flat, new[0], train_labels=y)
    np.testing.assert_allclose(why.parts, expected.parts, rtol=1e-12)


@pytest.fixture(scope="module")
def fitted():
    x, y = problem()
    return NPKClassifier(network(), ridge=0.1).fit(x, y), x, y


def test_a_fitted_machine_keeps_its_labels(fitted):
    machine, x, y = fitted
    alone = kernel_attribution(machine, x[0])
    np.testing.assert_array_equal(alone.labels, y)
    for same in (y, torch.as_tensor(y), list(y), y.astype(float)):
        given = kernel_attribution(machine, x[0], train_labels=same)
        np.testing.assert_array_equal(given.labels, y)
        assert given.top_for() == alone.top_for()
    names = np.array(["cat", "dog", "eel"])[y]
    named = NPKClassifier(network(), ridge=0.1).fit(x, names)
    np.testing.assert_array_equal(kernel_attribution(named, x[0]).labels, names)
    first = int(np.flatnonzero(y != y[::-1])[0])
    who = f"got {y[::-1][first]} for example {first}, fitted as {y[first]} "
    with pytest.raises(PathKernelError, match=rf"{who}.*Repair: leave them out"):
        kernel_attribution(machine, x[0], train_labels=y[::-1])
    with pytest.raises(PathKernelError, match=r"got 'dog'|got 'eel'|got 'cat'"):
        kernel_attribution(named, x[0], train_labels=names[::-1])


REFUSED = {
    "train_x: a fitted machine has its own": {"train_x": 0},
    "ridge: a fitted machine has its own": {"ridge": 0.1},
    "gates: a fitted machine has its own": {"gates": "hard"},
    r"train_labels: expected the class of each of the 40.*got shape \(\)": {"train_labels": 3},
    r"got shape \(39,\)": {"train_labels": np.zeros(39, int)},
    r"expected those .* fitted to, got 9 for example 0, fitted as \d \(40 differ": {
        "train_labels": np.full(40, 9)
    },
    r"x: expected one example of shape \(6,\), got shape \(2, 6\)": {"x": np.zeros((2, 6))},
    r"got shape \(5,\)": {"x": np.zeros(5)},
    r"got NaN or inf": {"x": np.full(6, np.nan)},
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_a_fitted_machine_refuses(fitted, message):
    machine, x, y = fitted
    options = {"x": x[0], "train_labels": y, **REFUSED[message]}
    with pytest.raises(PathKernelError, match=message):
        kernel_attribution(machine, **options)


def test_other_refusals(fitted):
    machine, x, y = fitted
    with pytest.raises(
        PathKernelError, match=r"expected examples of shape \(6,\), got shape \(6,\)"
    ):
        kernel_attributions(machine, x[0], y)
    with pytest.raises(PathKernelError, match="train_x: expected the training examples"):
        kernel_attribution(network(), x[0])
    with pytest.raises(PathKernelError, match="train_labels: expected the training examples"):
        kernel_attribution(network(), x[0], x)
    features = NPKFeatureClassifier(network(), n_features=8).fit(x, y)
    with pytest.raises(PathKernelError, match="random features have no part"):
        kernel_attribution(features, x[0], train_labels=y)
    with pytest.raises(PathKernelError, match="expected a fitted NPKClassifier"):
        kernel_attribution(NPKClassifier(network()), x[0], train_labels=y)
