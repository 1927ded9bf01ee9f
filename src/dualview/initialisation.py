"""Fresh parameters for a copy of a network, from a seed of their own.

Seeding the gating and the weights network alike would make their weights equal by accident, so the
seed a user gives is never used itself: each purpose derives its own from it.
"""

from __future__ import annotations

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
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ConversionError(f"seed: expected a whole number from 0 on, or None, got {seed!r}")
    state = np.random.SeedSequence([seed, _PURPOSES.index(purpose)]).generate_state(1, np.uint64)
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

    `initialise` is called with the network; by default each module's own `reset_parameters` is, the
    outermost first, whose descendants are then left to it.

    Raises:
        ConversionError: a parameter belongs to no module that knows how to draw it.
    """
    with seeded(seed, network), torch.no_grad():
        if initialise is not None:
            initialise(network)
        else:
            _reset(network, "")


def _reset(module: nn.Module, path: str) -> None:
    if callable(getattr(module, "reset_parameters", None)):
        module.reset_parameters()
        return
    orphans = [name for name, _ in module.named_parameters(recurse=False)]
    if orphans:
        where = f"module '{path}'" if path else "the model"
        raise ConversionError(
            f"{where} ({type(module).__name__}) holds the parameter '{orphans[0]}' and has no "
            f"reset_parameters, so the weights network cannot be drawn afresh. Repair: give the "
            f"class a reset_parameters method, or pass disentangle(..., initialise=function)"
        )
    for name, child in module.named_children():
        _reset(child, f"{path}.{name}" if path else name)
