"""Claim: the loader never leads the training.

On two CPU cores it serves at least 20,000 CIFAR images (3×32×32) a second at batch 128, cropped,
flipped and normalised. Images are decoded once; later starts read them from the cache.

    python benchmarks/loader.py [--json FILE]           # 50,000 random images
    python benchmarks/loader.py --data path/to/cifar10  # real ones, and the time to load them

The best of `--repeats` passes counts, after one that warms up.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator

import torch
from measurement import Measurement, parser_of, report

from dualview.datasets import Batches, Dataset, Split, load

CLAIM = 20_000
SETTINGS: dict[str, dict[str, bool | int]] = {
    "normalise": {"shuffle": True},
    "flip, normalise": {"shuffle": True, "flip": True},
    "crop, flip, normalise": {"shuffle": True, "flip": True, "crop": 4},
}


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    report(__file__, __doc__, measured(options), ["numpy"], options.json)


def arguments() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("--data", help="what dualview.datasets.load takes; random images if absent")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--repeats", type=int, default=5)
    return parser.parse_args()


def measured(options: argparse.Namespace) -> Iterator[Measurement]:
    """Loading, where there is something to load, then every setting."""
    if not options.data:
        data = random_images()
    else:
        data, decoded, cached = load_twice(options.data)
        yield Measurement(data.description, "loaded, decoded", decoded, "s", 1)
        yield Measurement(data.description, "loaded, from the cache", cached, "s", 1)
    subject = f"{len(data.train):,} images, {data.description}"
    for name, settings in SETTINGS.items():
        images = rate(data, options, **settings)
        quantity = f"{name}, batch {options.batch_size}, fastest"
        yield Measurement(subject, quantity, images, "images/s", options.repeats, at_least=CLAIM)


def random_images() -> Dataset:
    """50,000 random images of CIFAR's shape."""
    images = torch.randint(0, 256, (50_000, 3, 32, 32), dtype=torch.uint8)
    split = Split(images, torch.randint(0, 10, (50_000,)))
    names = tuple(str(label) for label in range(10))
    return Dataset(split, split, split, names, (0.5,) * 3, (0.25,) * 3, "random pixels")


def load_twice(name: str) -> tuple[Dataset, float, float]:
    """The data, and the seconds to load it with an empty cache, then from the cache."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DUALVIEW_CACHE"] = folder
        seconds = []
        for _ in range(2):
            start = time.perf_counter()
            data = load(name)
            seconds.append(time.perf_counter() - start)
    return data, seconds[0], seconds[1]


def rate(data: Dataset, options: argparse.Namespace, **settings: bool | int) -> float:
    """Images a second of the fastest pass."""
    batches = Batches(
        data.train,
        options.batch_size,
        device=options.device,
        mean=data.mean,
        std=data.std,
        **settings,  # type: ignore[arg-type]  # one dict for switches and sizes
    )
    seconds = []
    for epoch in range(options.repeats + 1):
        batches.set_epoch(epoch)
        start = time.perf_counter()
        images = None
        for images, _ in batches:  # noqa: B007  the last batch is waited for below
            pass
        if images is not None:
            images.sum().item()  # a GPU works ahead until it is asked for a number
        seconds.append(time.perf_counter() - start)
    return len(data.train) / min(seconds[1:])


if __name__ == "__main__":
    main()
