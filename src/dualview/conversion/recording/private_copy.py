"""The copy of a user's model that conversion works on; the model itself is only read.

What a copy cannot carry (scripted parts, weights made anew at each call, hooks) is refused or
warned of.
"""

from __future__ import annotations

import warnings

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import prune
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from dualview.conversion.copying import copied
from dualview.conversion.recording.tracer import is_led_away
from dualview.conversion.source_lines import module_said
from dualview.errors import DualviewWarning, TracingError


def private_copy(model: nn.Module) -> nn.Module:
    """A deep copy without hooks. Hooks that change the output would be lost silently, so warn.

    Raises:
        TracingError: `model` cannot be copied, or is scripted.
    """
    if not isinstance(model, nn.Module):
        raise TracingError(f"expected a torch.nn.Module, got {type(model).__name__}")
    for name, module in model.named_modules():
        what = module_said(module, name)
        _refuse_unreadable(module, what)
        _refuse_weight_hooks(module, what)
    _refuse_types(model)
    try:
        own = copied(model)
    except Exception as error:
        raise TracingError(
            f"{type(model).__name__} cannot be copied ({error}), and the original is never "
            f"changed. Repair: keep only parameters, buffers and plain values as attributes"
        ) from error
    _refuse_shared(model, own)
    _warn_about_train(own)
    hooked = [name or "the model itself" for name, m in own.named_modules() if _drop_hooks(m)]
    hooked += [name for name, parameter in model.named_parameters() if _has_hooks(parameter)]
    if hooked:
        warnings.warn(
            f"hooks on {', '.join(hooked)} are not carried over: converted networks run none. "
            f"If a hook changes values, write it into forward instead",
            DualviewWarning,
            stacklevel=3,
        )
    return own


def _refuse_shared(model: nn.Module, own: nn.Module) -> None:
    """The copy must share nothing with the model, whatever its `__deepcopy__` does."""
    theirs = {id(part) for part in (*model.modules(), *model.parameters(), *model.buffers())}
    if any(id(part) in theirs for part in (*own.modules(), *own.parameters(), *own.buffers())):
        raise TracingError(
            f"{type(model).__name__}: copy.deepcopy of it shares modules or parameters with it, "
            f"and the original is never changed. Repair: let __deepcopy__ make a real copy"
        )


def _warn_about_train(own: nn.Module) -> None:
    names = [n or "the model itself" for n, m in own.named_modules() if _train_is_overridden(m)]
    if names:
        warnings.warn(
            f"the train method of {', '.join(names)} is not carried over: converted networks "
            f"switch all their modules between training and evaluation mode alike",
            DualviewWarning,
            stacklevel=4,
        )


def _train_is_overridden(module: nn.Module) -> bool:
    """Whether `module`, of a private copy, has a `train` that does not set all modes alike.

    Those of large libraries are overridden and do what PyTorch's does.
    """
    of_torch = type(module).__module__.startswith("torch.")
    if of_torch or type(module).train is nn.Module.train:
        return False
    modes = {part: part.training for part in module.modules()}
    frozen = {p: p.requires_grad for p in module.parameters()}
    try:
        alike = all(_sets_all(module, mode) for mode in (True, False))
        same = all(p.requires_grad == needed for p, needed in frozen.items())
    except Exception:  # the user's own code: what it does cannot be what PyTorch's does
        return True
    finally:
        for part, mode in modes.items():
            part.training = mode
    return not (alike and same)


def _sets_all(module: nn.Module, mode: bool) -> bool:
    module.train(mode)
    return all(part.training is mode for part in module.modules())


def _refuse_unreadable(module: nn.Module, what: str) -> None:
    if isinstance(module, torch.jit.ScriptModule):
        raise TracingError(
            f"{what} is scripted or traced by torch.jit, so that its Python code is gone. Repair: "
            f"pass the network before torch.jit.script or torch.jit.trace"
        )
    if is_led_away(module):
        raise TracingError(
            f"{what} is being converted, by a call around this one. Repair: convert it outside "
            f"the forward of a network that is converted"
        )


def _refuse_types(model: nn.Module) -> None:
    """Lazy modules have no shapes yet, and complex numbers no gates."""
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if is_lazy(tensor):
            raise TracingError(
                f"'{name}' has no shape yet (a lazy module). Repair: run the model once"
            )
        if tensor.is_complex():
            raise TracingError(
                f"'{name}' is complex, and a gate asks whether a number is above 0. Repair: write "
                f"the model with real and imaginary parts as channels of their own"
            )


def _refuse_weight_hooks(module: nn.Module, what: str) -> None:
    for tensor in getattr(module, "parametrizations", {}):
        raise TracingError(
            f"{what}: its '{tensor}' is parametrized, made anew at each call. Repair: "
            f"torch.nn.utils.parametrize.remove_parametrizations(layer, '{tensor}')"
        )
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, prune.BasePruningMethod):
            raise TracingError(
                f"{what} is pruned by a hook that masks its '{hook._tensor_name}' at each call. "
                f"Repair: torch.nn.utils.prune.remove(layer, '{hook._tensor_name}') makes pruning "
                f"permanent"
            )
        if isinstance(hook, WeightNorm | SpectralNorm):
            remove = "weight_norm" if isinstance(hook, WeightNorm) else "spectral_norm"
            raise TracingError(
                f"{what}: {type(hook).__name__} is a hook that makes its '{hook.name}' anew at "
                f"each call. Repair: torch.nn.utils.remove_{remove}(layer, '{hook.name}')"
            )


def _has_hooks(parameter: nn.Parameter) -> bool:
    return bool(parameter._backward_hooks) or bool(
        getattr(parameter, "_post_accumulate_grad_hooks", None)
    )


def _drop_hooks(module: nn.Module) -> bool:
    """Remove every hook of `module`; say whether there was one that a user set."""
    names = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    found = False
    for name in names:
        hooks = getattr(module, name)
        found = found or bool(hooks)
        hooks.clear()
    return found
