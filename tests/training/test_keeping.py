"""Properties proved here.

1. A watcher hears of the start, every step and every epoch, in order, and how far an interrupted
   run had come.
2. When it hears of an epoch, that epoch is safe on disk.
"""

from dataclasses import asdict

import pytest
import torch

from dualview.training import CHECKPOINT, TrainSettings, train
from dualview.training.checkpoints import CURVE
from tests.training.tiny import tiny_data, tiny_net

SETTINGS = TrainSettings(epochs=3, batch_size=16, learning_rate=0.01, tensorboard=False)


class _Notes:
    def __init__(self, folder, stop_after=None):
        self.folder, self.stop_after, self.heard = folder, stop_after, []

    def started(self, epochs_done, epochs, steps_per_epoch):
        self.heard.append(("started", epochs_done, epochs, steps_per_epoch))

    def stepped(self):
        self.heard.append("step")

    def epoch_done(self, metrics):
        kept = torch.load(self.folder / CHECKPOINT, weights_only=True)
        assert kept[CURVE][-1] == asdict(metrics)
        self.heard.append(("epoch", metrics.epoch))
        if metrics.epoch == self.stop_after:
            raise KeyboardInterrupt


def test_a_watcher_hears_everything_in_order(tmp_path):
    notes = _Notes(tmp_path)
    train(tiny_net(), tiny_data(), SETTINGS, tmp_path, watcher=notes)
    epochs = [["step"] * 3 + [("epoch", epoch)] for epoch in range(3)]
    assert notes.heard == [("started", 0, 3, 3), *epochs[0], *epochs[1], *epochs[2]]


def test_a_watcher_hears_where_a_run_goes_on(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(tiny_net(), tiny_data(), SETTINGS, tmp_path, watcher=_Notes(tmp_path, 1))
    notes = _Notes(tmp_path)
    train(tiny_net(), tiny_data(), SETTINGS, tmp_path, watcher=notes)
    assert notes.heard == [("started", 2, 3, 3), "step", "step", "step", ("epoch", 2)]
