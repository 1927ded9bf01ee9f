"""Runs to explain, and a page's data read back."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from dualview.experiments.comparison import compare
from dualview.experiments.settings import ComparisonSettings
from dualview.training import TrainSettings


def train(folder: Path, *kinds: str) -> Path:
    """Runs of these kinds on the digits, one epoch each, in `folder`."""
    training = TrainSettings(epochs=1, batch_size=256, tensorboard=False)
    compare(ComparisonSettings(kinds=kinds, seeds=1, width=12, training=training), folder)
    return folder


def data_of(path: Path) -> dict[str, Any]:
    """What the page's script reads."""
    html = path.read_text(encoding="utf-8")
    text = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert text is not None
    data: dict[str, Any] = json.loads(text[1])
    return data
