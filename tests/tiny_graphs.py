"""Random tiny graphs for exact averages over all signs of their weights.

Every value has one shape, (n, channels, 2, 2), so that any two can be added. A graph is a list of
operations, each on values made before it: convolutions, gates, selections of channels, constants on
either side, sums of values with factors, batch norms (shared ones too), LayerScale, pools,
permutations and changes of shape, dense layers over channels or positions, functional ones, norms
by statistics of the example, multipliers (squeeze-and-excite, attention, quotients), maxima.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from tests.cases import enliven

SIZE = (2, 2)
MOST_WEIGHTS = 10
"""Most weights (and biases, where they count) of a graph: 2^10 sign patterns."""


class TinyGraph(nn.Module):
    """Runs its operations in order; `head` reads the last value.

    Args:
        channels: of every value, even.
        layers: modules that the operations use, by number.
        operations: each makes a value of the graph and the values before it.
        head: a dense layer.
    """

    def __init__(
        self, channels: int, layers: list[nn.Module], operations: list[Operation], head: nn.Module
    ) -> None:
        super().__init__()
        self.input_shape = (channels, *SIZE)
        self.layers, self.operations, self.head = nn.ModuleList(layers), operations, head
        self.turned = [*range(1, channels), 0]
        self.copies = [0] * (channels // 2) + [1] * (channels // 2)
        self.made_of: set[str] = set()
        self.gamma = nn.Parameter(torch.empty(channels, 1, 1))
        self.matrix: nn.Parameter | None = None
        self.reset_parameters()
        self.register_buffer("mean", torch.linspace(-0.5, 1, channels).view(1, channels, 1, 1))
        self.register_buffer("places", torch.linspace(0.5, 2, 4).view(SIZE))

    def reset_parameters(self) -> None:
        """Draw LayerScale anew."""
        nn.init.uniform_(self.gamma, 0.5, 1.5)
        if self.matrix is not None:
            nn.init.normal_(self.matrix)

    def forward(self, x):
        values = [x]
        for operation in self.operations:
            values.append(operation(self, values))
        pooled = self.head.in_features == self.input_shape[0]
        return self.head(values[-1].mean((2, 3)) if pooled else values[-1].flatten(1))


Values = list[Tensor]
Operation = Callable[[TinyGraph, Values], Tensor]
OneValue = Callable[[TinyGraph, Tensor], Tensor]
TwoValues = Callable[[Tensor, Tensor], Tensor]

GATES: dict[str, OneValue] = {
    "ReLU": lambda m, h: F.relu(h),
    "leaky ReLU": lambda m, h: F.leaky_relu(h, 0.3),
    "GELU": lambda m, h: F.gelu(h),
}
SELECTIONS: dict[str, OneValue] = {
    "roll": lambda m, h: h.roll(1, 1),
    "roll back": lambda m, h: torch.roll(h, (-1,), dims=(1,)),
    "flip": lambda m, h: torch.flip(h, [1]),
    "swapped halves": lambda m, h: _joined(h.chunk(2, 1), (1, 0)),
    "first half twice": lambda m, h: _joined(torch.chunk(h, 2, dim=1), (0, 0)),
    "sum and difference": lambda m, h: _sum_and_difference(h.chunk(2, 1)),
    "shift": lambda m, h: F.pad(h, (0, 0, 0, 0, 1, 0))[:, :-1],
    "interleaved": lambda m, h: torch.cat([h[:, 1::2], h[:, ::2]], 1),
    "pieces": lambda m, h: torch.cat([h.narrow(1, 1, 1), h[:, 1:]], 1),
    "permuted": lambda m, h: h[:, m.turned],
    "copies": lambda m, h: h[:, m.copies],
    "split": lambda m, h: _joined(h.split([1, h.shape[1] - 1], 1), (1, 0)),
    "rolled positions": lambda m, h: h.roll((1, 1), (1, 3)),
}
CONSTANTS: dict[str, OneValue] = {
    "left": lambda m, h: 1 - h,
    "factor on the left": lambda m, h: -2 * h,
    "factor on the right": lambda m, h: h * 0.5,
    "alpha": lambda m, h: torch.add(m.mean, h, alpha=3),
    "method": lambda m, h: h.sub(m.mean, alpha=2),
    "function": lambda m, h: torch.sub(m.places, h),
    "normalisation": lambda m, h: (h - m.mean) / m.places,
    "product": lambda m, h: torch.mul(m.places, h),
    "quotient": lambda m, h: torch.div(h, other=2),
    "negation": lambda m, h: -h + 1,
    "LayerScale": lambda m, h: h * m.gamma,
    "LayerScale on the left": lambda m, h: torch.mul(input=m.gamma, other=h),
}
SUMS: dict[str, TwoValues] = {
    "plain": lambda a, b: a + b,
    "factors": lambda a, b: 2 * a - b / 2,
    "alpha": lambda a, b: torch.add(a, b, alpha=-1),
    "sub": lambda a, b: torch.sub(a, b, alpha=3),
    "method": lambda a, b: a.add(other=b, alpha=0.5),
    "in place": lambda a, b: _in_place(a * 1, b),
}
POOLS: dict[str, OneValue] = {
    "wide": lambda m, h: F.avg_pool2d(h, (1, 3), 1, (0, 1)),
    "without padding": lambda m, h: F.avg_pool2d(h, 3, 1, 1, count_include_pad=False),
    "global": lambda m, h: F.interpolate(F.adaptive_avg_pool2d(h, 1), size=SIZE),
}


MOVES: dict[str, OneValue] = {
    "permute": lambda m, h: h.permute(0, 1, 3, 2),
    "transpose": lambda m, h: torch.transpose(h, 2, 3).contiguous(),
    "channels as positions": lambda m, h: h.flatten(2).mT.reshape(h.shape),
    "shuffled": lambda m, h: h.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2),
    "tokens and back": lambda m, h: h.flatten(2).transpose(1, 2).mT.unflatten(2, SIZE),
    "another view": lambda m, h: h.reshape(h.size(0), -1).view_as(h),
    "unsqueeze": lambda m, h: h.unsqueeze(2).squeeze(2)[:, None][:, 0],
    "stack": lambda m, h: torch.stack([h, 0.5 * h.flip(3)], 2).sum(2),
    "stacked heads": lambda m, h: torch.stack([h, h.roll(1, 1)], 1).mean(1),
    "summed heads": lambda m, h: _twice(h.unflatten(1, (2, -1)).sum(1)),
    "mean of channels": lambda m, h: h - h.mean(1, keepdim=True),
    "mean of rows": lambda m, h: h.mean(2, keepdim=True) + 2 * h,
    "expanded": lambda m, h: h[:, :1].expand(-1, h.shape[1], -1, -1) - h,
    "one row": lambda m, h: h[:, :, 0].unsqueeze(2).repeat(1, 1, 2, 1),
    "rows side by side": lambda m, h: torch.cat([h[:, :, 1:], h[:, :, :1]], 2),
    "one for all": lambda m, h: h + h[:, :, 1:, 1:],
    "pixel shuffle": lambda m, h: F.pixel_unshuffle(F.pixel_shuffle(h.repeat(1, 4, 1, 1), 2), 2)[
        :, : h.shape[1]
    ],
    "fixed matrix": lambda m, h: h @ m.places + torch.matmul(m.places, h),
    "einsum": lambda m, h: torch.einsum("nchw,wv->nchv", h, m.places),
}
NORMS: dict[str, OneValue] = {
    "group norm": lambda m, h: F.group_norm(h, 2),
    "one group": lambda m, h: F.group_norm(h, 1, m.gamma.flatten()),
    "instance norm": lambda m, h: F.instance_norm(h),
    "layer norm of positions": lambda m, h: F.layer_norm(h, SIZE, m.places),
    "layer norm": lambda m, h: F.layer_norm(h, h.shape[1:]),
    "layer norm of channels": lambda m, h: F.layer_norm(
        h.movedim(1, -1), h.shape[1:2], m.gamma.flatten()
    ).movedim(-1, 1),
    "rms norm": lambda m, h: F.rms_norm(h, h.shape[2:]),
}
MULTIPLIERS: dict[str, OneValue] = {
    "squeeze and excite": lambda m, h: h * torch.sigmoid(h.mean((2, 3), keepdim=True)),
    "spatial": lambda m, h: torch.sigmoid(h.mean(1, keepdim=True)) * h,
    "quotient by data": lambda m, h: h / (1 + h.abs().mean((1, 2), keepdim=True)),
    "attention": lambda m, h: _attention(h.flatten(2).mT).mT.unflatten(2, SIZE),
    "attention over channels": lambda m, h: _attention(h.flatten(2)).unflatten(2, SIZE),
    "weighted branches": lambda m, h: _selected(torch.stack([h, h.flip(1)], 1)),
    "maximum": lambda m, h: h + F.adaptive_max_pool2d(h, 1),
    "max pool": lambda m, h: F.max_pool2d(h, 2, 1, 1)[:, :, :2, 1:],
}


def _twice(h: Tensor) -> Tensor:
    return torch.cat([h, h.neg()], 1)


def _attention(h: Tensor) -> Tensor:
    return torch.softmax(h @ h.mT, -1) @ h


def _selected(branches: Tensor) -> Tensor:
    weights = branches.mean((2, 3, 4), keepdim=True).softmax(1)
    return (branches * weights).sum(1)


def _joined(parts: Any, order: tuple[int, int]) -> Tensor:
    return torch.cat([parts[k] for k in order], 1)


def _sum_and_difference(parts: Any) -> Tensor:
    return torch.cat([parts[0] + parts[1], parts[0] - 2 * parts[1]], 1)


def _in_place(a: Tensor, b: Tensor) -> Tensor:
    a += b
    a *= 2
    return a


def _layer(name: str, channels: int, biases: bool) -> nn.Module | None:
    """A layer of a name; None for a matrix of the graph's own."""
    if name == "functional":
        return None
    if name == "transposed conv":
        return nn.ConvTranspose2d(channels, channels, 1, groups=channels, bias=biases)
    return nn.Linear(*(2, 2) if name == "dense of positions" else (channels, channels), biases)


