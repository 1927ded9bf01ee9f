"""The rules of theory section 4.5 in words, and small networks that need each of them.

Networks are as small as enumeration asks for, in float64; most end in global average pooling and a
dense layer, and have no biases.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dualview.architectures import ResNet, c4gap, fc, gconv, vconv
from dualview.experiments.theory.models import enliven

PATHS = "enumerated paths"
ENTRIES = "recursion over all pairs of entries"

Factory = Callable[[], nn.Module]


@dataclass(frozen=True)
class TriedRule:
    """One rule and the networks it is tried in.

    Attributes:
        name: unique and short.
        title: the rule in one line, at most 39 characters.
        text: the rule in words.
        models: label -> factory of a network that needs the rule.
        shape: of one example.
        converted: options of `disentangle`.
        kernel: options that both the library's kernels and the enumeration take.
        right: how the independent side is computed, in words.
    """

    name: str
    title: str
    text: str
    models: Mapping[str, Factory]
    shape: tuple[int, ...] = (2, 4, 4)
    converted: Mapping[str, Any] = field(default_factory=dict)
    kernel: Mapping[str, Any] = field(default_factory=dict)
    right: str = PATHS


# Layers


def row(*layers: Factory) -> Factory:
    """Layers one after the other."""
    return lambda: nn.Sequential(*(layer() for layer in layers))


def conv(inputs: int, outputs: int, size: Any = 3, **options: Any) -> Factory:
    """A convolution without biases."""
    return functools.partial(nn.Conv2d, inputs, outputs, size, bias=False, **options)


def dense_layer(inputs: int, outputs: int) -> Factory:
    """A dense layer without biases."""
    return functools.partial(nn.Linear, inputs, outputs, bias=False)


def pool(size: int, stride: int) -> Factory:
    """Average pooling."""
    return functools.partial(nn.AvgPool2d, size, stride)


def gap(channels: int = 2) -> Factory:
    """Global average pooling and a dense layer."""
    average = functools.partial(nn.AdaptiveAvgPool2d, 1)
    return row(average, nn.Flatten, dense_layer(channels, 2))


def between(first: Factory) -> Factory:
    """`first`, a gate, a 1×2 convolution, a gate, GAP and a dense layer."""
    return row(first, nn.ReLU, conv(2, 2, (1, 2)), nn.ReLU, gap())


class Meeting(nn.Module):
    """A convolution and a gate give u; then `meet(self, x, u)`, GAP and a dense layer."""

    def __init__(self, meet: Callable[[Meeting, Tensor, Tensor], Tensor], channels: int) -> None:
        super().__init__()
        self.meet = meet
        self.conv1, self.conv2, self.conv3 = (
            nn.Conv2d(2, 2, size, padding=size // 2, bias=False) for size in (3, 3, 1)
        )
        self.head = nn.Linear(channels, 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 2, h, w) -> (n, 2)."""
        u = F.relu(self.conv1(x))
        return self.head(self.meet(self, x, u).mean((2, 3)))


def meeting(meet: Callable[[Meeting, Tensor, Tensor], Tensor], channels: int = 2) -> Factory:
    """Branches that meet so, in `channels` channels."""
    return lambda: Meeting(meet, channels)


def batch_normed() -> nn.Module:
    """Two convolutions with batch norms that are not at their start."""
    block = (conv(2, 2, padding=1), functools.partial(nn.BatchNorm2d, 2), nn.ReLU)
    return enliven(row(*block, *block, gap())())


def biased() -> nn.Module:
    """Two convolutions and a dense layer with biases."""
    layers = [nn.Conv2d(2, 2, 3, padding=1), nn.ReLU(), nn.Conv2d(2, 2, 3), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))


TWO_CONVOLUTIONS = row(conv(2, 2, padding=1), nn.ReLU, conv(2, 2), nn.ReLU, gap())
TWO_DENSE = row(
    nn.Flatten, dense_layer(32, 4), nn.ReLU, dense_layer(4, 3), nn.ReLU, dense_layer(3, 2)
)
PLAIN = {"convolutions": TWO_CONVOLUTIONS, "dense": TWO_DENSE}

