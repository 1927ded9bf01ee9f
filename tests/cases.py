"""Small models that the tests share, and every spelling of an activation."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from dualview.architectures import ARCHITECTURES, WITHOUT_DLGN
from dualview.conversion.activations import (
    GATE_OF_FUNCTION,
    GATE_OF_METHOD,
    GATE_OF_MODULE,
    SelfGated,
)

# What each reference architecture is tested at: width, input shape.
SMALL = {
    "fc": (6, (1, 5, 4)),
    "vconv": (2, (2, 5, 4)),
    "gconv": (3, (2, 6, 5)),
    "c4gap": (4, (3, 6, 5)),
    "c6white": (2, (1, 9, 10)),
    "c6late": (2, (1, 9, 10)),
    "vgg16": (2, (3, 16, 16)),
    "resnet20": (2, (3, 8, 9)),
    "resnet32": (2, (3, 5, 4)),
    "resnet56": (2, (3, 5, 4)),
    "resnet110": (2, (3, 5, 4)),
    "vit": (4, (2, 4, 4)),
}


def small_architecture(name: str, batch_norm: bool = False, num_classes: int = 3) -> nn.Module:
    """The architecture, narrow and on small images, float64, with lively batch-norm statistics."""
    width, shape = SMALL[name]
    model = ARCHITECTURES[name](
        num_classes=num_classes, input_shape=shape, width=width, batch_norm=batch_norm
    )
    return enliven(model.double())


def small_input(name: str, n: int = 3) -> torch.Tensor:
    """A batch that `small_architecture(name)` takes."""
    return torch.randn(n, *SMALL[name][1], dtype=torch.float64)


def enliven(model: nn.Module) -> nn.Module:
    """Random biases and normalisation parameters and statistics, so that no term is 0 or 1."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.LayerNorm):
                module.weight.uniform_(0.5, 2)
            if getattr(module, "bias", None) is not None:
                module.bias.normal_()
    return model


def batch_norm_choices(name: str) -> list[bool]:
    return [False] if name in ("fc", "vit") else [False, True]


DEEPER = ("resnet32", "resnet56", "resnet110")
"""Blocks of resnet20, more of them: the deepest is tried where depth could tell, all where made."""

DISTINCT = [name for name in ARCHITECTURES if name not in DEEPER]

ARCHITECTURE_CASES = [(name, bn) for name in DISTINCT for bn in batch_norm_choices(name)]

DLGN_ARCHITECTURES = [name for name in DISTINCT if name not in WITHOUT_DLGN]
"""Those that kind="dlgn" takes apart; that it refuses the others is tested too."""

DLGN_CASES = [(name, bn) for name, bn in ARCHITECTURE_CASES if name in DLGN_ARCHITECTURES]


class Net(nn.Module):
    """Three dense layers a, b, c of 4 units, more members by keyword, forward as a function."""

    def __init__(self, function, **members):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        for name, value in members.items():
            if isinstance(value, torch.Tensor) and not isinstance(value, nn.Parameter):
                self.register_buffer(name, value)
            else:
                setattr(self, name, value)
        object.__setattr__(self, "function", function)

    def forward(self, x):
        return self.function(self, x)


class Spelled(nn.Module):
    """conv, activation, conv, the same activation, dense: the activation is spelt as given."""

    def __init__(self, activation: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2, 3, 3, padding=1)
        self.conv2 = nn.Conv2d(3, 3, 3)
        self.fc = nn.Linear(3 * 2 * 3, 2)
        self.activation = activation

    def forward(self, x):
        x = self.activation(self.conv1(x))
        x = self.activation(self.conv2(x))
        return self.fc(x.flatten(1))


SPELLED_INPUT = (3, 2, 4, 5)


ACTIVATION_MODULES: dict[type[nn.Module], Callable[[], nn.Module]] = {
    **{kind: kind for kind in GATE_OF_MODULE if kind is not SelfGated},
    nn.Threshold: lambda inplace=False: nn.Threshold(-0.3, 0.2, inplace),
}
"""Every activation module -> one of it; those spelt by hand have tests of their own."""

ARGUMENTS: dict[Any, tuple[float, ...]] = {
    **dict.fromkeys([F.threshold, torch.threshold], (-0.3, 0.2)),
    **dict.fromkeys([torch.clamp, torch.clip, "clamp", "clip"], (-0.5, 1.0)),
    **dict.fromkeys([torch.clamp_min, "clamp_min"], (-0.5,)),
    **dict.fromkeys([torch.clamp_max, "clamp_max"], (0.5,)),
    **dict.fromkeys([torch.pow, operator.pow, "pow"], (2,)),
}
"""Activation -> the arguments after its input, where it needs any."""

