"""A network's parameters and buffers as a file: safetensors, which holds numbers and no code."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualview.errors import SavedNetworkError
from dualview.files.opening import opened
from dualview.files.writing import write_atomically

if TYPE_CHECKING:
    from torch import Tensor, nn

MODEL = "model.safetensors"
"""The file's name in a folder of a run or of a saved network."""


INPUT_TRANSFORM = ("input_transform.mean", "input_transform.std")
"""Names of a gated network's input transform, which older files lack."""


@dataclass(frozen=True)
class StoredTensor:
    """What a file's header says of one tensor: its shape, and its type as safetensors names it."""

    shape: tuple[int, ...]
    dtype: str


def save_parameters(net: nn.Module, path: Path) -> None:
    """Write the network's parameters and buffers as safetensors, whole or not at all.

    Tensors that two networks share are stored once; `load_parameters` reads the file.
    """
    from safetensors.torch import save_model

    write_atomically(path, lambda part: save_model(net, str(part)))


@contextmanager
def opened_tensors(path: Path) -> Iterator[Any]:
    """Open a file of tensors with safetensors, whatever its name: the library wants UTF-8.

    Raises:
        OSError: as `files.opening.opened`.
        SafetensorError: it is not safetensors, or damaged.
    """
    from safetensors import safe_open

    with opened(path) as plain:
        name = str(path)
        if name != os.fsencode(path).decode(errors="replace"):
            name = f"/dev/fd/{plain.fileno()}"
        with safe_open(name, framework="pt") as file:
            yield file


@contextmanager
def _readable(path: Path) -> Iterator[Any]:
    """The same, where what cannot be read is refused as a file of a network."""
    from safetensors import SafetensorError

    try:
        with opened_tensors(path) as file:
            yield file
    except (OSError, SafetensorError, ValueError) as error:
        raise SavedNetworkError(
            f"{path}: expected a safetensors file, got {type(error).__name__}: {error}. Repair: "
            f"get the file again; files of another format, such as pickles, are never loaded"
        ) from error


def stored_tensors(path: Path) -> dict[str, StoredTensor]:
    """What the file holds, by name; only its header is read.

    Raises:
        SavedNetworkError: it is not safetensors, or damaged.
    """
    with _readable(path) as file:
        # An open file has names and is no mapping: it cannot be gone through without `keys`.
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
        return {
            name: StoredTensor(tuple(part.get_shape()), part.get_dtype())
            for name, part in slices.items()
        }


def load_parameters(net: nn.Module, path: Path) -> None:
    """Put the parameters and buffers of a file into `net`, all of them or none.

    Floating-point numbers may have another precision there than in the network. A file of before
    networks carried their input transform has none, and the network keeps its own; one that has it
    brings it.

    Raises:
        SavedNetworkError: the file is damaged, or holds other tensors than the network has, or a
            number that is not finite; the network is as it was.
    """
    from dualview.conversion.input_transform import blank_transform

    stored = stored_tensors(path)
    mean = stored.get(INPUT_TRANSFORM[0])
    if mean is None or getattr(net, "input_transform", mean) is not None:
        _load(net, stored, path)
        return
    net.register_module("input_transform", blank_transform(net, mean.shape))
    try:
        _load(net, stored, path)
    except BaseException:
        net.register_module("input_transform", None)
        raise


def _load(net: nn.Module, stored: Mapping[str, StoredTensor], path: Path) -> None:
    import torch

    targets = _matched(net, stored, path)
    with _readable(path) as file:
        found = {name: file.get_tensor(name) for name in targets}
    for name, tensor in found.items():
        _check_values(name, tensor, targets[name], path)
    with torch.no_grad():
        for name, tensor in found.items():
            targets[name].copy_(tensor)


def shared_names(net: nn.Module) -> list[tuple[Tensor, list[str]]]:
    """Each parameter and buffer of the network, with all its names."""
    groups: dict[int, tuple[Tensor, list[str]]] = {}
    for name, tensor in net.state_dict(keep_vars=True).items():
        groups.setdefault(id(tensor), (tensor, []))[1].append(name)
    return list(groups.values())


def _matched(net: nn.Module, stored: Mapping[str, StoredTensor], path: Path) -> dict[str, Tensor]:
    """The network's tensor for each name in the file."""
    targets, missing = {}, []
    for tensor, names in shared_names(net):
        present = [name for name in names if name in stored]
        missing += names[:1] if not present and names[0] not in INPUT_TRANSFORM else []
        targets.update(dict.fromkeys(present[:1], tensor))
    extra = [name for name in stored if name not in targets]
    shapes = [
        f"{name} is {tuple(tensor.shape)} in the network and {stored[name].shape} in the file"
        for name, tensor in targets.items()
        if tuple(tensor.shape) != stored[name].shape
    ]
    problems = [
        f"{what} {_some(names)}"
        for what, names in (("missing:", missing), ("not in the network:", extra), ("", shapes))
        if names
    ]
    if problems:
        raise SavedNetworkError(
            f"{path}: expected the tensors of this network, got others; "
            f"{'; '.join(problem.strip() for problem in problems)}. Repair: give the file and the "
            f"network that belong together"
        )
    return targets


def _check_values(name: str, tensor: Tensor, target: Tensor, path: Path) -> None:
    floating = tensor.is_floating_point() and target.is_floating_point()
    if tensor.dtype != target.dtype and not floating:
        raise SavedNetworkError(
            f"{path}: {name}: expected {target.dtype}, got {tensor.dtype}. Repair: give the file "
            f"and the network that belong together"
        )
    if not bool(tensor.to(target.dtype).isfinite().all()):  # as they will be in the network
        raise SavedNetworkError(
            f"{path}: {name}: expected finite numbers ({target.dtype}), got NaN, infinity or a "
            f"number too large for the type. Repair: take a file from before training went "
            f"astray, or get the file again"
        )


def _some(names: Sequence[str], most: int = 3) -> str:
    """The first few, short and printable: a file may hold anything as a name."""
    rest = len(names) - most
    shown = [name if name.isprintable() else repr(name) for name in names[:most]]
    return ", ".join(name[:200] for name in shown) + (f" and {rest} more" if rest > 0 else "")
