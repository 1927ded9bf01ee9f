"""Explanations of some examples of a data set.

- Logits, layers, pixels, biases, paths are the library's for the network in float64; parts sum to
  the logit, for every kind of network, shape and weights input.
- Explained are the predicted class, the true one or the runner-up, and the difference of the two.
- The kernel machine's scores stand with every example, and how often it agrees is counted.
- Records say what is missing and why; the network and its mode stay as they were.
- Rows that the split does not have are refused; a watcher is told what is done.
"""

import copy

import numpy as np
import pytest
import torch

import dualview as dv
from dualview.errors import DataError, UnsupportedOperationError
from dualview.explorer.explanations.explain import explain, outputs_to_explain
from dualview.path_attribution.contributions import input_contributions
from dualview.progress import Unseen

from .cases import (
    CASES,
    KINDS,
    N_TRAIN,
    ROWS,
    exact,
    explained,
    inputs_of,
    model,
    network,
    small_data,
)


@pytest.mark.parametrize(("shape", "kind"), CASES)
def test_logits_and_parts(shape, kind):
    found = explained(shape, kind, n_train=0)
    net = exact(network(shape, kind))
    assert [example.row for example in found.examples] == list(ROWS)
    for example in found.examples:
        logits = net(inputs_of(example.row))[0].numpy()
        np.testing.assert_allclose(example.logits, logits, rtol=1e-5)  # pixels are float32
        assert example.predicted == int(logits.argmax())
        for output in example.outputs:
            check_output(output, example.logits)
        first, second, difference = example.outputs
        assert (difference.output, difference.against) == (first.output, second.output)


def check_output(output, logits):
    lead = 0.0 if output.against is None else logits[output.against]
    assert output.total == pytest.approx(logits[output.output] - lead, rel=1e-12)
    starts = output.starts
    assert starts.from_input + starts.from_biases == pytest.approx(
        output.total, rel=1e-9, abs=1e-12
    )
    for layer in output.layers:
        total = layer.through + layer.skips + layer.biases
        assert total == pytest.approx(output.total, rel=1e-9, abs=1e-12)
    assert output.from_anywhere.total == pytest.approx(output.total, rel=1e-9, abs=1e-12)
    assert output.from_input.total == pytest.approx(starts.from_input, rel=1e-9, abs=1e-12)


def test_starts_are_the_librarys():
    example = explained("convolutional").examples[0]
    net = exact(network("convolutional"))
    found = input_contributions(net, inputs_of(example.row), example.outputs[0].output)
    np.testing.assert_allclose(
        example.outputs[0].starts.coordinates, found.coordinates, rtol=1e-4, atol=1e-6
    )


def test_images_and_labels_are_the_datas():
    data = small_data()
    for example in explained("dense").examples:
        assert (example.image == data.test.images[example.row].numpy()).all()
        assert example.label == data.test.labels[example.row]


def test_ones():
    net = dv.disentangle(model("dense"), seed=0, weights_input="ones").eval()
    found = explain(net, small_data(), [1], n_train=0)
    assert found.kind == "dlgn-ones"
    check_output(found.examples[0].outputs[0], found.examples[0].logits)


@pytest.mark.parametrize(
    ("logits", "label", "expected"),
    [([3, 1, 2], 0, (0, 2)), ([3, 1, 2], 1, (0, 1)), ([5], 0, (0,)), ([1, 1], 1, (0, 1))],
)
def test_outputs(logits, label, expected):
    assert outputs_to_explain(np.array(logits), label) == expected


@pytest.mark.parametrize("shape", ["dense", "convolutional"])
def test_machine(shape):
    found = explained(shape)
    by_machine = [int(example.machine_scores.argmax()) for example in found.examples]
    by_network = [example.predicted for example in found.examples]
    labels = [example.label for example in found.examples]
    assert len(found.machine.rows) == N_TRAIN
    assert found.machine.gates == ("model" if shape == "dense" else "hard")
    assert found.machine.agreement == np.mean(np.equal(by_machine, by_network))
    assert found.machine.accuracy == np.mean(np.equal(by_machine, labels))
    assert found.machine.network_accuracy == np.mean(np.equal(by_network, labels))
    for example in found.examples:
        for output in example.outputs:
            lead = 0 if output.against is None else example.machine_scores[output.against]
            score = example.machine_scores[output.output] - lead
            assert output.machine.score == pytest.approx(score, rel=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_filters_and_what_is_missing(kind):
    found = explained("convolutional", kind, n_train=0)
    linear = kind.startswith("dlgn")
    assert all((filters is not None) == linear for filters in found.filters)
    assert len(found.filters) == len(found.layers) == network("convolutional", kind).n_gates
    assert len(found.notes) == (1 if linear else 2)
    for layer, filters in enumerate(found.filters):
        shown = {c for example in found.examples for c in example.gates[layer].shown}
        assert filters is None or set(filters.channels) == shown


def test_permuted_gates_have_the_rates_of_their_source():
    orders = [None, (1, 0)]
    plain, permuted = (
        explain(network("permuted", order=order), small_data(), [0], n_train=0) for order in orders
    )
    for layer, rates in enumerate(permuted.rates):
        other = dict(
            zip(plain.rates[1 - layer].channels, plain.rates[1 - layer].by_class, strict=True)
        )
        assert rates.channels
        for channel, by_class in zip(rates.channels, rates.by_class, strict=True):
            np.testing.assert_array_equal(by_class, other[channel])


def test_paths_that_cannot_be_followed(monkeypatch):
    def refuse(*arguments):
        raise UnsupportedOperationError("an operation")

    monkeypatch.setattr("dualview.explorer.explanations.explain.strongest_paths", refuse)
    found = explain(network("dense"), small_data(), [0], n_train=0)
    assert found.examples[0].outputs[0].from_anywhere is None
    assert any(note == "There are no paths: an operation." for note in found.notes)


def test_the_network_stays_as_it_was():
    net = copy.deepcopy(network("convolutional")).train()
    before = copy.deepcopy(net.state_dict())
    state = torch.get_rng_state()
    found = explain(net, small_data(), [3], n_train=0, planes=0)
    assert net.training
    assert all(values.equal(before[name]) for name, values in net.state_dict().items())
    assert torch.get_rng_state().equal(state)
    np.testing.assert_array_equal(
        found.examples[0].logits,
        explain(net.eval(), small_data(), [3], n_train=0, planes=0).examples[0].logits,
    )


@pytest.mark.parametrize(
    ("rows", "message"), [([], "at least one"), ([9], "0 to 8"), ([0, -1], "got -1")]
)
def test_rows_that_are_not_there(rows, message):
    with pytest.raises(DataError, match=message):
        explain(network("dense"), small_data(), rows)


class Told(Unseen):
    def __init__(self):
        self.titles, self.notes = [], []

    def over(self, items, title):
        self.titles.append((title, len(items)))
        return items

    def note(self, text):
        self.notes.append(text)


def test_watcher():
    told = Told()
    explain(network("dense"), small_data(), [0, 1], n_train=6, watcher=told)
    assert told.titles == [("norms of filters", 2), ("predictions", 2), ("filters shown", 2)]
    wanted = ("each class", "planes", "of the test split", "a map", "6 training examples")
    for words, note in zip(wanted, told.notes, strict=True):
        assert words in note
