"""Fresh parameters for a copy of a network, from a seed of their own.

Seeding the gating and the weights network alike would make their weights equal by accident, so the
seed a user gives is never used itself: each purpose derives its own from it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from dualview.arguments import said
from dualview.conversion.copying import copied
from dualview.conversion.graph_network import without_graph
from dualview.conversion.source_lines import module_said
from dualview.conversion.thread_mode import ThreadMode
from dualview.conversion.tracing import TracedNetwork, named_tensors
from dualview.errors import ConversionError

Initialiser = Callable[[nn.Module], object]

_PURPOSES = ("gating", "weights")


def derived_seed(seed: int | None, purpose: str) -> int:
    """A seed for one purpose; from PyTorch's global random state where `seed` is None."""
    if seed is None:
        return int(torch.randint(2**62, ()).item())
    state = np.random.SeedSequence([seed, _PURPOSES.index(purpose)]).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


def seeded(seed: int) -> ThreadMode:
    """Random numbers of PyTorch's that this thread draws inside the block come from `seed`.

    They are those that `torch.manual_seed(seed)` would give. PyTorch's global random state, which
    belongs to all threads, is neither read nor written.
    """
    return _Drawn(seed)


_ONE_AT_A_TIME = threading.Lock()


class _Drawn(ThreadMode):
    """Hands each operation that draws random numbers a generator of the block's own."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._seed = seed
        self._generators: dict[torch.device, torch.Generator] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        draws = torch.Tag.nondeterministic_seeded in func.tags
        if not draws or kwargs.get("generator") is not None:
            return func(*args, **kwargs)
        tensors = [value for value in tree_leaves(args) if isinstance(value, Tensor)]
        device = tensors[0].device if tensors else torch.device(kwargs.get("device") or "cpu")
        if device.type == "meta":
            return func(*args, **kwargs)
        generator = self._generator(device)
        name = func._overloadname
        for other in (func, *(getattr(func.overloadpacket, n, None) for n in _with(name))):
            if other is not None and any(a.name == "generator" for a in other._schema.arguments):
                return other(*args, **kwargs, generator=generator)
        with _ONE_AT_A_TIME:
            return _from_global_state(generator, lambda: func(*args, **kwargs))

    def _generator(self, device: torch.device) -> torch.Generator:
        if device not in self._generators:
            self._generators[device] = torch.Generator(device).manual_seed(self._seed)
        return self._generators[device]


def _with(overload: str) -> tuple[str, ...]:
    """The names of the overload that takes a generator: of `rand.default`, `rand.generator`."""
    return ("generator",) if overload == "default" else (f"{overload}_generator",)


def _from_global_state(generator: torch.Generator, draw: Callable[[], Any]) -> Any:
    """What `draw`, which takes no generator, draws where the global state is the generator's."""
    device = generator.device
    module: Any = torch.random if device.type == "cpu" else torch.get_device_module(device)
    where = () if device.type == "cpu" else (device,)
    before = module.get_rng_state(*where)
    try:
        module.set_rng_state(generator.get_state(), *where)
        return draw()
    finally:
        generator.set_state(module.get_rng_state(*where))
        module.set_rng_state(before, *where)


def redraw(network: nn.Module, initialise: Initialiser | None, seed: int) -> None:
    """Draw every parameter of `network` anew, in place, under `seed`.

    `initialise` is called with the network; by default each module's own `reset_parameters` is,
    inner modules first, so that an outer one has the last word. A model that draws its modules one
    by one, by `_init_weights(module)` as those of Hugging Face do, has the very last.

    Raises:
        ConversionError: a parameter belongs to no module that knows how to draw it, has no values
            (on the device meta), or came out as it was, which would leave both networks with equal
            weights.
    """
    for name, parameter in network.named_parameters():
        if parameter.is_meta:
            raise ConversionError(
                f"parameter '{name}' has no values: it is on the device meta, where nothing can be "
                f"drawn. Repair: model.to_empty(device='cpu') and load_state_dict, or make the "
                f"model on a real device"
            )
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    with seeded(seed), torch.no_grad():
        if initialise is not None:
            _initialise(network, initialise)
        else:
            draw_each = getattr(network, "_init_weights", None)
            if not callable(draw_each):
                _refuse_orphans(network, "", covered=False)
            _reset(network, "")
            if callable(draw_each):
                network.apply(draw_each)
    for name, parameter in network.named_parameters():
        old = before[name]
        constant = old.numel() < 2 or bool((old == old.flatten()[0]).all())
        if not constant and torch.equal(old, parameter):
            raise ConversionError(
                f"parameter '{name}' came out of the initialisation as it went in, so the weights "
                f"network would have the gating network's weights. Repair: let reset_parameters "
                f"(or the function given as initialise) draw it anew"
            )