TRIED_RULES = (
    TriedRule(
        name="input",
        title="input: K = 1, M = x",
        text="The input is one term whose factors are the data.",
        models=PLAIN,
    ),
    TriedRule(
        name="input-ones",
        title="input: K = 1, M = 1, constant 1",
        text="With a constant-1 input the factors are 1 for every example.",
        models=PLAIN,
        converted={"weights_input": "ones"},
    ),
    TriedRule(
        name="zero-padded",
        title="convolution, zero padding",
        text="K′[p, q] = Σδ Σt (Kt · ⟨Mt, M′t⟩)[p + δ, q + δ], and zero outside the image.",
        models={"padding 1": between(conv(2, 2, padding=1)), "none": between(conv(2, 2))},
    ),
    TriedRule(
        name="circular",
        title="convolution, circular padding",
        text="The same with positions modulo the image’s size; reflected and repeated borders too.",
        models={
            mode: between(conv(2, 2, padding=1, padding_mode=mode))
            for mode in ("circular", "reflect", "replicate")
        },
    ),
    TriedRule(
        name="stride",
        title="convolution, stride s",
        text="K′[p, q] reads the entries at s p + δ and s q + δ.",
        models={
            f"stride {stride}": between(conv(2, 2, padding=1, stride=stride))
            for stride in (2, (1, 2))
        },
    ),
    TriedRule(
        name="dilation",
        title="convolution, dilation",
        text="Offsets δ are multiples of the dilation.",
        models={"dilation 2": between(conv(2, 2, 2, padding=1, dilation=2))},
    ),
    TriedRule(
        name="grouped",
        title="grouped and depthwise convolution",
        text="Channels are summed within their group only; terms are then resolved by channel.",
        models={
            "depthwise": row(
                conv(2, 4, 2, groups=2), nn.ReLU, conv(4, 4, 2, groups=4), nn.ReLU, gap(4)
            ),
            "groups of 2": row(conv(2, 4, 2), nn.ReLU, conv(4, 2, 2, groups=2), nn.ReLU, gap(2)),
        },
    ),
    TriedRule(
        name="flatten",
        title="flatten, then linear",
        text="K′ = Σp Σt (Kt · ⟨Mt, M′t⟩)[p, p]: only equal positions meet.",
        models={
            "": row(conv(2, 2), nn.ReLU, nn.Flatten, dense_layer(8, 3), nn.ReLU, dense_layer(3, 2))
        },
    ),
    TriedRule(
        name="gate",
        title="gate: M ← M ⊙ G, soft",
        text="A gate multiplies the factors of every term; here the soft gates of a DGN.",
        models=PLAIN,
        converted={"kind": "dgn", "gate": "soft"},
    ),
    TriedRule(
        name="hard-gate",
        title="gate: M ← M ⊙ 1{q > 0}",
        text="The hard gates of a soft-gated network, on request.",
        models={
            "": row(conv(2, 6), nn.ReLU, nn.Flatten, dense_layer(24, 6), nn.ReLU, dense_layer(6, 2))
        },
        kernel={"gates": "hard"},
    ),
    TriedRule(
        name="permuted-gates",
        title="gates of permuted layers",
        text="Gate layers in another order are gates all the same.",
        models={"": row(conv(2, 2, padding=1), nn.ReLU, conv(2, 2, padding=1), nn.ReLU, gap())},
        converted={"gate_order": (1, 0)},
    ),
    TriedRule(
        name="addition",
        title="addition: terms side by side",
        text="Branches that end in different weights are uncorrelated; their terms are listed.",
        models={"": meeting(lambda m, x, u: F.relu(m.conv2(u) + m.conv3(u)))},
    ),
    TriedRule(
        name="identity-skip",
        title="addition: identity skip, then a gate",
        text="A skip carries the product of its gates along: a term of its own.",
        models={"": meeting(lambda m, x, u: F.relu(m.conv2(u) + u))},
    ),
    TriedRule(
        name="option-a",
        title="addition: option-A shortcut",
        text="The skip takes every second position, and zeros in the new channels.",
        models={
            "": meeting(
                lambda m, x, u: F.relu(
                    F.pad(m.conv2(u)[:, :, ::2, ::2], (0, 0, 0, 0, 1, 1))
                    + F.pad(u[:, :, ::2, ::2], (0, 0, 0, 0, 1, 1))
                ),
                4,
            )
        },
    ),
    TriedRule(
        name="concatenation",
        title="concatenation of channels",
        text="Every part keeps its terms, zero in the others’ channels.",
        models={"": meeting(lambda m, x, u: torch.cat([u, F.relu(m.conv2(u))], 1), 4)},
    ),
    TriedRule(
        name="pooled-weights",
        title="average pooling → weight layer",
        text="K′[p, q] = m⁻² Σu Σv K[u, v]; gated terms are summed over channels first. Pools that "
        "overlap and that do not.",
        models={
            "before a dense layer": row(
                conv(2, 2), nn.ReLU, pool(2, 2), nn.Flatten, dense_layer(2, 2)
            ),
            "overlapping, before a convolution": row(
                conv(2, 2, padding=1), nn.ReLU, pool(2, 1), conv(2, 2, 2), nn.ReLU, gap()
            ),
        },
    ),
    TriedRule(
        name="pooled-gate",
        title="average pooling → gate",
        text="The same on channel-free terms; and, gated before and after, on terms that are not.",
        models={
            "free": row(conv(2, 2, padding=1), pool(2, 2), nn.ReLU, conv(2, 2, 2), nn.ReLU, gap()),
            "gated": row(conv(2, 2, padding=1), nn.ReLU, pool(2, 2), nn.ReLU, gap()),
        },
    ),
    TriedRule(
        name="gap",
        title="global average pooling",
        text="The pooling rule with one window.",
        models={"": row(conv(2, 3, padding=1), nn.ReLU, gap(3))},
    ),
    TriedRule(
        name="max-pool",
        title="max pooling by replayed choices",
        text="The gating network’s choice picks a position for every channel and example.",
        models={
            "": row(
                conv(2, 2, padding=1),
                nn.ReLU,
                functools.partial(nn.MaxPool2d, 2),
                conv(2, 2, 2),
                nn.ReLU,
                gap(),
            )
        },
        converted={"kind": "dgn", "max_pool": "switch"},
    ),
    TriedRule(
        name="batch-norm",
        title="batch norm: M ← M γ / √(var + ε)",
        text="In evaluation mode batch norm is a scale per channel, if asked for.",
        models={"": batch_normed},
        converted={"kind": "dnn"},
        kernel={"batch_norm": "scale"},
        right=ENTRIES,
    ),
    TriedRule(
        name="bias",
        title="bias: one more channel-free term",
        text="A bias of variance 1 is a term that is constant over positions, if asked for.",
        models={"": biased},
        kernel={"biases": True},
    ),
    TriedRule(
        name="residual",
        title="post-activation ResNet, every rule",
        text="Zero padding, strided blocks, identity and option-A skips under gates, GAP, and "
        "more than 10⁹ paths.",
        models={"": lambda: ResNet(1, 2, (2, 4, 4), 2, False)},
        converted={"kind": "dgn", "gate": "soft"},
        right=ENTRIES,
    ),
    TriedRule(
        name="architectures",
        title="FC, VCONV, GCONV, C4GAP",
        text="The papers’ plain architectures, shrunk, as they are built in the library.",
        models={
            "fc": lambda: fc(2, (2, 4, 4), 4),
            "vconv": lambda: vconv(2, (2, 4, 4), 1),
            "gconv": lambda: gconv(2, (2, 4, 4), 1),
            "c4gap": lambda: c4gap(2, (2, 4, 4), 2),
        },
        right=ENTRIES,
    ),
)
