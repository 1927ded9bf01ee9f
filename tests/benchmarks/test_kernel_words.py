"""Words of a kernel: of all gates, those that are counted, and what the machine counts."""

import kernel_words
import pytest
import torch
from torch import nn

import dualview as dv


def net_of(*layers):
    model = nn.Sequential(nn.Conv2d(3, 70, 1), nn.ReLU(), *layers, nn.Flatten(), nn.LazyLinear(1))
    model(torch.zeros(1, 3, 4, 4))
    return dv.disentangle(model, "dnn")


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setattr(kernel_words, "SIZE", 4)
    monkeypatch.setattr(kernel_words, "SECONDS", 0.005)


def test_words():
    plain = net_of()
    assert kernel_words.words_of_gates(plain) == 16**2 * 2
    assert kernel_words.words_counted(plain) == 16**2 * 1.5  # words of 32 channels, halved
    pooled = net_of(nn.MaxPool2d(2))
    assert kernel_words.words_counted(pooled) == 4**2 * 4**2 * 1.5  # all pairs of windows
    each = net_of(nn.Conv2d(70, 70, 2, 2, groups=70), nn.ReLU(), nn.Conv2d(70, 2, 1))
    assert kernel_words.words_of_gates(each) == 16**2 * 2 + 4**2 * 2
    assert kernel_words.words_counted(each) == 4**2 * 4 * 1.5  # windows that meet are at one tap


def test_the_machine():
    assert kernel_words.limit(threads=1) > 1e6
