"""Which modules, functions and methods are activations, and the gate of each.

A function's entry takes the arguments that follow its input, under the function's own names, so
that a call site reads as it was written. An entry raises ValueError, with a reason, for options
under which the activation has no gate.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from dualview.conversion.gates import (
    Gate,
    GELUGate,
    HardGate,
    HardswishGate,
    LeakyGate,
    MishGate,
    ParametricGate,
    ReLU6Gate,
    SiLUGate,
)
from dualview.conversion.secant_gates import (
    FUNCTION_NAMES,
    ClipGate,
    ELUGate,
    FunctionGate,
    HardshrinkGate,
    HardsigmoidGate,
    PowerGate,
    SigmoidGate,
    SoftplusGate,
    SoftshrinkGate,
    SoftsignGate,
    TanhGate,
    TanhshrinkGate,
    ThresholdGate,
)
from dualview.conversion.source_lines import module_of

SELU_ALPHA, SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946
"""Source: arXiv 1706.02515, section 2; PyTorch's own digits."""


class SelfGated(nn.Module):
    """An activation that the model spells by hand: `q * G(q)`, with the gate as it is spelt."""

    def __init__(self, gate: nn.Module) -> None:
        super().__init__()
        self.gate = gate

    def forward(self, q: Tensor) -> Tensor:
        """The activation of `q`, elementwise."""
        return q * self.gate(q)


class SpelledGate(Gate):
    """The gate of a `SelfGated` activation: a graph of elementwise operations on `q`."""

    def __init__(self, graph: nn.Module) -> None:
        super().__init__()
        self.graph = graph

    def forward(self, q: Tensor) -> Tensor:
        """Gates of `q`, elementwise."""
        gate: Tensor = self.graph(q)
        return gate


def _plain(gate: Callable[[], Gate]) -> Callable[..., Gate]:
    return lambda inplace=False: gate()


def _leaky(negative_slope: float = 0.01, inplace: bool = False) -> Gate:
    return LeakyGate(negative_slope)


def _prelu(weight: nn.Parameter) -> Gate:
    return ParametricGate(weight)


def _elu(alpha: float = 1.0, inplace: bool = False) -> Gate:
    return ELUGate(alpha)


def _selu(inplace: bool = False) -> Gate:
    return ELUGate(SELU_ALPHA, SELU_SCALE)


def _celu(alpha: float = 1.0, inplace: bool = False) -> Gate:
    return ELUGate(alpha, 1.0, alpha)


def _logsigmoid() -> Gate:
    return SoftplusGate(mirrored=True)


def _softshrink(lambd: float = 0.5) -> Gate:
    return SoftshrinkGate(lambd)


def _hardshrink(lambd: float = 0.5) -> Gate:
    return HardshrinkGate(lambd)


def _threshold(threshold: float, value: float, inplace: bool = False) -> Gate:
    return HardGate() if threshold == value == 0 else ThresholdGate(threshold, value)


