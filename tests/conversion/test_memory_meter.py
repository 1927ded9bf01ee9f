"""Bytes of tensors that are made and gone: the most at once, and all; views are counted once."""

import torch

from dualview.conversion.memory_meter import MemoryMeter


def make(count):
    return torch.zeros(count, device="meta", dtype=torch.float64)


def test_what_is_gone_makes_room():
    with MemoryMeter() as meter:
        for _ in range(3):
            make(10)
    assert (meter.peak, meter.written) == (80, 240)


def test_what_is_kept_adds_up():
    with MemoryMeter() as meter:
        kept = [make(10) for _ in range(3)]
    assert (meter.peak, meter.written, len(kept)) == (240, 240, 3)


def test_views_and_changes_in_place():
    with MemoryMeter() as meter:
        x = make(10)
        x.reshape(2, 5)[0].add_(1)
    assert (meter.peak, meter.written) == (80, 80)
