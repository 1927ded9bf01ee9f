"""The comparison that needs no download: scikit-learn's handwritten digits, in a few minutes."""

from __future__ import annotations

from dualview.experiments.settings import ComparisonSettings, DataSettings
from dualview.training import TrainSettings

DEMO = ComparisonSettings(
    data=DataSettings("digits"),
    arch="fc",
    width=128,
    kinds=("dnn", "dgn", "dlgn", "dlgn-ones"),
    seeds=3,
    training=TrainSettings(epochs=60, batch_size=64, learning_rate=2e-3, threads=1),
    experiment="demo",
)
"""Six weight layers of 128 units: 8x8 digits, 10 classes, three seeds of each kind."""