_DOMAIN = {"log1p": 0.9, "tan": 1.0}
"""Functions of a number that are wanted near 0 alone -> how near."""


def _takes_in_place(function: Callable[..., Any]) -> bool:
    try:
        return "inplace" in inspect.signature(function).parameters
    except ValueError:  # built in
        return False


def _tamed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, of a multiple of its input that stays where it is defined."""
    if name not in _DOMAIN:
        return function
    return lambda x: function(0.1 * x)


def _module_spellings() -> dict[str, Callable[[], nn.Module]]:
    made: dict[str, Callable[[], nn.Module]] = {}
    for kind, make in ACTIVATION_MODULES.items():
        made[f"nn.{kind.__name__}()"] = make
        if _takes_in_place(kind):
            made[f"nn.{kind.__name__}(inplace=True)"] = lambda make=make: make(inplace=True)
    made["nn.PReLU(3)"] = lambda: nn.PReLU(3)
    made["nn.GELU('tanh')"] = lambda: nn.GELU("tanh")
    made["nn.LeakyReLU(0.3)"] = lambda: nn.LeakyReLU(0.3)
    return made


class FunctionalPReLU(nn.Module):
    """PReLU spelt as a function (or a method) of its own parameter."""

    def __init__(self, method: bool) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor([0.2]))
        self.method = method

    def reset_parameters(self) -> None:
        nn.init.constant_(self.slope, 0.2)

    def forward(self, x):
        return x.prelu(self.slope) if self.method else F.prelu(x, self.slope)


def _function_spellings() -> dict[str, Callable[[], Callable]]:
    made: dict[str, Callable[[], Callable]] = {}
    for function in set(GATE_OF_FUNCTION) - {F.prelu, torch.prelu}:
        name = f"{function.__module__ or 'torch'}.{function.__name__}"
        given = ARGUMENTS.get(function, ())
        call = _tamed(function.__name__, lambda x, f=function, given=given: f(x, *given))
        made[name] = lambda call=call: call
        if _takes_in_place(function):
            made[f"{name}(inplace=True)"] = lambda f=function, given=given: (
                lambda x: f(x, *given, inplace=True)
            )
    for method in set(GATE_OF_METHOD) - {"prelu"}:
        given = ARGUMENTS.get(method, ())
        call = _tamed(method, lambda x, m=method, given=given: getattr(x, m)(*given))
        made[f"x.{method}()"] = lambda call=call: call
        if hasattr(torch.Tensor, f"{method}_") and method not in _DOMAIN:
            made[f"x.{method}_()"] = lambda m=method, given=given: (
                lambda x: getattr(x, m + "_")(*given)
            )
    made["F.prelu"] = lambda: FunctionalPReLU(method=False)
    made["x.prelu(weight)"] = lambda: FunctionalPReLU(method=True)
    made["torch.relu_"] = lambda: torch.relu_
    made["F.relu_"] = lambda: F.relu_
    made["F.leaky_relu(0.2)"] = lambda: lambda x: F.leaky_relu(x, 0.2)
    made["F.leaky_relu_(0.2)"] = lambda: lambda x: F.leaky_relu_(x, 0.2)
    made["F.gelu(tanh)"] = lambda: lambda x: F.gelu(x, approximate="tanh")
    made["F.relu(input=x)"] = lambda: lambda x: F.relu(input=x)
    return dict(sorted(made.items()))


SPELLINGS: dict[str, Callable[[], Callable]] = {**_module_spellings(), **_function_spellings()}

_GROWING = ("cosh", "exp", "expm1", "log1p", "pow", "sinh", "square", "tan")
TAME_SPELLINGS = tuple(
    sorted(name for name in SPELLINGS if name.split(".")[-1].strip("_()") not in _GROWING)
)
"""Those that can follow each other in a deep network without overflow."""


class TokenMixer(nn.Module):
    """dense, ReLU, LayerNorm, attention with a skip, mean over tokens, dense."""

    def __init__(self, affine: bool = True) -> None:
        super().__init__()
        self.a, self.c = nn.Linear(3, 4), nn.Linear(4, 2)
        self.q, self.k, self.v = (nn.Linear(4, 4) for _ in range(3))
        self.norm = nn.LayerNorm(4, elementwise_affine=affine)

    def forward(self, x):  # (n, tokens, 3)
        h = self.norm(torch.relu(self.a(x)))
        h = h + torch.softmax(self.q(h) @ self.k(h).mT, -1) @ self.v(h)
        return self.c(h.mean(1))


def relative_error(got: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest deviation relative to the largest expected value."""
    got, expected = got.detach(), expected.detach()
    return float((got - expected).abs().max() / expected.abs().max().clamp(min=1e-300))
