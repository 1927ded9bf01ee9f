"""Fresh parameters for a copy of a network, from a seed of their own.

Seeding the gating and the weights network alike would make their weights equal by accident, so the
seed a user gives is never used itself: each purpose derives its own from it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from dualview.errors import ConversionError

Initialiser = Callable[[nn.Module], object]

_PURPOSES = ("gating", "weights")


def derived_seed(seed: int | None, purpose: str) -> int:
    """A seed for one purpose; from PyTorch's global random state where `seed` is None."""
    if seed is None:
        return int(torch.randint(2**62, ()).item())
    try:
        number = -1 if isinstance(seed, bool) else operator.index(seed)
    except TypeError:
        number = -1
    if number < 0:
        raise ConversionError(f"seed: expected a whole number from 0 on, or None, got {seed!r}")
    state = np.random.SeedSequence([number, _PURPOSES.index(purpose)]).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


@contextmanager
def seeded(seed: int, network: nn.Module) -> Iterator[None]:
    """PyTorch's random state set to `seed` inside the block, and put back after it."""
    devices = {p.device.index or 0 for p in network.parameters() if p.device.type == "cuda"}
    with torch.random.fork_rng(devices=sorted(devices)):
        torch.manual_seed(seed)
        yield


def redraw(network: nn.Module, initialise: Initialiser | None, seed: int) -> None:
    """Draw every parameter of `network` anew, in place, under `seed`.

    `initialise` is called with the network; by default each module's own `reset_parameters` is,
    inner modules first, so that an outer one has the last word.

    Raises:
        ConversionError: a parameter belongs to no module that knows how to draw it, or came out as
            it was, which would leave both networks with equal weights.
    """
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    with seeded(seed, network), torch.no_grad():
        if initialise is not None:
            initialise(network)
        else:
            _refuse_orphans(network, "", covered=False)
            _reset(network, "")
    for name, parameter in network.named_parameters():
        old = before[name]
        constant = old.numel() < 2 or bool((old == old.flatten()[0]).all())
        if not constant and torch.equal(old, parameter):
            raise ConversionError(
                f"parameter '{name}' came out of the initialisation as it went in, so the weights "
                f"network would have the gating network's weights. Repair: let reset_parameters "
                f"(or the function given as initialise) draw it anew"
            )


def _reset_of(module: nn.Module) -> Callable[[], object] | None:
    """What draws the module's parameters; one class of PyTorch's has another name for it."""
    name = "_reset_parameters" if type(module) is nn.MultiheadAttention else "reset_parameters"
    reset = getattr(module, name, None)
    return reset if callable(reset) else None


def _reset(module: nn.Module, path: str) -> None:
    for name, child in module.named_children():
        _reset(child, f"{path}.{name}" if path else name)
    reset = _reset_of(module)
    if reset is None:
        return
    try:
        reset()
    except TypeError as error:
        raise ConversionError(
            f"{_named(module, path)}: reset_parameters() without arguments failed ({error}). "
            f"Repair: give its arguments defaults, or pass disentangle(..., initialise=function)"
        ) from error


def _refuse_orphans(module: nn.Module, path: str, *, covered: bool) -> None:
    """Every parameter must lie in a module with `reset_parameters`, or inside one."""
    covered = covered or _reset_of(module) is not None
    orphans = [name for name, _ in module.named_parameters(recurse=False)]
    if orphans and not covered:
        raise ConversionError(
            f"{_named(module, path)} holds the parameter '{orphans[0]}' and has no "
            f"reset_parameters, so the weights network cannot be drawn afresh. Repair: give the "
            f"class a reset_parameters method, or pass disentangle(..., initialise=function)"
        )
    for name, child in module.named_children():
        _refuse_orphans(child, f"{path}.{name}" if path else name, covered=covered)


def _named(module: nn.Module, path: str) -> str:
    return f"{f'module {path!r}' if path else 'the model'} ({type(module).__name__})"
