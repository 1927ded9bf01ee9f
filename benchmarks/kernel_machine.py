"""Claim: given trained gates, kernel regression is no worse than the network, and features scale.

- Digits, DLGN (FC 64-256x4-10, soft gates; Adam 1e-3, batch 64, 60 epochs): kernel ridge
  regression on the NPK of its trained gates is, for each seed and on average, no worse on the test
  split than its trained weights network. The ridge is chosen by exact leave-one-out on the
  training examples; the test split is used once, at the end. Seeds change split and weights.
- With --data (CIFAR images): the time of `NPKFeatureClassifier`, with gates of a small
  convolutional DLGN, grows linearly in the number of training examples: at most 10 % more
  processor time an example at 10,000 than at 2,500.

    python benchmarks/kernel_machine.py [--data path/to/cifar10] [--json FILE]
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from statistics import mean

import torch
from measurement import Measurement, parser_of, report
from torch import Tensor
from torch.nn import functional as F

import dualview as dv
from dualview.architectures import c4gap, fc
from dualview.datasets import Dataset, load
from dualview.path_kernel.machines import NPKClassifier, NPKFeatureClassifier

SIZES = (2_500, 5_000, 10_000)
N_TEST = 2_000
HIDDEN = 256
"""Units of each hidden layer of the network on digits."""


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    report(__file__, __doc__, measured(options), ["scipy", "scikit-learn"], options.json)


def arguments() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("--data", help="CIFAR-10, as dualview.datasets.load takes it")
    parser.add_argument(
        "--seeds", type=int, default=3, help="seeds 0 ... on digits; 0: skip digits"
    )
    parser.add_argument("--epochs", type=int, default=60, help="on digits")
    parser.add_argument("--width", type=int, default=16, help="channels of the CIFAR network")
    parser.add_argument("--features", type=int, default=512)
    parser.add_argument("--gate-epochs", type=int, default=1, help="that train the CIFAR gates")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    return parser.parse_args()


def measured(options: argparse.Namespace) -> Iterator[Measurement]:
    """All figures of both claims."""
    if options.seeds:
        yield from digits(options.seeds, options.epochs)
    if options.data:
        yield from scaling(load(options.data), options)


def digits(n_seeds: int, epochs: int) -> Iterator[Measurement]:
    """The network and the kernel machine on its gates, seed by seed and on average."""
    scores = []
    for seed in range(n_seeds):
        network, kernel, figures = digits_of(seed, epochs)
        scores.append((network, kernel))
        yield from figures
    network, kernel = (mean(column) for column in zip(*scores, strict=True))
    yield from accuracies(f"digits, {n_seeds} seeds", network, kernel, n_seeds)


def accuracies(subject: str, network: float, kernel: float, n: int) -> Iterator[Measurement]:
    """Two accuracies in percent; the claim stands at the second."""
    yield Measurement(subject, "test accuracy, weights network", network, "%", n)
    yield Measurement(subject, "test accuracy, kernel machine", kernel, "%", n, at_least=network)


def digits_of(seed: int, epochs: int) -> tuple[float, float, list[Measurement]]:
    """Test accuracy of the trained weights network, and of the kernel machine on its gates, in %.

    With them, all figures of the seed.
    """
    data = load("digits", seed=seed)
    # Neither learner needs the validation split: it joins the training examples.
    x = torch.cat([data.train.images, data.validation.images]).flatten(1)
    y = torch.cat([data.train.labels, data.validation.labels])
    test, truth = data.test.images.flatten(1), data.test.labels
    torch.manual_seed(seed)
    net = dv.disentangle(fc(10, (64, 1, 1), width=HIDDEN, depth=5), "dlgn", seed=seed)
    training = train(net, x, y, epochs, 1e-3)
    start = time.perf_counter()
    machine = NPKClassifier(net).fit(x, y)
    kernel = 100 * machine.score(test, truth)
    regression = time.perf_counter() - start
    network = 100 * accuracy(net, test, truth)
    subject = f"digits, seed {seed}"
    figures = [
        *accuracies(subject, network, kernel, 1),
        Measurement(subject, "ridge, by leave-one-out", machine.ridge_, "", 1),
        Measurement(subject, "time to train the network", training, "s", 1),
        Measurement(subject, "time of the kernel machine, test included", regression, "s", 1),
    ]
    return network, kernel, figures


def scaling(data: Dataset, options: argparse.Namespace) -> Iterator[Measurement]:
    """Time and accuracy of the machine on random features, by the number of training examples."""
    x, test = (normalised(split.images[: max(SIZES)], data) for split in (data.train, data.test))
    y, truth = data.train.labels[: len(x)], data.test.labels[:N_TEST]
    test = test[:N_TEST]
    torch.manual_seed(0)
    net = dv.disentangle(c4gap(10, data.input_shape, options.width), "dlgn", seed=0)
    subject = f"C4GAP width {options.width}, {data.description}"
    seconds = train(net, x, y, options.gate_epochs, 2e-3)
    yield Measurement(subject, "time to train the gates", seconds, "s", 1)
    score = 100 * accuracy(net, test, truth)
    yield Measurement(subject, "test accuracy, weights network", score, "%", 1)
    NPKFeatureClassifier(net, n_features=64).fit(x[:500], y[:500])  # warms up
    per_example = []
    for n in SIZES:
        start, processor = time.perf_counter(), time.process_time()
        machine = NPKFeatureClassifier(net, n_features=options.features).fit(x[:n], y[:n])
        seconds = time.perf_counter() - start
        per_example.append(1e3 * (time.process_time() - processor) / n)
        of = f"{options.features} features, {n:,} examples"
        yield Measurement(of, "time to fit", seconds, "s", 1)
        yield Measurement(of, "processor time an example", per_example[-1], "ms", 1)
        yield Measurement(of, "test accuracy", 100 * machine.score(test, truth), "%", 1)
        yield Measurement(of, "ridge, by leave-one-out", machine.ridge_, "", 1)
    quantity = f"processor time an example / at {SIZES[0]:,}"
    growth = per_example[-1] / per_example[0]
    yield Measurement(f"{SIZES[-1]:,} examples", quantity, growth, "", 1, at_most=1.1)


def train(net: dv.GatedNetwork, x: Tensor, y: Tensor, epochs: int, rate: float) -> float:
    """Adam on the cross-entropy, batch 64; seconds taken."""
    start = time.perf_counter()
    optimiser = torch.optim.Adam(net.parameters(), rate)
    net.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(64):
            optimiser.zero_grad()
            F.cross_entropy(net(x[rows]), y[rows]).backward()
            optimiser.step()
    net.eval()
    return time.perf_counter() - start


def accuracy(net: dv.GatedNetwork, x: Tensor, y: Tensor) -> float:
    """Share of examples that the network classifies rightly."""
    with torch.no_grad():
        predicted = torch.cat([net(part).argmax(1) for part in x.split(500)])
    return float((predicted == y).double().mean())


def normalised(images: Tensor, data: Dataset) -> Tensor:
    """(n, c, h, w) uint8 -> float32, zero mean and unit variance in each channel."""
    shape = (1, -1, 1, 1)
    mean_, std = torch.tensor(data.mean).reshape(shape), torch.tensor(data.std).reshape(shape)
    return (images / 255 - mean_) / std


if __name__ == "__main__":
    main()
