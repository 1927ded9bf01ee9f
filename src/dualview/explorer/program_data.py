"""A network's steps as the explorer's script reads them: numbers in base64, as float32 bytes."""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np

from dualview.explorer.explanations.network_records import Program, ProgramStep


def program_data(program: Program | None) -> dict[str, Any] | None:
    """The program; None for none."""
    if program is None:
        return None
    return {
        "mean": list(program.mean),
        "std": list(program.std),
        "gating": [_step(step) for step in program.gating],
        "q": list(program.preactivations),
        "weights": [_step(step) for step in program.weights],
        "gates": [[None if math.isinf(beta) else beta, scale] for beta, scale in program.gates],
        "bytes": program.images.dtype == np.uint8,
        "images": _text(program.images),
    }


def _step(step: ProgramStep) -> dict[str, Any]:
    return {
        "op": step.op,
        "source": step.source,
        "other": step.other,
        "shape": None if step.weights is None else list(step.weights.shape),
        "weights": None if step.weights is None else _text(step.weights.astype("<f4")),
        "bias": None if step.bias is None else _text(step.bias.astype("<f4")),
        "numbers": list(step.numbers),
    }


def _text(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()
