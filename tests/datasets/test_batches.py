"""Batches.

- Crop, flip and normalisation equal a slow loop over images, pixel for pixel, on uint8 and float32
  images; without them the images come back as stored.
- Order and augmentation depend on the seed and the epoch alone: not on the batch size, the passes
  before, or the number of processes; other epochs and seeds differ.
- Every example comes once per epoch; `drop_last`, `len` and shards count right.
- Crop offsets and flips are uniform.
- Lightning sets the epoch before each pass, also after a resumption.
- Options that cannot be served are refused.
"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dualview.datasets import Batches, Split
from dualview.datasets.batches import crop_and_flip
from dualview.errors import DataError

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.5)


def a_split(n=23, shape=(3, 6, 5), dtype=torch.uint8):
    images = torch.randint(0, 256, (n, *shape), dtype=torch.uint8)
    return Split(images if dtype == torch.uint8 else images / 37 - 2, torch.arange(n))


def one_pass(batches, epoch=0):
    batches.set_epoch(epoch)
    images, labels = zip(*batches, strict=True)
    return torch.cat(images), torch.cat(labels)


def slow_crop_and_flip(image, padding, top, left, mirrored):
    _, h, w = image.shape
    out = torch.zeros_like(image)
    for i in range(h):
        for j in range(w):
            row, column = top + i - padding, left + (w - 1 - j if mirrored else j) - padding
            if 0 <= row < h and 0 <= column < w:
                out[:, i, j] = image[:, row, column]
    return out


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("padding", [0, 1, 4])
@pytest.mark.parametrize("shape", [(3, 6, 5), (1, 4, 7)])
def test_crop_and_flip_equals_the_loop(dtype, padding, shape):
    images = a_split(40, shape, dtype).images
    top, left = torch.randint(2 * padding + 1, (2, 40))
    mirrored = torch.rand(40) < 0.5
    found = crop_and_flip(images, padding, top, left, mirrored)
    args = zip(images, top.tolist(), left.tolist(), mirrored.tolist(), strict=True)
    expected = [slow_crop_and_flip(x, padding, t, e, m) for x, t, e, m in args]
    assert found.dtype == dtype
    assert torch.equal(found, torch.stack(expected))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_normalised(dtype):
    split = a_split(dtype=dtype)
    images, labels = one_pass(Batches(split, 4, mean=MEAN, std=STD))
    pixels = split.images.double() / (255 if dtype == torch.uint8 else 1)
    mean, std = (torch.tensor(v, dtype=torch.float64).reshape(3, 1, 1) for v in (MEAN, STD))
    assert images.dtype == torch.float32
    torch.testing.assert_close(images.double(), (pixels - mean) / std, rtol=0, atol=2e-6)
    assert torch.equal(labels, split.labels)


def test_not_normalised():
    split = a_split()
    images, _ = one_pass(Batches(split, 4, normalise=False))
    torch.testing.assert_close(images, split.images / 255)
    split = a_split(dtype=torch.float32)
    images, _ = one_pass(Batches(split, 4, normalise=False))
    assert torch.equal(images, split.images)


def test_augmented_images_are_cuts_of_their_own_image():
    split = a_split(12)
    images, labels = one_pass(
        Batches(split, 5, shuffle=True, crop=1, flip=True, normalise=False), epoch=2
    )
    for image, label in zip((images * 255).round().byte(), labels.tolist(), strict=True):
        cuts = [
            slow_crop_and_flip(split.images[label], 1, top, left, mirrored)
            for top in range(3)
            for left in range(3)
            for mirrored in (False, True)
        ]
        assert any(torch.equal(image, cut) for cut in cuts)


def test_zero_padding_is_black_before_normalisation():
    split = Split(torch.full((1, 3, 2, 2), 255, dtype=torch.uint8), torch.zeros(1).long())
    batches = Batches(split, 1, mean=MEAN, std=STD, crop=2)
    black = -torch.tensor(MEAN) / torch.tensor(STD)
    white = (1 - torch.tensor(MEAN)) / torch.tensor(STD)
    seen = torch.cat([one_pass(batches, epoch)[0] for epoch in range(20)])
    distance = torch.minimum(
        (seen - black.reshape(3, 1, 1)).abs(), (seen - white.reshape(3, 1, 1)).abs()
    )
    assert distance.max() < 1e-5
    assert (seen - black.reshape(3, 1, 1)).abs().min() < 1e-5


@given(
    n=st.integers(1, 30),
    batch_size=st.integers(1, 12),
    other_size=st.integers(1, 40),
    seed=st.integers(0, 2**63),
    epoch=st.integers(0, 1000),
)
def test_epoch_depends_on_seed_and_epoch_alone(n, batch_size, other_size, seed, epoch):
    split = a_split(n)
    options = {"shuffle": True, "crop": 2, "flip": True, "mean": MEAN, "std": STD, "seed": seed}
    used = Batches(split, batch_size, **options)
    one_pass(used, 3)
    next(iter(used))
    images, labels = one_pass(used, epoch)
    again, same_labels = one_pass(Batches(split, other_size, **options), epoch)
    assert torch.equal(images, again)
    assert torch.equal(labels, same_labels)
    assert sorted(labels.tolist()) == list(range(n))


def test_epochs_and_seeds_differ():
    split = a_split(50)
    orders = {
        tuple(one_pass(Batches(split, 50, shuffle=True, normalise=False, seed=seed), epoch)[1])
        for seed in range(4)
        for epoch in range(4)
    }
    assert len({tuple(map(int, order)) for order in orders}) == 16


def test_not_shuffled_keeps_the_order_and_still_augments():
    split = a_split()
    batches = Batches(split, 4, crop=2, flip=True, normalise=False)
    first, labels = one_pass(batches, 0)
    second, _ = one_pass(batches, 1)
    assert torch.equal(labels, split.labels)
    assert not torch.equal(first, second)


@pytest.mark.parametrize(("drop_last", "sizes"), [(False, [5, 5, 5, 5, 3]), (True, [5, 5, 5, 5])])
def test_sizes(drop_last, sizes):
    batches = Batches(a_split(23), 5, normalise=False, drop_last=drop_last)
    assert [len(labels) for _, labels in batches] == sizes
    assert len(batches) == len(sizes)


@given(n=st.integers(1, 20), parts=st.integers(1, 6), batch_size=st.integers(1, 7))
def test_shards_share_one_epoch(n, parts, batch_size):
    split = a_split(n)
    options = {"shuffle": True, "crop": 1, "flip": True, "normalise": False}
    shards = [Batches(split, batch_size, shard=(i, parts), **options) for i in range(parts)]
    passes = [one_pass(shard, 4) for shard in shards]
    assert len({len(shard) for shard in shards}) == 1
    assert len({len(labels) for _, labels in passes}) == 1
    together = torch.stack([labels for _, labels in passes], dim=1).reshape(-1)
    _, whole = one_pass(Batches(split, n, **options), 4)
    filled = whole.repeat(parts)[: len(together)]
    assert torch.equal(together, filled)
    assert len(together) - n < parts


def test_augmentation_is_uniform():
    n, padding = 20_000, 2
    image = torch.zeros(1, 1, 5, 5, dtype=torch.uint8)
    image[0, 0, 2, 1] = 255  # stays inside every cut, and tells left from right
    split = Split(image.expand(n, 1, 5, 5), torch.zeros(n).long())
    images, _ = one_pass(Batches(split, n, crop=padding, flip=True, normalise=False))
    place = images.reshape(n, 25).argmax(1)
    counts = torch.bincount(place, minlength=25).reshape(5, 5).double()
    # rows 0..4 are alike; unmirrored columns run over -1..3 (−1: out, so black), mirrored 1..5
    kept = images.sum((1, 2, 3)) > 0
    rows = torch.bincount(place[kept] // 5, minlength=5).double()
    assert (rows / kept.sum() - 1 / 5).abs().max() < 0.02
    columns = torch.bincount(place[kept] % 5, minlength=5).double() / n
    expected = torch.tensor([0.1, 0.2, 0.2, 0.2, 0.1], dtype=torch.float64)
    assert (columns - expected).abs().max() < 0.02
    assert counts.sum() == n


def test_lightning_sets_the_epoch(tmp_path):
    pl = pytest.importorskip("pytorch_lightning")

    class Recorder(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(90, 23)
            self.seen = []

        def training_step(self, batch, index):
            images, labels = batch
            self.seen += labels.tolist()
            return torch.nn.functional.cross_entropy(self.layer(images.flatten(1)), labels)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    def fit(epochs, resume=None):
        recorder = Recorder()
        trainer = pl.Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
        )
        trainer.fit(recorder, Batches(split, 5, shuffle=True, normalise=False), ckpt_path=resume)
        trainer.save_checkpoint(tmp_path / f"{epochs}.ckpt", weights_only=False)
        return recorder.seen

    split = a_split(23)
    expected = []
    for epoch in range(3):
        batches = Batches(split, 23, shuffle=True, normalise=False)
        expected += one_pass(batches, epoch)[1].tolist()
    assert fit(3) == expected
    assert fit(2) == expected[:46]
    assert fit(3, resume=tmp_path / "2.ckpt") == expected[46:]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size: expected .*, got 0"),
        ({"batch_size": 1.5}, r"batch_size: expected .*, got 1\.5"),
        ({"crop": -1}, "crop: expected a whole number from 0 to 1000, got -1"),
        ({"seed": -1}, "seed: expected a whole number from 0 on, got -1"),
        ({"mean": None}, "give both, or normalise=False"),
        ({"mean": (0.5,)}, r"of 3 channel\(s\), got 1 and 3"),
        ({"std": (1.0, 0.0, 1.0)}, "a channel whose pixels are all equal"),
        ({"std": (1.0, float("nan"), 1.0)}, "std: expected .* a finite number"),
        ({"shard": (2, 2)}, "0 <= i < k"),
    ],
)
def test_refusals(options, message):
    with pytest.raises(DataError, match=message):
        Batches(a_split(), **{"batch_size": 4, "mean": MEAN, "std": STD, **options})


def test_negative_epoch():
    with pytest.raises(DataError, match="epoch: expected a whole number from 0 on, got -1"):
        Batches(a_split(), 4, normalise=False).set_epoch(-1)


def test_the_split_is_not_changed():
    split = a_split(dtype=torch.float32)
    before = split.images.clone()
    for images, _ in Batches(split, 4, mean=MEAN, std=STD):
        images.zero_()
    assert torch.equal(split.images, before)
