"""Random networks for Hypothesis: images, skips, pools, shared modules, dense layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from tests.cases import SPELLINGS, TAME_SPELLINGS, enliven

# PReLU(3) fixes the number of channels, so it is left to its own test.
ANY_ACTIVATION = tuple(sorted(set(TAME_SPELLINGS) - {"nn.PReLU(3)"}))


@dataclass(frozen=True)
class Features:
    """What a random network may be made of."""

    activations: tuple[str, ...] = ANY_ACTIVATION
    max_pool: bool = True
    batch_norm: bool = True
    grouped: bool = True
    bias: bool | None = None
    shared: bool = True
    dense: bool = True
    channels: int = 4
    size: int = 6
    steps: int = 6


class RandomNetwork(nn.Module):
    """A list of steps, run in order; `saved` holds the values that skips come back to."""

    def __init__(self, steps: list[tuple[str, object]], input_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.input_shape = input_shape
        self.kept = nn.ModuleList(s for _, s in steps if isinstance(s, nn.Module))
        self.steps = [name for name, _ in steps]
        self.calls = [s for _, s in steps]

    def forward(self, x):
        saved = x
        for name, call in zip(self.steps, self.calls, strict=True):
            if name == "save":
                saved = x
            elif name == "add":
                x = x + saved
            elif name == "add in place":
                x += saved
            elif name == "concatenate":
                x = torch.cat([x, saved], 1)
            else:
                x = call(x)
        return x


@st.composite
def random_networks(draw: Callable, features: Features = Features()) -> RandomNetwork:
    """A network in evaluation mode, float64, with at least one activation, and its input shape."""
    torch.default_generator.manual_seed(draw(st.integers(0, 2**16)))
    f = features
    c = draw(st.integers(1, 3))
    h, w = draw(st.integers(4, f.size)), draw(st.integers(4, f.size))
    shape = (c, h, w)
    steps: list[tuple[str, object]] = []
    saved: tuple[int, int, int] = shape
    bias = draw(st.booleans()) if f.bias is None else f.bias
    share_activation = _spell(draw, f)() if f.shared and draw(st.booleans()) else None

    def activate() -> None:
        steps.append(("activation", share_activation or _spell(draw, f)()))

    for _ in range(draw(st.integers(1, f.steps))):
        choices = ["conv", "conv", "activation", "save", "add", "average pool"]
        choices += ["max pool"] if f.max_pool else []
        choices += ["batch norm"] if f.batch_norm else []
        choices += ["dropout", "concatenate"]
        kind = draw(st.sampled_from(choices))
        if kind == "conv":
            conv, (c, h, w) = _conv(draw, f, c, h, w, bias)
            steps.append((kind, conv))
            if f.shared and conv.in_channels == c and draw(st.integers(0, 4)) == 0:
                activate()
                h2, w2 = _conv_size(conv, h, w)
                if min(h2, w2) >= 1:
                    steps.append(("the same conv again", conv))
                    h, w = h2, w2
            if draw(st.booleans()):
                activate()
        elif kind == "activation":
            activate()
        elif kind == "save":
            saved = (c, h, w)
            steps.append((kind, None))
        elif kind == "add" and saved == (c, h, w):
            steps.append((draw(st.sampled_from(["add", "add in place"])), None))
        elif kind == "concatenate" and saved[1:] == (h, w) and c + saved[0] <= 8:
            c += saved[0]
            steps.append((kind, None))
        elif kind == "batch norm":
            steps.append((kind, nn.BatchNorm2d(c)))
        elif kind == "dropout":
            steps.append((kind, nn.Dropout(0.3, inplace=draw(st.booleans()))))
        elif kind in ("average pool", "max pool") and min(h, w) >= 2:
            call, (h, w) = _pool(draw, kind, h, w)
            steps.append((kind, call))
    activate()
    steps += _head(draw, f, c, h, w, bias, activate, steps)
    return enliven(RandomNetwork(steps, shape).double()).eval()


def _spell(draw: Callable, f: Features) -> Callable:
    return SPELLINGS[draw(st.sampled_from(f.activations))]


def _conv(draw, f: Features, c: int, h: int, w: int, bias: bool):
    groups = c if f.grouped and draw(st.integers(0, 5)) == 0 else 1
    out = groups * draw(st.integers(1, max(1, f.channels // groups)))
    kernel = draw(st.sampled_from([1, 2, 3]))
    padding = draw(st.integers(0, kernel - 1))
    mode = draw(st.sampled_from(["zeros", "zeros", "circular", "reflect", "replicate"]))
    if mode == "reflect" and padding >= min(h, w):
        mode = "zeros"
    stride = draw(st.sampled_from([1, 1, 2]))
    dilation = draw(st.sampled_from([1, 1, 2]))
    conv = nn.Conv2d(c, out, kernel, stride, padding, dilation, groups, bias, mode)
    if min(_conv_size(conv, h, w)) < 1 or padding > min(h, w):
        conv = nn.Conv2d(c, out, 1, bias=bias)
    return conv, (conv.out_channels, *_conv_size(conv, h, w))


def _conv_size(conv: nn.Conv2d, h: int, w: int) -> tuple[int, int]:
    k, p, d, s = conv.kernel_size[0], conv.padding[0], conv.dilation[0], conv.stride[0]
    if min(h, w) + 2 * p < d * (k - 1) + 1:
        return 0, 0
    return tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n in (h, w))  # type: ignore[return-value]


def _pool(draw, kind: str, h: int, w: int):
    stride = draw(st.sampled_from([1, 2]))
    padding = draw(st.integers(0, 1))
    size = tuple((n + 2 * padding - 2) // stride + 1 for n in (h, w))
    average = kind == "average pool"
    if draw(st.booleans()):
        module = nn.AvgPool2d if average else nn.MaxPool2d
        return module(2, stride, padding), size
    function = F.avg_pool2d if average else F.max_pool2d
    return (lambda x: function(x, 2, stride, padding)), size


def _head(draw, f: Features, c: int, h: int, w: int, bias: bool, activate, steps) -> list:
    """Global pooling or flatten, then one to three dense layers."""
    if draw(st.booleans()):
        pools = [nn.AdaptiveAvgPool2d(1), lambda x: x.mean((2, 3), keepdim=True)]
        steps.append(("global pool", draw(st.sampled_from(pools))))
        h = w = 1
    flattenings = [nn.Flatten(), lambda x: x.view(x.size(0), -1), lambda x: torch.flatten(x, 1)]
    steps.append(("flatten", draw(st.sampled_from(flattenings))))
    units = c * h * w
    for _ in range(draw(st.integers(0, 2)) if f.dense else 0):
        hidden = draw(st.integers(1, 4))
        steps.append(("dense", nn.Linear(units, hidden, bias)))
        units = hidden
        activate()
    return [("dense", nn.Linear(units, 2, bias))]
