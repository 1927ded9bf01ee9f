"""A trained network is right on images as they are, pixels from 0 to 1.

- Trained on digits, a gated network of each kind, the network of a plain module's result and those
  of a stack have on raw pixels the accuracy that was reported; also after saving and loading, as
  ONNX, by torch.export, and loaded from a run's folder, new or of before networks carried it.
- Training goes by the numbers it always did: to the last bit the same with the data's transform
  given, taken over or made; another transform is that of data with those statistics.
- Checkpoints and parameter files of before networks carried their transform are taken up.
- What cannot be standardised, and a stack with several transforms, is refused.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import dualview as dv
from dualview.architectures import fc
from dualview.conversion.parameters import load_parameters
from dualview.datasets import Split, load
from dualview.errors import DataError
from dualview.training import CHECKPOINT, MODEL, SettingsError, TrainSettings, train
from dualview.training.feeding import batches_for, feed, transform_of
from dualview.training.stacked.run import train_stacked
from tests.training.tiny import tiny_data

DIGITS = load("digits")
PIXELS, LABELS = DIGITS.test.pixels, DIGITS.test.labels
SETTINGS = TrainSettings(epochs=4, learning_rate=0.01, threads=1, tensorboard=False)
TINY = dataclasses.replace(SETTINGS, epochs=2, batch_size=16, crop=1, flip=True)
DATA = tiny_data()


def digits_net(kind: str, **options) -> dv.GatedNetwork:
    torch.manual_seed(0)
    model = fc(10, (1, 8, 8), width=24, depth=3)
    return dv.disentangle(model, kind, seed=0, **options)


def tiny(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3)
        )


def accuracy(net) -> float:
    with torch.no_grad():
        return (net(PIXELS).argmax(1) == LABELS).double().mean().item()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A DLGN trained on digits, and what training said of it."""
    net = digits_net("dlgn")
    return net, train(net, DIGITS, SETTINGS, tmp_path_factory.mktemp("run"))


def test_a_gated_network_is_right_on_pixels(trained):
    net, result = trained
    assert result.network is net
    assert accuracy(net) == pytest.approx(result.test_accuracy, abs=1e-9)
    assert result.test_accuracy > 0.85
    with torch.no_grad():  # the trap: what it was shown in training is not what it takes
        wrong = (net((PIXELS - 0.3) / 0.4).argmax(1) == LABELS).double().mean()
    assert wrong < result.test_accuracy - 0.01


def test_it_is_right_after_saving(trained, tmp_path):
    net, result = trained
    net.save_pretrained(tmp_path / "saved")
    again = dv.GatedNetwork.from_pretrained(tmp_path / "saved")
    assert again.input_transform is not None
    with torch.no_grad():
        assert torch.equal(again(PIXELS), net(PIXELS))
    exported = torch.export.export(net, (PIXELS[:2],), dynamic_shapes=({0: torch.export.Dim("n")},))
    assert accuracy(exported.module()) == pytest.approx(result.test_accuracy, abs=1e-9)


def test_it_is_right_as_onnx(trained, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    net, result = trained
    path = tmp_path / "net.onnx"
    axes = ({0: torch.export.Dim("n")},)
    torch.onnx.export(net, (PIXELS[:2],), path, dynamo=True, dynamic_shapes=axes, verbose=False)
    session = runtime.InferenceSession(str(path))
    (logits,) = session.run(None, {session.get_inputs()[0].name: PIXELS.numpy()})
    hits = np.mean(logits.argmax(1) == LABELS.numpy())
    assert hits == pytest.approx(result.test_accuracy, abs=1e-9)


@pytest.mark.parametrize("model", ["plain", "with the transform in front", "flat, in front"])
def test_a_plain_module(model, tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 10))
    if model != "plain":
        layers = net if "flat" in model else [net]
        net = nn.Sequential(dv.InputTransform(DIGITS.mean, DIGITS.std), *layers)
    result = train(net, DIGITS, SETTINGS, tmp_path)
    assert accuracy(result.network) == pytest.approx(result.test_accuracy, abs=1e-9)
    assert result.test_accuracy > 0.85
    assert (result.network is net) == (model != "plain")
    apart = dv.disentangle(result.network, "dnn")
    with torch.no_grad():
        torch.testing.assert_close(apart(PIXELS), result.network(PIXELS), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["dnn", "dlgn", "dgn-ones"])
@pytest.mark.parametrize("old", [False, True], ids=["now", "of before"])
def test_a_loaded_run(kind, old, tmp_path):
    from dualview.experiments.comparison import compare
    from dualview.experiments.finished import load_run
    from dualview.experiments.settings import ComparisonSettings

    settings = ComparisonSettings(kinds=(kind,), width=24, training=SETTINGS, seeds=1)
    (record,) = compare(settings, tmp_path)
    folder = tmp_path / f"{kind}-seed0"
    tensors = load_file(folder / MODEL)
    if old:
        kept = {name: value for name, value in tensors.items() if "input_transform" not in name}
        assert (kind == "dnn") == (len(kept) == len(tensors))
        save_file(kept, folder / MODEL)
    net = load_run(folder, DIGITS).net
    assert accuracy(net) == pytest.approx(record.test_accuracy, abs=1e-9)
    assert record.test_accuracy > 0.8


def curves(net: nn.Module, folder: Path, data=DATA):
    result = train(net, data, TINY, folder)
    rows = [dataclasses.astuple(dataclasses.replace(e, seconds=0)) for e in result.curve]
    return rows, [p.detach().clone() for p in net.parameters()]


