"""What a Gram matrix depends on: fingerprints of the network and of the data, options, versions."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor, nn

from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.operations import BATCH_NORM_MODULES, CONVOLUTION_MODULES, DENSE_MODULES
from dualview.conversion.structure import plain_options

FORMAT = "dualview gram 2"
LIBRARIES = ("dualview", "torch", "numpy", "numba", "zarr")


def identity(
    net: GatedNetwork, x1: Tensor, x2: Tensor | None, options: Mapping[str, Any]
) -> dict[str, Any]:
    """What a Gram matrix depends on, as the store's attributes hold it.

    The path kernel averages over the weights of the weights network, so of that only the structure
    counts: a network whose weights were trained on, its gates fixed, has the same Gram matrix.
    """
    averaged: tuple[type[nn.Module], ...] = (*DENSE_MODULES, *CONVOLUTION_MODULES)
    if options.get("batch_norm") != "scale":
        averaged += BATCH_NORM_MODULES
    return {
        "format": FORMAT,
        "shape": [len(x1), len(x1 if x2 is None else x2)],
        "fingerprints": {
            "gating network": _fingerprint(net.gating_network),
            "input transform": net.input_transform and _fingerprint(net.input_transform),
            "gates": _fingerprint(net.gate_functions),
            "weights network": _fingerprint(net.weights_network, averaged),
            "data x": _tensor_fingerprint(x1),
            "data x2": None if x2 is None else _tensor_fingerprint(x2),
        },
        "options": {
            "kind": net.kind,
            "weights_input": net.weights_input,
            "gate_order": None if net.gate_order is None else list(net.gate_order),
            **options,
        },
        "versions": {
            name: version(name) for name in LIBRARIES if importlib.util.find_spec(name) is not None
        },
    }


def differences(found: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """How one identity differs from another, versions aside, as phrases; empty if it does not."""
    changes = [
        f"another {name}"
        for name, value in expected["fingerprints"].items()
        if found["fingerprints"].get(name) != value
    ]
    if found.get("shape") != expected["shape"]:
        changes.append(f"{_of(found.get('shape'))} examples, not {_of(expected['shape'])}")
    return changes + [
        f"{name}={found['options'].get(name)!r}, not {value!r}"
        for name, value in expected["options"].items()
        if found["options"].get(name) != value
    ]


def _of(shape: Any) -> str:
    sizes = shape if isinstance(shape, list) else [shape]  # whatever a damaged store says
    return " x ".join(map(str, sizes))


def version_changes(found: Mapping[str, Any], expected: Mapping[str, Any]) -> dict[str, str]:
    """Libraries whose version is another now, with both."""
    old, new = found["versions"], expected["versions"]
    return {
        name: f"{old.get(name)} then, {new.get(name)} now"
        for name in {**old, **new}
        if old.get(name) != new.get(name)
    }


def _fingerprint(module: nn.Module, averaged: Iterable[type[nn.Module]] = ()) -> str:
    """SHA-256 of a network's code, its modules' plain options and its tensors.

    Of modules of the types `averaged`, only the shapes of the tensors.
    """
    digest = hashlib.sha256()
    shapes_only = tuple(averaged)
    for name, part in module.named_modules():
        digest.update(repr((name, type(part).__name__, _code(part))).encode())
        options = plain_options(part)
        for key, value in sorted(vars(part).items()):
            if isinstance(value, Tensor):
                digest.update(f"{key} {_tensor_fingerprint(value)}".encode())
            elif key in options:
                digest.update(repr((key, value)).encode())
        for key, tensor in (*part.named_parameters(recurse=False), *part.named_buffers("", False)):
            shape_only = isinstance(part, shapes_only)
            said = tuple(tensor.shape) if shape_only else _tensor_fingerprint(tensor)
            digest.update(f"{key} {said}".encode())
    return digest.hexdigest()


def _code(part: nn.Module) -> str | None:
    """The code of a graph, with its functions named as they were when the first stores were made.

    torch.fx writes the room of a function into its name; a function that moves stays what it is.
    """
    code = getattr(part, "code", None)
    return None if code is None else code.replace("dualview_conversion_", "dualview_")


def _tensor_fingerprint(tensor: Tensor) -> str:
    digest = hashlib.sha256(repr((tuple(tensor.shape), str(tensor.dtype))).encode())
    flat = tensor.detach().contiguous().flatten()
    for part in flat.split(1 << 24):  # a copy of a part at most
        digest.update(part.cpu().view(torch.uint8).numpy().data)
    return digest.hexdigest()
