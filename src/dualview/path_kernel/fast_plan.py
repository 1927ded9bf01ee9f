"""Is a weights network a plain chain that the CPU kernel (`fast_tile`) computes? Then how.

A chain is: input (data or ones), convolutions each followed by a gate and perhaps by average
pooling, global average pooling or flatten, then gated dense layers and a last dense layer; or dense
layers alone. Every path of a chain passes every weight layer once, so unequal variances and the NTK
are factors: E[NTK] = NPK * sum_l 1 / variance_l.
"""

from __future__ import annotations

import importlib.util
import logging
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from dualview import operations as ops
from dualview.gated_network import GatedNetwork
from dualview.gates import HardGate, apply_gate
from dualview.path_kernel.rules import Setting, fan_in
from dualview.source_lines import describe, module_of
from dualview.verification import is_shape_query
from dualview.weights_graph import one_row_of_ones, spread_over_batch

if TYPE_CHECKING:
    from dualview.path_kernel.fast_tile import ConvChain, ConvLayer, DenseLayer

Size = tuple[int, int]

log = logging.getLogger("dualview.path_kernel")


@dataclass(frozen=True)
class FastPlan:
    """What the CPU kernel is asked for.

    Attributes:
        chain: the convolutional part, or None for dense layers alone.
        dense: gates after dense layers (those of a convolutional network are in `chain`).
        ones: the input is the constant 1.
        scale: what the normalised kernel is multiplied by.
        ntk: the factor from NPK to expected NTK.
    """

    chain: ConvChain | None
    dense: tuple[DenseLayer, ...]
    ones: bool
    scale: float
    ntk: float


class NotAChainError(Exception):
    """Why the torch rules must run."""


def fast_plan(net: GatedNetwork, x: Tensor, setting: Setting, gates: str) -> FastPlan | None:
    """The plan for examples like `x`, or None; which of the two, and why, is logged (debug)."""
    try:
        _check_surroundings(net, x, setting, gates)
        plan = _Reader(tuple(x.shape[1:]), setting).read(net.weights_network.graph)
    except NotAChainError as reason:
        log.debug("path kernel by the torch rules: %s", reason)
        return None
    log.debug("path kernel by the fast tile: %s", plan)
    return plan


def _check_surroundings(net: GatedNetwork, x: Tensor, setting: Setting, gates: str) -> None:
    if importlib.util.find_spec("numba") is None:
        raise NotAChainError("numba is not installed")
    if x.device.type != "cpu" or x.dtype != torch.float32:
        raise NotAChainError(f"examples are {x.dtype} on {x.device}, not float32 on the CPU")
    if gates != "hard" and not all(isinstance(g, HardGate) for g in net.gate_functions):
        raise NotAChainError("gates are not hard")
    if setting.bias_variance > 0 or setting.batch_norm_scale:
        raise NotAChainError("biases or batch-norm scales are asked for")


