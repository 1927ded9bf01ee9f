"""A network -> the config that makes it again, after trying that it does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from typing import Any, cast

import torch

from dualview.architectures.record import Architecture
from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.gates import Gate
from dualview.conversion.parameters import StoredTensor
from dualview.conversion.recipe import DESCRIBED_GATES, OWN, describe_gate
from dualview.conversion.sharing.bounds import check_example_inputs, check_example_shape
from dualview.conversion.sharing.config import (
    DTYPES,
    SavedConfig,
    config_from_json,
    config_to_json,
    is_option,
)
from dualview.conversion.sharing.rebuilding import network_outline, rebuilt, transform_numbers
from dualview.errors import SavedNetworkError


def saved_config(net: GatedNetwork) -> SavedConfig:
    """The config of a network, without the checksum of a file that is still to be written.

    A reference architecture is named only if making it again gives this very network; where its
    layers were changed since, the model counts as the user's own.

    Raises:
        SavedNetworkError: the network cannot be described without code, or has numbers that are
            not finite.
    """
    recipe = net.recipe
    if recipe is None:
        raise SavedNetworkError(
            "expected a network that disentangle made, got one put together by hand, which no "
            "code makes again. Repair: save net.state_dict() with safetensors"
        )
    if recipe.gate is None:
        raise SavedNetworkError(
            f"gates: expected the model's own or one of {', '.join(DESCRIBED_GATES)}, got "
            f"{type(net.gate_functions[0]).__name__}, which only its own code makes again. "
            f"Repair: save net.state_dict() with safetensors"
        )
    _check_gates(net, recipe.gate)
    if recipe.example_inputs is not None:
        check_example_inputs(recipe.example_inputs)
    elif recipe.example_shape is not None:
        check_example_shape(recipe.example_shape)
    config = SavedConfig(
        recipe,
        net.kind,
        net.weights_input,
        net.gate_order,
        _dtype(net),
        network_outline(net),
        "",
        {"dualview": version("dualview"), "torch": torch.__version__},
        transform_numbers(net),
    )
    if recipe.architecture is not None:
        named = replace(config, recipe=replace(recipe, architecture=_as_json(recipe.architecture)))
        nameless = replace(config, recipe=replace(recipe, architecture=None))
        config = named if _makes_again(named, net) else nameless
    config_from_json(config_to_json(config), "config")  # nothing is written that cannot be read
    return config


def _check_gates(net: GatedNetwork, told: Mapping[str, Any]) -> None:
    """Refuse gates that were exchanged after `disentangle` made them."""
    for layer, gate in enumerate(net.gate_functions):
        found = describe_gate(cast(Gate, gate))
        if told != describe_gate(OWN) and found != told:
            raise SavedNetworkError(
                f"gate_functions[{layer}]: expected {dict(told)}, as disentangle was told, got "
                f"{found or type(gate).__name__}. Repair: disentangle(..., gate=...)"
            )


def _as_json(made: Architecture) -> Architecture:
    """The same architecture, tuples as the lists that JSON has."""
    lists = {k: list(v) if isinstance(v, tuple) else v for k, v in made.options.items()}
    return Architecture(made.name, lists)


def _dtype(net: GatedNetwork) -> str:
    """The one floating-point type of all tensors, which are finite."""
    types = set()
    for name, tensor in net.state_dict().items():
        if tensor.is_floating_point():
            types.add(str(tensor.dtype).removeprefix("torch."))
        if not bool(tensor.isfinite().all()):
            raise SavedNetworkError(
                f"{name}: expected finite numbers, got NaN or infinity. Repair: save the network "
                f"as it was before training went astray"
            )
    if len(types) != 1 or not types <= set(DTYPES):
        raise SavedNetworkError(
            f"expected floating-point tensors of one type ({', '.join(DTYPES)}), got "
            f"{', '.join(sorted(types)) or 'none'}. Repair: net.to(torch.float32)"
        )
    return types.pop()


def _makes_again(config: SavedConfig, net: GatedNetwork) -> bool:
    made = config.recipe.architecture
    assert made is not None
    if not all(map(is_option, made.options.values())):
        return False
    stored = {name: StoredTensor(tuple(t.shape), "") for name, t in net.state_dict().items()}
    try:
        rebuilt(config, stored)
    except SavedNetworkError:
        return False
    return True
