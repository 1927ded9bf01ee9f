"""Properties proved here.

1. `distil` takes a network of the user's own, with parameters of either form of file, and leaves a
   record and the network, with hard gates, which `explain` opens; the accuracies printed are those
   of the networks.
2. The same command, once it is done, trains nothing and prints the same; another file of
   parameters, or other options, are refused without `--overwrite`.
3. Files that are no parameters of the model, and hostile ones, are refused before training.
"""

from __future__ import annotations

import json
import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import dualview as dv
from dualview.cli import main
from dualview.datasets import load
from dualview.experiments import load_network
from dualview.training.accuracy import accuracy

TEXT = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 10))
"""
SHORT = ("--epochs", "2", "--batch-size", "128", "--threads", "1")


def module() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 10))


@pytest.fixture
def mine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(TEXT)
    return tmp_path


def distil(weights, *options):
    return main(["distil", "--model", "mine.py:Net", "--weights", weights, *SHORT, *options])


@pytest.mark.parametrize("name", ["net.pt", "net.safetensors"])
def test_from_file_to_network(mine, capsys, name):
    model = module()
    if name.endswith(".pt"):
        torch.save(model.state_dict(), name)
    else:
        save_file(model.state_dict(), name)
    assert distil(name) == 0
    first = capsys.readouterr().out
    place = mine / "runs" / "digits-mine-Net-distilled" / "dlgn-seed0"
    found = json.loads((place / "record.json").read_text())["measurements"]
    net = load_network(place / "network", model="mine.py:Net").net
    assert net.kind == "dlgn"
    assert isinstance(net.gate_functions[0], dv.HardGate)
    assert accuracy(net, load("digits")) == found["hard"]
    assert accuracy(model.eval(), load("digits")) == found["teacher"]
    report = (place.parent / "report.html").read_text(encoding="utf-8")
    for value in found.values():
        assert f"{100 * value:.2f} %" in first
        assert f"{100 * value:.2f}" in report
    assert f"recovered: {100 * found['hard'] / found['teacher']:.1f} %" in first
    assert distil(name) == 0
    assert capsys.readouterr().out == first
    page = mine / "page.html"
    options = ("--model", "mine.py:Net", "--index", "0", "--train", "0", "--out", str(page))
    assert main(["explain", str(place / "network"), *options]) == 0
    assert page.exists()


def test_another_run(mine, capsys):
    torch.save(module().state_dict(), "a.pt")
    assert distil("a.pt", "--no-hard", "--kind", "dgn", "--out", "run") == 0
    net = load_network("run/dgn-seed0/network", model="mine.py:Net").net
    assert net.gate_functions[0].beta == pytest.approx(400.0)
    torch.save(nn.Sequential(*module()).double().state_dict(), "b.pt")
    for options in (("a.pt", "--share", "0.1"), ("b.pt",)):
        assert distil(*options, "--no-hard", "--kind", "dgn", "--out", "run") != 0
        assert "--overwrite" in capsys.readouterr().err
    assert distil("b.pt", "--no-hard", "--kind", "dgn", "--out", "run", "--overwrite") == 0


class Hostile:
    def __reduce__(self):
        return (print, ("HOSTILE",))


def test_files_that_are_none(mine, capsys):
    (mine / "words.pt").write_text("words")
    (mine / "words.safetensors").write_text("words")
    (mine / "hostile.pt").write_bytes(pickle.dumps(Hostile()))
    torch.save(nn.Linear(3, 2).state_dict(), "other.pt")
    torch.save([1, 2], "list.pt")
    for name in ("no.pt", "words.pt", "words.safetensors", "hostile.pt", "other.pt", "list.pt"):
        assert distil(name) != 0
        said = capsys.readouterr()
        assert name in said.err
        assert "Traceback" not in said.err
        assert "HOSTILE" not in said.out
    assert not (mine / "runs").exists()