class _Reader:
    """Reads a graph node by node; every node must carry on from the one before."""

    def __init__(self, shape: tuple[int, ...], setting: Setting) -> None:
        self.shape = shape
        self.setting = setting
        self.ones = False
        self.layers: list[ConvLayer] = []
        self.dense: list[DenseLayer] = []
        self.head = ""
        self.pending: fx.Node | None = None
        """Weight layer whose gate has not come yet."""
        self.log_scale = 0.0
        self.precisions: list[float] = []
        self.circular: bool | None = None
        self.seen: set[int] = set()

    def read(self, graph: fx.Graph) -> FastPlan:
        """The plan of the whole graph."""
        previous: Any = next(node for node in graph.nodes if node.name == "x")
        for node in graph.nodes:
            if node.op in ("placeholder", "output", "get_attr") or is_shape_query(node):
                continue
            if not node.args or node.args[0] is not previous:
                raise NotAChainError(f"{describe(node)} does not carry on from the node before it")
            self._take(node)
            previous = node
        return self._plan()

    def _take(self, node: fx.Node) -> None:
        kind: Any = type(module_of(node)) if node.op == "call_module" else node.target
        if kind is one_row_of_ones:
            self.ones = True
        elif kind is nn.Conv2d:
            self._weight(node)
            self._convolution(node)
        elif kind is nn.Linear:
            self._weight(node)
        elif kind is apply_gate:
            self._gate(node)
        elif kind in (nn.AdaptiveAvgPool2d, F.adaptive_avg_pool2d, torch.mean, "mean"):
            self._average(node)
        elif kind in (nn.AvgPool2d, F.avg_pool2d):
            self._pool(node)
        elif kind in (nn.Flatten, torch.flatten, "flatten"):
            self._flatten(node)
        elif kind not in _PASSING:
            raise NotAChainError(f"{describe(node)} is not part of a plain chain")

    def _weight(self, node: fx.Node) -> None:
        module: Any = module_of(node)
        if self.pending is not None:
            raise NotAChainError(f"no gate stands before {describe(node)}")
        if id(module.weight) in self.seen:
            raise NotAChainError(f"{describe(node)} uses weights a second time")
        self.seen.add(id(module.weight))
        self.pending = node
        inputs = fan_in(module)
        given = self.setting.variances
        variance = 1 / inputs if given is None else given[node.name]
        self.log_scale += math.log(inputs * variance)
        self.precisions.append(1 / variance)

    def _convolution(self, node: fx.Node) -> None:
        module: Any = module_of(node)
        if self.head or self.dense or len(self.shape) != 3:
            raise NotAChainError(f"{describe(node)} stands behind a dense layer or reads no image")
        circular = module.padding_mode == "circular"
        if module.padding_mode not in ("zeros", "circular") or module.groups != 1:
            raise NotAChainError(f"{describe(node)} has groups or padding by {module.padding_mode}")
        if self.circular not in (None, circular):
            raise NotAChainError("padding is zero here and circular there")
        self.circular = circular

    def _gate(self, node: fx.Node) -> None:
        from dualview.path_kernel.fast_tile import ConvLayer, DenseLayer

        if self.pending is None:
            raise NotAChainError(f"{describe(node)}: two gates follow one weight layer")
        module: Any = module_of(self.pending)
        if isinstance(module, nn.Linear):
            if not self.head and (len(self.shape) > 1 or self.layers):
                raise NotAChainError(f"{describe(node)}: a dense layer reads an image")
            self.dense.append(DenseLayer(module.out_features, 1 / module.out_features))
        else:
            left, right, top, bottom = module._reversed_padding_repeated_twice
            self.layers.append(
                ConvLayer(
                    module.out_channels,
                    module.kernel_size,
                    (top, bottom, left, right),
                    module.stride,
                    module.dilation,
                    1 / (module.out_channels * math.prod(module.kernel_size)),
                )
            )
        self.pending = None

    def _average(self, node: fx.Node) -> None:
        whole = (
            module_of(node).output_size in (1, (1, 1))
            if node.op == "call_module"
            else node.args[1:] in ((1,), ((1, 1),), ((2, 3),), ([2, 3],), ((-2, -1),), ([-2, -1],))
        )
        if not whole or not self.layers or self.pending is not None or self.head:
            raise NotAChainError(f"{describe(node)} is no global average after a gated convolution")
        self.head = "average"

    def _pool(self, node: fx.Node) -> None:
        size, stride, padding = _pool_options(node)
        if not self.layers or self.pending is not None or self.head or self.layers[-1].pool:
            raise NotAChainError(f"{describe(node)} does not follow a gated convolution")
        if stride != size or padding != (0, 0):
            raise NotAChainError(f"{describe(node)} has windows that overlap or are padded")
        self.layers[-1] = replace(self.layers[-1], pool=size)

    def _flatten(self, node: fx.Node) -> None:
        if self.pending is not None:
            raise NotAChainError(f"{describe(node)} stands before a gate")
        self.head = self.head or "flatten"

    def _plan(self) -> FastPlan:
        if self.pending is None or not isinstance(module_of(self.pending), nn.Linear):
            raise NotAChainError("the network does not end in a dense layer")
        scale, ntk = math.exp(min(self.log_scale, 709)), sum(self.precisions)
        if not self.layers:
            return FastPlan(None, tuple(self.dense), self.ones, scale, ntk)
        chain = self._chain()
        return FastPlan(chain, (), self.ones, scale, ntk)

    def _chain(self) -> ConvChain:
        from dualview.path_kernel.fast_tile import ConvChain, applies

        if not self.head:
            raise NotAChainError("no pooling or flatten stands between convolution and dense layer")
        channels, height, width = self.shape
        chain = ConvChain(
            height,
            width,
            tuple(self.layers),
            circular=bool(self.circular),
            head=self.head,
            dense=tuple(self.dense),
            scale=1 / channels,
        )
        applicable = applies(chain)
        if not applicable:
            raise NotAChainError(applicable.reason)
        size = self._last_size()
        # Flatten: the dense layer's fan-in counts positions, which the chain sums.
        return (
            replace(chain, scale=chain.scale / math.prod(size)) if self.head == "flatten" else chain
        )

    def _last_size(self) -> Size:
        """Height and width behind the last convolution and pool; pools must divide."""
        from dualview.path_kernel.offset_program import Window

        size = self.shape[1], self.shape[2]
        for layer in self.layers:
            window = Window(layer.kernel, layer.padding, layer.stride, layer.dilation)
            size = window.output_size(size)
            if layer.pool:
                if size[0] % layer.pool[0] or size[1] % layer.pool[1]:
                    raise NotAChainError(f"pooling by {layer.pool} does not divide {size}")
                size = size[0] // layer.pool[0], size[1] // layer.pool[1]
        return size


def _pool_options(node: fx.Node) -> tuple[Size, Size, Size]:
    """Window, stride and padding of an average pool."""
    if node.op == "call_module":
        module: Any = module_of(node)
        size, stride, padding = module.kernel_size, module.stride, module.padding
    else:
        names = ("kernel_size", "stride", "padding")
        given = {"stride": None, "padding": 0}
        given |= {**dict(zip(names, node.args[1:], strict=False)), **node.kwargs}
        size, padding = given["kernel_size"], given["padding"]
        stride = size if given["stride"] is None else given["stride"]
    return _pair(size), _pair(stride), _pair(padding)


def _pair(value: Any) -> Size:
    return (value, value) if isinstance(value, int) else tuple(value)


_PASSING = {
    *ops.BATCH_NORM_MODULES,
    *ops.DROPOUT_MODULES,
    nn.Identity,
    spread_over_batch,
    "contiguous",
}
