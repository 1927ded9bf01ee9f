"""Whatever this package opens: a named pipe in its place is refused at once, by its own error.

So is JSON that is nested too deeply, with too large numbers, or too large itself, and a file of
parameters whose header promises more than there is.
"""

from __future__ import annotations

import os
import struct

import pytest
import torch
from torch import nn

import dualview as dv
from dualview.conversion.parameters import load_parameters, save_parameters
from dualview.errors import DualviewError, SavedNetworkError
from dualview.experiments.records import load_record
from dualview.training.run import CHECKPOINT


def network():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    return dv.disentangle(model, "dgn", seed=0), model


def saved(folder, name):
    """A saved network with a pipe in the place of one of its files."""
    net, model = network()
    net.save_pretrained(folder)
    (folder / name).unlink()
    os.mkfifo(folder / name)
    return lambda: dv.GatedNetwork.from_pretrained(folder, model=model)


def parameters(folder):
    os.mkfifo(folder / "x.safetensors")
    return lambda: load_parameters(network()[0], folder / "x.safetensors")


def record(folder):
    os.mkfifo(folder / "record.json")
    return lambda: load_record(folder / "record.json")


def gram(folder, name):
    net, _ = network()
    x, out = torch.randn(4, 2), folder / "gram"
    dv.npk_gram(net, x, out, workers=1, progress=False)
    (out / name).unlink()
    os.mkfifo(out / name)
    return lambda: dv.npk_gram(net, x, out, workers=1, progress=False)


def run_config(folder):
    from dualview.experiments.finished import read_run

    for name in ("config.json", "record.json", "model.safetensors"):
        os.mkfifo(folder / name)
    return lambda: read_run(folder)


def checkpoint(folder):
    from dualview.datasets import load
    from dualview.training import TrainSettings, train

    os.mkfifo(folder / CHECKPOINT)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    settings = TrainSettings(epochs=1, tensorboard=False)
    return lambda: train(net, load("digits"), settings, folder)


READERS = {
    "config of a network": lambda folder: saved(folder / "net", "config.json"),
    "parameters of a network": lambda folder: saved(folder / "net", "model.safetensors"),
    "parameters": parameters,
    "record": record,
    "config of a run": run_config,
    "checkpoint": checkpoint,
    "metadata of a Gram matrix": lambda folder: gram(folder, "zarr.json"),
    "metadata of its array": lambda folder: gram(folder, "gram/zarr.json"),
}


@pytest.mark.parametrize("name", READERS)
def test_pipes(name, tmp_path):
    read = READERS[name](tmp_path)
    with pytest.raises(
        DualviewError, match=r"named pipe|expected a file|a link or device|link, folder"
    ):
        read()


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"a": ' + "9" * 5000 + "}",
        '{"a": 1e999}',
        '{"a": NaN}',
        "\x00",
    ],
    ids=["deep", "deep objects", "5,000 digits", "1e999", "NaN", "zero"],
)
def test_json(text, tmp_path):
    (tmp_path / "record.json").write_text(text)
    with pytest.raises(DualviewError, match=r"record\.json"):
        load_record(tmp_path / "record.json")


@pytest.mark.parametrize("size", [2**60, 10**8, 99, 0])
def test_headers_of_parameters(size, tmp_path):
    net, _ = network()
    path = tmp_path / "x.safetensors"
    save_parameters(net, path)
    content = path.read_bytes()
    path.write_bytes(struct.pack("<Q", size) + content[8:])
    with pytest.raises(SavedNetworkError, match=r"x\.safetensors"):
        load_parameters(net, path)
