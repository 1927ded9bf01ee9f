"""Properties proved here.

1. A network of the user's own is made by what the user names, gets the file's parameters, and its
   DLGN is kept with hard gates; the record tells the accuracies and names the model without place.
2. A run that diverges says so, and keeps no network.
3. A network in a run's folder is part of the run; other parameters are another run.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

import dualview as dv
from dualview.datasets import load
from dualview.errors import RunError
from dualview.experiments.distilling import Distilling, distil_own
from dualview.experiments.run_folders import LEFT_NETWORK
from dualview.training import TrainSettings
from dualview.training.accuracy import accuracy

TEXT = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(64, 6), nn.ReLU(), nn.Linear(6, 10))
"""
QUICK = TrainSettings(epochs=1, batch_size=256, threads=1, accelerator="cpu", tensorboard=False)


@pytest.fixture
def settings(tmp_path):
    (tmp_path / "mine.py").write_text(TEXT)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.ReLU(), nn.Linear(6, 10))
    torch.save(model.state_dict(), tmp_path / "a.pt")
    where = f"{tmp_path / 'mine.py'}:Net"
    return Distilling(where, tmp_path / "a.pt", training=QUICK)


def test_what_is_left(settings, tmp_path):
    data = load("digits")
    record = distil_own(settings, data, tmp_path / "out")
    assert record.architecture == "mine.py:Net"
    assert record.status == "finished"
    assert set(record.measurements) == {"before", "soft", "hard", "teacher"}
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.ReLU(), nn.Linear(6, 10))
    model.load_state_dict(torch.load(settings.weights, weights_only=True))
    assert record.measurements["teacher"] == accuracy(model, data)
    place = tmp_path / "out" / "dlgn-seed0" / LEFT_NETWORK
    net = dv.GatedNetwork.from_pretrained(place, model=model)
    assert accuracy(net, data) == record.measurements["hard"]
    with pytest.raises(RunError, match="weights"):
        distil_own(replace(settings, weights=_other(model, tmp_path)), data, tmp_path / "out")


def _other(model, folder):
    with torch.no_grad():
        model[1].weight.add_(1)
    torch.save(model.state_dict(), folder / "b.pt")
    return folder / "b.pt"


def test_divergence(settings, tmp_path):
    wild = replace(QUICK, optimizer="sgd", learning_rate=1e30, batch_size=16, epochs=2)
    record = distil_own(replace(settings, training=wild), load("digits"), tmp_path / "out")
    assert record.status == "diverged"
    assert record.measurements == {}
    assert not (tmp_path / "out" / "dlgn-seed0" / LEFT_NETWORK).exists()
