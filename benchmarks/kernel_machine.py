"""Claims: given trained gates, kernel regression is no worse than the network, and features scale.

1. Digits, DLGN (FC 64-256x4-10, soft gates; Adam 1e-3, batch 64, 60 epochs): kernel ridge
   regression on the NPK of its trained gates is, for each seed and on average, no worse on the test
   split than its trained weights network. The ridge is chosen by exact leave-one-out on the
   training examples; the test split is used once, at the end. Seeds change split and weights.
2. With --data (CIFAR images): the time of `NPKFeatureClassifier`, with gates of a small
   convolutional DLGN, grows linearly in the number of training examples: at most 10 % more
   processor time an example at 10,000 than at 2,500.

    python benchmarks/kernel_machine.py [--data path/to/cifar10]
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from statistics import mean

import scipy
import sklearn
import torch
from torch import Tensor
from torch.nn import functional as F

import dualview as dv
from dualview.architectures import c4gap, fc
from dualview.datasets import Dataset, load
from dualview.path_kernel.machines import NPKClassifier, NPKFeatureClassifier

SIZES = (2_500, 5_000, 10_000)
N_TEST = 2_000


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    print(f"machine: {platform.machine()}, {os.cpu_count()} cores, {options.threads} threads used")
    print(f"versions: dualview {dv.__version__}, torch {torch.__version__}, ", end="")
    print(f"scipy {scipy.__version__}, scikit-learn {sklearn.__version__}, ", end="")
    print(f"Python {platform.python_version()}")
    if options.seeds:
        digits(options.seeds, options.epochs)
    if options.data:
        cifar(load(options.data), options)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
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


def digits(n_seeds: int, epochs: int) -> None:
    """Claim 1."""
    scores = [digits_of(seed, epochs) for seed in range(n_seeds)]
    network, kernel = (mean(column) for column in zip(*scores, strict=True))
    print(f"mean of {n_seeds} seeds: network {network:.2%}, kernel {kernel:.2%}")
    holds = all(k >= n for n, k in scores)
    print(f"claim 1 {'holds' if holds else 'DOES NOT HOLD'}\n")


def digits_of(seed: int, epochs: int) -> tuple[float, float]:
    """Test accuracy of the trained weights network, and of the kernel machine on its gates."""
    data = load("digits", seed=seed)
    # Neither learner needs the validation split: it joins the training examples.
    x = torch.cat([data.train.images, data.validation.images]).flatten(1)
    y = torch.cat([data.train.labels, data.validation.labels])
    test, truth = data.test.images.flatten(1), data.test.labels
    if seed == 0:
        print(f"\ndigits: {len(x)} training, {len(test)} test examples")
        print(f"{'seed':>4}{'network':>10}{'kernel':>10}{'ridge':>10}{'train s':>9}{'kernel s':>9}")
    torch.manual_seed(seed)
    net = dv.disentangle(fc(10, (64, 1, 1), width=256, depth=5), "dlgn", seed=seed)
    seconds = [train(net, x, y, epochs, 1e-3)]
    start = time.perf_counter()
    machine = NPKClassifier(net).fit(x, y)
    kernel = machine.score(test, truth)
    seconds.append(time.perf_counter() - start)
    network = accuracy(net, test, truth)
    print(f"{seed:4}{network:10.2%}{kernel:10.2%}{machine.ridge_:10.1e}", end="")
    print(f"{seconds[0]:9.1f}{seconds[1]:9.1f}")
    return network, kernel


def cifar(data: Dataset, options: argparse.Namespace) -> None:
    """Claim 2."""
    x, test = (normalised(split.images[: max(SIZES)], data) for split in (data.train, data.test))
    y, truth = data.train.labels[: len(x)], data.test.labels[:N_TEST]
    torch.manual_seed(0)
    net = dv.disentangle(c4gap(10, data.input_shape, options.width), "dlgn", seed=0)
    print(f"{data.description}, C4GAP width {options.width}, {options.features} features, seed 0")
    seconds = train(net, x, y, options.gate_epochs, 2e-3)
    score = accuracy(net, test[:N_TEST], truth)
    print(f"gates: {options.gate_epochs} epoch(s) on {len(x)} examples, {seconds:.0f} s; ", end="")
    print(f"their weights network: {score:.1%} of {N_TEST} test examples")
    print(f"{'n':>7}{'fit s':>8}{'cpu ms / example':>18}{'accuracy':>10}{'ridge':>9}")
    NPKFeatureClassifier(net, n_features=64).fit(x[:500], y[:500])  # warms up
    per_example = []
    for n in SIZES:
        start, processor = time.perf_counter(), time.process_time()
        machine = NPKFeatureClassifier(net, n_features=options.features).fit(x[:n], y[:n])
        seconds = time.perf_counter() - start
        per_example.append(1e3 * (time.process_time() - processor) / n)
        score = machine.score(test[:N_TEST], truth)
        print(f"{n:7}{seconds:8.1f}{per_example[-1]:18.2f}{score:10.1%}{machine.ridge_:9.0e}")
    growth = per_example[-1] / per_example[0] - 1
    verdict = "holds" if growth <= 0.1 else "DOES NOT HOLD"
    print(f"claim 2 {verdict}: {growth:+.0%} time an example from {SIZES[0]} to {SIZES[-1]}")


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