def _initialise(network: nn.Module, initialise: Initialiser) -> None:
    try:
        initialise(network)
    except TypeError as error:
        raise ConversionError(
            f"initialise: expected a function that draws the parameters of the module it is given, "
            f"got {said(initialise)}, which raised TypeError: {error}"
        ) from error


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
            f"{module_said(module, path)}: reset_parameters() without arguments failed ({error}). "
            f"Repair: give its arguments defaults, or pass disentangle(..., initialise=function)"
        ) from error


def _refuse_orphans(module: nn.Module, path: str, *, covered: bool) -> None:
    """Every parameter must lie in a module with `reset_parameters`, or inside one."""
    covered = covered or _reset_of(module) is not None
    orphans = [name for name, _ in module.named_parameters(recurse=False)]
    if orphans and not covered:
        raise ConversionError(
            f"{module_said(module, path)} holds the parameter '{orphans[0]}' and has no "
            f"reset_parameters, so the weights network cannot be drawn afresh. Repair: give the "
            f"class a reset_parameters method, or pass disentangle(..., initialise=function)"
        )
    for name, child in module.named_children():
        _refuse_orphans(child, f"{path}.{name}" if path else name, covered=covered)


def shared_modules(traced: TracedNetwork) -> nn.Module:
    """A second set of the traced network's modules that holds the same parameters.

    Buffers are its own: both networks run the same batches, so statistics stay alike. One set of
    modules under two names would not survive torch.func.functional_call.
    """
    shared = {id(parameter): parameter for parameter in traced.module.parameters()}
    return copied(without_graph(traced.module), shared)


def copied_modules(traced: TracedNetwork) -> nn.Module:
    """A second set of the traced network's modules, which starts from the same numbers."""
    return _to_be_learned(copied(without_graph(traced.module)))


def redrawn_modules(
    model: nn.Module, traced: TracedNetwork, initialise: Initialiser | None, seed: int | None
) -> nn.Module:
    """A second set of the traced network's modules, their parameters drawn afresh.

    The model itself is drawn anew, not the traced modules, since its classes know how.
    """
    drawn = copied(model)
    redraw(drawn, initialise, derived_seed(seed, "weights"))
    fresh = copied(without_graph(traced.module))
    sources = dict(named_tensors(drawn))
    with torch.no_grad():
        for name, tensor in named_tensors(fresh):
            if name in traced.origins:
                source = sources[traced.origins[name]]
                tensor.copy_(source.t() if name in traced.turned else source)
    return _to_be_learned(fresh)


def _to_be_learned(modules: nn.Module) -> nn.Module:
    """The modules, whose parameters are to be learned, also where they are a frozen model's."""
    for parameter in modules.parameters():
        if parameter.is_floating_point() or parameter.is_complex():
            parameter.requires_grad_(True)
    return modules


BEYOND, FEWEST = 0.01, 4000
"""Share of a tensor's numbers beyond the range of a fresh draw of as many, and how many there must
be. Of one law about two numbers are beyond, and so many by a chance of less than one in 10^11."""


def sign_of_training(model: nn.Module, traced: TracedNetwork, fresh: nn.Module) -> str | None:
    """What shows that a model was trained, in words; None if nothing does.

    Args:
        model: as its user has it.
        traced: the model.
        fresh: its `redrawn_modules`.
    """
    for name, module in model.named_modules():
        counted = getattr(module, "num_batches_tracked", None)
        if isinstance(counted, Tensor) and not counted.is_meta and int(counted) > 0:
            return f"the batch norm {name!r} has seen {int(counted):,} batches"
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            return f"the parameter {name!r} has a gradient"
    own = dict(traced.module.named_parameters())
    for name, drawn in fresh.named_parameters():
        if name in own and _differs(own[name].detach(), drawn.detach()):
            return f"the parameter {traced.origins.get(name, name)!r} is no fresh draw of its layer"
    return None


def _differs(found: Tensor, drawn: Tensor) -> bool:
    """Whether numbers cannot come from the law of a fresh draw of as many."""
    if not found.is_floating_point() or found.numel() < 2:  # of one number no law is seen
        return False
    low, high = drawn.min(), drawn.max()
    if low == high:  # biases of 0, factors of 1
        return bool((found != low).any())
    beyond = ((found < low) | (found > high)).sum()
    return found.numel() >= FEWEST and bool(beyond > BEYOND * found.numel())