@pytest.mark.parametrize("kind", ["plain", "dgn"])
def test_numbers_are_to_the_bit_those_of_standardised_images(kind, tmp_path):
    transform = dv.InputTransform(DATA.mean, DATA.std)
    if kind == "plain":
        nets = [tiny(), nn.Sequential(transform, tiny()), nn.Sequential(transform, *tiny())]
    else:
        nets = [
            dv.disentangle(tiny(), kind, seed=0),
            dv.disentangle(tiny(), kind, seed=0, input_transform=transform),
            dv.disentangle(nn.Sequential(transform, tiny()), kind, seed=0),
        ]
    (first, parameters), *others = [curves(net, tmp_path / str(k)) for k, net in enumerate(nets)]
    for rows, own in others:
        assert rows == first
        assert all(map(torch.equal, own, parameters))


def test_a_network_keeps_its_own_transform(tmp_path):
    net = dv.disentangle(tiny(), "dgn", seed=0, input_transform=dv.InputTransform(0.5, 0.25))
    rows, _ = curves(net, tmp_path / "own")
    like = dataclasses.replace(DATA, mean=(0.5,), std=(0.25,))
    bare = dv.disentangle(tiny(), "dgn", seed=0)
    assert rows == curves(bare, tmp_path / "like", like)[0]
    assert net.input_transform.mean.tolist() == [0.5]


def test_a_checkpoint_of_before_is_taken_up(tmp_path):
    net = dv.disentangle(tiny(), "dgn", seed=0)
    train(net, DATA, dataclasses.replace(TINY, epochs=1, schedule="constant"), tmp_path / "part")
    path = tmp_path / "part" / CHECKPOINT
    checkpoint = torch.load(path, weights_only=True)
    names = [name for name in checkpoint["state_dict"] if "input_transform" in name]
    assert len(names) == 2
    for name in names:
        del checkpoint["state_dict"][name]
    torch.save(checkpoint, path)
    again = dv.disentangle(tiny(), "dgn", seed=0)
    result = train(again, DATA, dataclasses.replace(TINY, schedule="constant"), tmp_path / "part")
    assert len(result.curve) == 2
    assert again.input_transform.is_that_of(DATA.mean, DATA.std)


def test_a_parameter_file_of_before_is_read(tmp_path):
    net, other = (
        dv.disentangle(tiny(), "dgn", seed=0, input_transform=dv.InputTransform(0.5, std))
        for std in (0.25, 2)
    )
    save_file(
        {n: v for n, v in net.state_dict().items() if "input_transform" not in n},
        tmp_path / MODEL,
    )
    load_parameters(other, tmp_path / MODEL)
    assert other.input_transform.std.tolist() == [2]
    bare = dv.disentangle(tiny(), "dgn", seed=1)
    save_file(net.state_dict(), tmp_path / MODEL)
    load_parameters(bare, tmp_path / MODEL)  # a file of now brings it
    x = torch.rand(2, 1, 4, 4)
    assert torch.equal(bare.eval()(x), net.eval()(x))


def test_stacks(tmp_path):
    nets = [digits_net("dgn", gate=dv.SoftGate()), digits_net("dgn", gate=dv.SoftGate())]
    settings = [dataclasses.replace(SETTINGS, seed=seed, epochs=2) for seed in range(2)]
    resolved = [own.resolved(len(DIGITS.train)) for own in settings]
    folders = [tmp_path / str(seed) for seed in range(2)]
    results = train_stacked(nets, DIGITS, resolved, folders)
    for net, result in zip(nets, results, strict=True):
        assert result.network is net
        assert accuracy(net) == pytest.approx(result.test_accuracy, abs=1e-9)
        assert result.test_accuracy > 0.5
    plain = [tiny_dense(), tiny_dense()]
    plain_results = train_stacked(plain, DIGITS, resolved, [f / "plain" for f in folders])
    for result in plain_results:
        assert accuracy(result.network) == pytest.approx(result.test_accuracy, abs=1e-9)
    nets[1].input_transform = dv.InputTransform(0.5, 0.5)
    with pytest.raises(SettingsError, match="expected one input transform for all"):
        train_stacked(nets, DIGITS, resolved, [tmp_path / "a", tmp_path / "b"])


def tiny_dense() -> nn.Module:
    return fc(10, (1, 8, 8), width=12, depth=3)


def test_batches_are_what_the_network_takes():
    net = digits_net("dlgn")
    (standardised, _) = next(iter(batches_for(net, DIGITS, DIGITS.test, 5)))
    net.input_transform = transform_of(DIGITS)
    (pixels, _) = next(iter(batches_for(net, DIGITS, DIGITS.test, 5)))
    assert torch.equal(pixels, PIXELS[:5])
    torch.testing.assert_close(net.transformed(pixels), standardised)


def test_float32_data_and_several_channels():
    images = torch.randn(8, 3, 4, 4) * 5 + 2
    split = Split(images, torch.arange(8) % 3)
    data = dataclasses.replace(
        DATA, train=split, validation=split, test=split, mean=(2.0, 1.0, 0.0), std=(5.0, 4.0, 3.0)
    )
    fed = feed(dv.disentangle(nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU()), seed=0), data)
    (images, _) = next(iter(batches_for(fed.whole, data, split, 8)))
    assert torch.equal(images, split.images)
    scaled = dv.InputTransform(0.5, 2)
    assert feed(nn.Sequential(scaled, nn.Flatten()), data).mean == (0.5, 0.5, 0.5)


def test_a_constant_channel_is_refused(tmp_path):
    data = dataclasses.replace(DATA, std=(0.0,))
    for net in (tiny(), dv.disentangle(tiny(), "dgn", seed=0)):
        with pytest.raises(DataError, match="cannot be normalised"):
            train(net, data, TINY, tmp_path)