TABLES = {
    "gate": GATES,
    "select": SELECTIONS,
    "constant": CONSTANTS,
    "pool": POOLS,
    "move": MOVES,
    "statistic": NORMS,
    "multiplier": MULTIPLIERS,
}
LAYERS = {"conv", "grouped conv", "transposed conv", "dense", "dense of positions", "functional"}
ALL = LAYERS | {"norm", "shared norm", *SUMS}.union(*TABLES.values())
"""Names of everything that a graph may be made of."""


@st.composite
def tiny_graphs(draw: Callable, *, biases: bool = False, wanted: str = "") -> TinyGraph:
    """A graph in evaluation mode, float64, with an activation and at most `MOST_WEIGHTS` weights.

    With `biases` those of its layers and batch norms are counted among the weights. What is wanted
    stands for all of its table, so that a graph with it is soon found.
    """
    torch.default_generator.manual_seed(draw(st.integers(0, 2**16)))
    channels = draw(st.sampled_from([2, 2, 4]))
    layers: list[nn.Module] = []
    operations: list[Operation] = []
    made_of: set[str] = set()
    flat = channels == 2 and draw(st.booleans())
    head = nn.Linear(4 * channels if flat else channels, 1, bias=False)
    budget = MOST_WEIGHTS - head.in_features
    graph_matrix: list[bool] = []

    def named(table: dict) -> Any:
        name = wanted if wanted in table else draw(st.sampled_from(sorted(table)))
        made_of.add(name)
        return table[name]

    def one(table: dict[str, OneValue]) -> Operation:
        function, at = named(table), source()
        return lambda m, v: function(m, v[at])

    def source() -> int:
        made = len(operations)
        return made if draw(st.integers(0, 2)) else draw(st.integers(0, made))

    def layer(module: nn.Module, at: int) -> None:
        layers.append(module)
        number = len(layers) - 1
        operations.append(lambda m, v: m.layers[number](v[at]))

    for _ in range(draw(st.integers(2, 7))):
        kinds = [
            "conv",
            "conv",
            "layer",
            "move",
            "move",
            "statistic",
            "multiplier",
            "gate",
            "select",
            "select",
            "constant",
            "add",
            "add",
            "pool",
            "norm",
        ]
        kind = draw(st.sampled_from(kinds))
        if kind == "conv":
            groups = draw(st.sampled_from([channels, channels, 1]))
            conv = nn.Conv2d(channels, channels, 1, groups=groups, bias=biases)
            cost = sum(p.numel() for p in conv.parameters())
            if cost <= budget:
                made_of.add("conv" if groups == 1 else "grouped conv")
                budget -= cost
                layer(conv, source())
        elif kind == "layer":
            name = draw(
                st.sampled_from(["dense", "dense of positions", "functional", "transposed conv"])
            )
            if name == "functional" and graph_matrix:
                continue
            made = _layer(name, channels, biases)
            cost = sum(p.numel() for p in made.parameters()) if made is not None else 4
            if cost > budget:
                continue
            made_of.add(name)
            budget -= cost
            at = source()
            if made is None:
                graph_matrix.append(True)
                operations.append(lambda m, v, at=at: F.linear(v[at], m.matrix))
            elif name == "dense":
                layers.append(made)
                number = len(layers) - 1
                operations.append(
                    lambda m, v, number=number, at=at: m.layers[number](
                        v[at].permute(0, 2, 3, 1)
                    ).movedim(-1, 1)
                )
            else:
                layer(made, at)
        elif kind == "norm":
            norms = [k for k, m in enumerate(layers) if isinstance(m, nn.BatchNorm2d)]
            if norms and draw(st.booleans()):  # the same one again
                made_of.add("shared norm")
                number, at = norms[0], source()
                operations.append(lambda m, v, number=number, at=at: m.layers[number](v[at]))
            elif not biases or budget >= channels:
                budget -= channels if biases else 0
                made_of.add("norm")
                layer(nn.BatchNorm2d(channels), source())
        elif kind == "add":
            function = named(SUMS)
            pair = source(), draw(st.integers(0, len(operations)))
            operations.append(lambda m, v, f=function, p=pair: f(v[p[0]], v[p[1]]))
        else:
            operations.append(one(TABLES[kind]))
    operations.append(lambda m, v: F.relu(v[-1]))
    graph = TinyGraph(channels, layers, operations, head)
    if graph_matrix:
        graph.matrix = nn.Parameter(torch.randn(2, 2))
    graph = enliven(graph.double()).eval()
    graph.made_of = made_of
    return graph