def _hardtanh(min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Gate:
    return _clip(min_val, max_val)


def _clip(min: float | None = None, max: float | None = None) -> Gate:
    """A clip by value; ReLU and ReLU6 by their bounds."""
    if any(isinstance(bound, Tensor) for bound in (min, max)):
        raise ValueError("its bounds are tensors")
    if min is not None and max is not None and min >= max:
        raise ValueError("its bounds leave no room between them")
    if min == 0 and (max is None or max == math.inf):
        return HardGate()
    return ReLU6Gate() if (min, max) == (0, 6) else ClipGate(min, max)


def _clip_above(max: float) -> Gate:
    return _clip(None, max)


def _of(name: str) -> Callable[[], Gate]:
    return lambda: FunctionGate(name)


GATE_OF_MODULE: dict[type[nn.Module], Callable[..., Gate]] = {
    nn.ReLU: lambda module: HardGate(),
    nn.LeakyReLU: lambda module: LeakyGate(module.negative_slope),
    nn.PReLU: lambda module: ParametricGate(module.weight),
    nn.ReLU6: lambda module: ReLU6Gate(),
    nn.GELU: lambda module: GELUGate(module.approximate),
    nn.SiLU: lambda module: SiLUGate(),
    nn.Hardswish: lambda module: HardswishGate(),
    nn.Mish: lambda module: MishGate(),
    nn.ELU: lambda module: ELUGate(module.alpha),
    nn.SELU: lambda module: _selu(),
    nn.CELU: lambda module: _celu(module.alpha),
    nn.Softplus: lambda module: SoftplusGate(module.beta, module.threshold),
    nn.LogSigmoid: lambda module: _logsigmoid(),
    nn.Tanh: lambda module: TanhGate(),
    nn.Sigmoid: lambda module: SigmoidGate(),
    nn.Softsign: lambda module: SoftsignGate(),
    nn.Hardtanh: lambda module: _clip(module.min_val, module.max_val),
    nn.Hardsigmoid: lambda module: HardsigmoidGate(),
    nn.Softshrink: lambda module: SoftshrinkGate(module.lambd),
    nn.Hardshrink: lambda module: HardshrinkGate(module.lambd),
    nn.Tanhshrink: lambda module: TanhshrinkGate(),
    nn.Threshold: lambda module: _threshold(module.threshold, module.value),
    SelfGated: lambda module: SpelledGate(module.gate),
}
"""Activation module, by exact type -> its gate."""

GATE_OF_FUNCTION: dict[Callable[..., Any], Callable[..., Gate]] = {
    F.relu: _plain(HardGate),
    torch.relu: _plain(HardGate),
    F.leaky_relu: _leaky,
    F.relu6: _plain(ReLU6Gate),
    F.gelu: GELUGate,
    F.silu: _plain(SiLUGate),
    F.hardswish: _plain(HardswishGate),
    F.mish: _plain(MishGate),
    F.prelu: _prelu,
    torch.prelu: _prelu,
    F.elu: _elu,
    F.selu: _selu,
    torch.selu: _selu,
    F.celu: _celu,
    torch.celu: _celu,
    F.softplus: SoftplusGate,
    F.logsigmoid: _logsigmoid,
    torch.tanh: _plain(TanhGate),
    F.tanh: _plain(TanhGate),
    torch.sigmoid: _plain(SigmoidGate),
    F.sigmoid: _plain(SigmoidGate),
    torch.special.expit: _plain(SigmoidGate),
    F.softsign: _plain(SoftsignGate),
    F.hardtanh: _hardtanh,
    F.hardsigmoid: _plain(HardsigmoidGate),
    F.softshrink: _softshrink,
    F.hardshrink: _hardshrink,
    torch.hardshrink: _hardshrink,
    F.tanhshrink: _plain(TanhshrinkGate),
    F.threshold: _threshold,
    torch.threshold: _threshold,
    torch.clamp: _clip,
    torch.clip: _clip,
    torch.clamp_min: _clip,
    torch.clamp_max: _clip_above,
    torch.pow: PowerGate,
    operator.pow: PowerGate,
    operator.abs: _of("abs"),
    **{getattr(torch, name): _of(name) for name in FUNCTION_NAMES},
}
"""Activation function -> its gate."""

GATE_OF_METHOD: dict[str, Callable[..., Gate]] = {
    "relu": _plain(HardGate),
    "prelu": _prelu,
    "tanh": _plain(TanhGate),
    "sigmoid": _plain(SigmoidGate),
    "hardshrink": _hardshrink,
    "clamp": _clip,
    "clip": _clip,
    "clamp_min": _clip,
    "clamp_max": _clip_above,
    "pow": PowerGate,
    **{name: _of(name) for name in FUNCTION_NAMES},
}
"""Activation as a method of a tensor -> its gate."""


def is_activation(node: fx.Node) -> bool:
    """Whether `node` of a traced graph applies an activation of these tables."""
    if node.op == "call_module":
        return type(module_of(node)) in GATE_OF_MODULE
    if node.op == "call_function":
        return node.target in GATE_OF_FUNCTION
    return node.op == "call_method" and node.target in GATE_OF_METHOD
