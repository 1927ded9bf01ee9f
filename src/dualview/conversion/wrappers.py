"""What a user hands over in place of a model: wrapped, compiled or exported.

A wrapper that calls one module inside it, and does nothing to what goes in or comes out, is taken
for that module: `torch.compile`, `nn.DataParallel`, `DistributedDataParallel`, `AveragedModel`. A
program of `torch.export` becomes the module that it was exported from, as far as it knows it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from dualview.conversion.copying import copied
from dualview.errors import TracingError

_WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel, AveragedModel)


def plain_model(model: Any, example_input: Any = None) -> tuple[nn.Module, Any]:
    """The model inside `model`, and the example input that it was exported with if none is given.

    Raises:
        TracingError: there is none: something else, a network whose code is gone, or a program
            for one number of examples.
    """
    if _is_program(model):
        from dualview.conversion.capture.exported import example_of, module_of_program

        example = example_of(model) if example_input is None else example_input
        return module_of_program(model), example
    if not isinstance(model, nn.Module):
        raise TracingError(
            f"model: expected a torch.nn.Module or a torch.export.ExportedProgram, got "
            f"{type(model).__name__}. Repair: dualview.from_onnx reads an ONNX file"
        )
    while (inner := _inside(model)) is not None:
        model = inner
    return _without_inner_wrappers(model), example_input


def _is_program(model: Any) -> bool:
    kind = type(model)
    return kind.__name__ == "ExportedProgram" and kind.__module__.startswith("torch.export")


def _inside(module: nn.Module) -> nn.Module | None:
    """What a wrapper calls; None: `module` is none."""
    if isinstance(module, _WRAPPERS):
        inner: nn.Module = module.module
        return inner
    if isinstance(module, torch.jit.ScriptModule):
        return None
    return module._modules.get("_orig_mod")  # torch.compile's


def _without_inner_wrappers(model: nn.Module) -> nn.Module:
    """The model, or a copy of it, whose parts are wrapped no more."""
    memo: dict[int, Any] = {}
    for module in reversed(list(model.modules())):  # inner ones first
        inner = _inside(module)
        if inner is not None:
            memo[id(module)] = copied(inner, memo)
    return copied(model, memo) if memo else model
