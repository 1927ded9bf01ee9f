"""Claim: the loader never leads the training.

On two CPU cores it serves at least 20,000 CIFAR images (3×32×32) a second at batch 128, cropped,
flipped and normalised. Images are decoded once; later starts read them from the cache.

    python benchmarks/loader.py                        # 50,000 random images
    python benchmarks/loader.py --data path/to/cifar10 # real ones, and the time to load them

The best of `--repeats` passes counts, after one that warms up.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time

import numpy as np
import torch

import dualview
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
    print(f"machine: {platform.machine()}, {os.cpu_count()} cores, {options.threads} threads used")
    print(f"versions: dualview {dualview.__version__}, torch {torch.__version__}, ", end="")
    print(f"numpy {np.__version__}, Python {platform.python_version()}")
    data = load_twice(options.data) if options.data else random_images()
    print(f"data: {data.description}, n = {len(data.train)}, shape {data.input_shape}")
    print(f"batch {options.batch_size} on {options.device}, best of {options.repeats} passes\n")
    rates = {name: rate(data, options, **s) for name, s in SETTINGS.items()}
    for name, images_per_second in rates.items():
        print(f"{name:24}{images_per_second:>10,.0f} images/s")
    slowest = min(rates.values())
    verdict = "holds" if slowest >= CLAIM else "DOES NOT HOLD"
    print(f"\nclaim of {CLAIM:,} images/s {verdict}: slowest {slowest:,.0f}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", help="what dualview.datasets.load takes; random images if absent")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--repeats", type=int, default=5)
    return parser.parse_args()


def random_images() -> Dataset:
    """50,000 random images of CIFAR's shape."""
    images = torch.randint(0, 256, (50_000, 3, 32, 32), dtype=torch.uint8)
    split = Split(images, torch.randint(0, 10, (50_000,)))
    names = tuple(str(label) for label in range(10))
    return Dataset(split, split, split, names, (0.5,) * 3, (0.25,) * 3, "random pixels")


def load_twice(name: str) -> Dataset:
    """Load with an empty cache, then from the cache, and print both times."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DUALVIEW_CACHE"] = folder
        for title in ("decoded", "from the cache"):
            start = time.perf_counter()
            data = load(name)
            print(f"loaded, {title}: {time.perf_counter() - start:.2f} s")
    return data


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
