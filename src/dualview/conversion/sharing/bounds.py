"""How large a network a config may ask for: no larger than its parameter file.

A config of a few bytes could name a width of a billion. So the architecture is first made on
PyTorch's meta device, where tensors have shapes and no numbers, and counted.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from dualview.architectures import ARCHITECTURES
from dualview.architectures.record import Architecture
from dualview.conversion.example_input import Example
from dualview.conversion.example_outline import inputs_from, numbers_in
from dualview.conversion.parameters import StoredTensor
from dualview.conversion.tracing import trace
from dualview.errors import SavedNetworkError

MOST_VALUES = 2**28
"""Numbers in one tensor (1 GB in float32) while the shapes of one example are noted."""


HARMLESS = 2**20
"""Numbers in one example that any model may be run on."""

NOT_MEANT = (ValueError, TypeError, LookupError, ArithmeticError, RuntimeError, MemoryError)
"""Whatever factories and PyTorch say of sizes that cannot be meant."""


def bounded_architecture(
    made: Architecture, stored: Mapping[str, StoredTensor], example_shape: tuple[int, ...] | None
) -> nn.Module:
    """The architecture that a config names, if the parameter file is as large as it must be.

    Raises:
        SavedNetworkError: unknown architecture or options, or more of anything than the file holds.
    """
    factory = ARCHITECTURES.get(made.name)
    if factory is None:
        raise SavedNetworkError(
            f"architecture: expected one of {', '.join(ARCHITECTURES)}, got "
            f"{repr(made.name)[:80]}. Repair: pass the model, from_pretrained(..., model=...)"
        )
    _check_layers(made.options, len(stored))
    try:
        with torch.device("meta"):
            model = factory(**made.options)
        needed = sum(parameter.numel() for parameter in model.parameters())
        held = sum(math.prod(tensor.shape) for tensor in stored.values())
        if needed > held:
            raise _too_large(f"it has {needed:,} parameters", f"{held:,} numbers")
        if example_shape is not None:
            _check_example(model, example_shape)
        return factory(**made.options)
    except NOT_MEANT as error:
        if isinstance(error, SavedNetworkError):
            raise
        raise SavedNetworkError(
            f"architecture: {made.name} cannot be made with {repr(dict(made.options))[:200]}: "
            f"{_first_line(error)}"
        ) from error


def bounded_example(model: nn.Module, shape: tuple[int, ...]) -> None:
    """Refuse an example that a user's model could run on in more memory than can be meant.

    Raises:
        SavedNetworkError: it is too large, or takes too much in one layer; or it is not small, and
            the model cannot tell without numbers.
    """
    check_example_shape(shape)
    if math.prod(shape) <= HARMLESS:
        return
    try:
        _check_example(copy.deepcopy(model).to("meta"), shape)
    except NOT_MEANT as error:
        if isinstance(error, SavedNetworkError):
            raise
        raise SavedNetworkError(
            f"example_shape: {type(model).__name__} cannot be run on one example of shape {shape}: "
            f"{_first_line(error)}"
        ) from error


def bounded_inputs(model: nn.Module, inputs: Mapping[str, Any]) -> None:
    """The same for inputs that `example_outline.described` described.

    Raises:
        SavedNetworkError: as `bounded_example`.
    """
    check_example_inputs(inputs)
    if numbers_in(inputs) <= HARMLESS:
        return
    largest = _Largest()
    try:
        example = Example.of(inputs_from(inputs, torch.empty((), device="meta")))
        with torch.no_grad(), torch.device("meta"), largest:
            copy.deepcopy(model).to("meta").eval()(*example.args, **example.kwargs)
    except NOT_MEANT as error:
        raise SavedNetworkError(
            f"example_inputs: {type(model).__name__} cannot be run on one example of them: "
            f"{_first_line(error)}"
        ) from error
    if largest.numbers > MOST_VALUES:
        raise SavedNetworkError(
            f"example_inputs: one example takes {largest.numbers:,} numbers in one operation; "
            f"expected at most {MOST_VALUES:,}"
        )


def check_example_inputs(inputs: Mapping[str, Any]) -> None:
    """Refuse inputs that no file describes, or that are too large to run through a network unseen.

    Raises:
        SavedNetworkError: they are one or the other.
    """
    if not inputs:
        raise SavedNetworkError(
            "example_input: expected tensors and plain values (numbers, texts, None) in tuples, "
            "lists and dictionaries, got what only code makes again. Repair: save "
            "net.state_dict() with safetensors"
        )
    if numbers_in(inputs) > MOST_VALUES:
        raise SavedNetworkError(
            f"example_inputs: expected at most {MOST_VALUES:,} numbers in one example, got "
            f"{numbers_in(inputs):,}"
        )


class _Largest(TorchDispatchMode):
    """Keeps the number of values of the largest tensor that is made under it."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        value = func(*args, **(kwargs or {}))
        for leaf in pytree.tree_leaves(value):
            if isinstance(leaf, Tensor):
                self.numbers = max(self.numbers, leaf.numel())
        return value


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]


def _check_layers(options: Mapping[str, Any], held: int) -> None:
    """Refuse more layers than the file has tensors, before any is made."""
    for name, value in options.items():
        layers = len(value) if isinstance(value, list | tuple) else value if name == "depth" else 0
        if layers is not None and layers > held:
            raise _too_large(f"{name} asks for {layers:,} layers", f"{held:,} tensors")


def check_example_shape(shape: tuple[int, ...]) -> None:
    """Refuse an example that is too large to run through a network unseen.

    Raises:
        SavedNetworkError: it has more than `MOST_VALUES` numbers.
    """
    if math.prod(shape) > MOST_VALUES:
        raise SavedNetworkError(
            f"example_shape: expected at most {MOST_VALUES:,} numbers in one example, got {shape}"
        )


def _check_example(model: nn.Module, shape: tuple[int, ...]) -> None:
    check_example_shape(shape)
    sizes = _Sizes(trace(model.eval()).module)
    sizes.extra_traceback = False
    with torch.no_grad():
        sizes.run(torch.empty(1, *shape, device="meta"))
    if sizes.largest > MOST_VALUES:
        raise SavedNetworkError(
            f"example_shape: one example of shape {shape} takes {sizes.largest:,} numbers in one "
            f"layer; expected at most {MOST_VALUES:,}"
        )


class _Sizes(fx.Interpreter):
    """Runs a graph and keeps the number of values of its largest tensor."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.largest = 0

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if isinstance(value, Tensor):
            self.largest = max(self.largest, value.numel())
        return value


def _too_large(asked: str, held: str) -> SavedNetworkError:
    return SavedNetworkError(
        f"architecture: {asked}, and the parameter file holds {held}. Repair: give the config and "
        f"the parameter file that belong together"
    )
