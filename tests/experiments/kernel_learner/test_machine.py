"""The kernel machine against the formula, written out with the kernel as a matrix in memory."""

import numpy as np
import pytest
import torch

import dualview as dv
from dualview.experiments.kernel_learner.machine import kernel_machine
from dualview.experiments.networks import build_network
from dualview.experiments.settings import ComparisonSettings
from dualview.path_kernel.ridge import RIDGES
from tests.experiments.reproduced import few_digits


def test_accuracies_are_those_of_the_regression_written_out(tmp_path):
    data = few_digits(50)
    net = build_network(ComparisonSettings(arch="fc", width=8), "dlgn", 3, data).eval()
    found = kernel_machine(net, data, tmp_path, workers=1)

    train, validation, test = (
        split.images / (255 if split.images.dtype == torch.uint8 else 1)
        for split in (data.train, data.validation, data.test)
    )
    own, chosen, asked = (
        dv.npk(net, x, train, gates="hard").double().numpy() for x in (train, validation, test)
    )
    targets = np.eye(10)[data.train.labels]
    mean = targets.mean(0)
    accuracies = []
    for ridge in RIDGES:
        penalty = ridge * own.diagonal().mean() * np.eye(len(own))
        alpha = np.linalg.solve(own + penalty, targets - mean)
        accuracies.append(
            [
                float(((k @ alpha + mean).argmax(1) == np.asarray(labels)).mean())
                for k, labels in ((chosen, data.validation.labels), (asked, data.test.labels))
            ]
        )
    best = found["kernel_validation"]
    assert best == pytest.approx(max(accuracy for accuracy, _ in accuracies), abs=1e-12)
    place = RIDGES.index(found["ridge"])
    assert [best, found["kernel"]] == pytest.approx(accuracies[place], abs=1e-12)


def test_an_earlier_matrix_is_gone_on_with(tmp_path):
    data = few_digits(30)
    net = build_network(ComparisonSettings(arch="fc", width=8), "dlgn", 0, data).eval()
    first = kernel_machine(net, data, tmp_path, workers=1)
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("c/*/*")}
    assert kernel_machine(net, data, tmp_path, workers=1) == first
    assert stamps == {path: path.stat().st_mtime_ns for path in stamps}
    assert stamps
