"""Factors of examples as the compiled loops read them: a bit a channel, or a number a channel."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from dualview.path_kernel.fast.factors import Factor, Inputs
from dualview.path_kernel.fast.simd_block import LANES, compiled

BITS = 32
"""Of a word."""


def packed(factor: Factor, inputs: Inputs, groups: int) -> np.ndarray:
    """A factor on some examples.

    Returns:
        (n, windows, groups, blocks, words, lanes): uint32 with one bit a channel, or float32 with
        one word a channel. Positions are filled up with zeros, one at least, to blocks of lanes.
    """
    value = factor.evaluate(inputs).expand(len(inputs[0]), -1, -1, -1, -1)
    n, windows, channels, *size = value.shape
    positions, each = math.prod(size), channels // groups
    lead, blocks = (n, windows, groups), positions // LANES + 1
    value = value.reshape(n * windows * groups, each, positions)
    if not factor.hard:
        numbers = np.zeros((*lead, blocks, each, LANES), np.float32)
        _lay_out(value.float().numpy(), numbers.reshape(len(value), blocks, each, LANES))
        return numbers
    words = np.zeros((*lead, blocks, -(-each // BITS), LANES), np.uint32)
    _set_bits(_bytes(value), words.reshape(len(value), blocks, -1, LANES))
    return words


def _bytes(value: Tensor) -> np.ndarray:
    found: np.ndarray = value.contiguous().view(torch.uint8).numpy()
    return found


@compiled
def _set_bits(value, out):
    """Bytes 0 or 1 (parts, channels, positions), channel by channel: lines that a cache holds."""
    parts, channels, positions = value.shape
    whole = positions // LANES
    for part in range(parts):
        for channel in range(channels):
            word, bit = channel // BITS, np.uint32(channel % BITS)
            line = value[part, channel]
            for block in range(whole):
                read, to = line[block * LANES : (block + 1) * LANES], out[part, block, word]
                for lane in range(LANES):
                    to[lane] |= np.uint32(read[lane]) << bit
            for lane in range(positions - whole * LANES):
                out[part, whole, word, lane] |= np.uint32(line[whole * LANES + lane]) << bit


@compiled
def _lay_out(value, out):
    """Numbers (parts, channels, positions) as (parts, blocks, channels, lanes)."""
    parts, channels, positions = value.shape
    for part in range(parts):
        for block in range(positions // LANES + 1):
            count = min(LANES, positions - block * LANES)
            for channel in range(channels):
                for lane in range(count):
                    out[part, block, channel, lane] = value[part, channel, block * LANES + lane]
