"""A config -> the network that it describes, with parameters still to be filled in."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import nn

from dualview.conversion.disentangling import disentangle
from dualview.conversion.example_outline import inputs_from
from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.input_transform import InputTransform
from dualview.conversion.parameters import StoredTensor
from dualview.conversion.recipe import Recipe, gate_from
from dualview.conversion.sharing.bounds import bounded_architecture, bounded_example, bounded_inputs
from dualview.conversion.sharing.config import SavedConfig
from dualview.conversion.structure import outline, plain_options
from dualview.errors import ConversionError, DualviewWarning, GateOrderError, SavedNetworkError


def rebuilt(
    config: SavedConfig, stored: Mapping[str, StoredTensor], model: nn.Module | None = None
) -> GatedNetwork:
    """The network, in evaluation mode, of the config's type of numbers; its values mean nothing.

    Args:
        config: how it was made.
        stored: what the parameter file holds, which bounds what is made.
        model: what the network was made of, where that is no architecture of this package.

    Raises:
        SavedNetworkError: a model is needed, or what is made is another network than was saved.
    """
    recipe = config.recipe
    if model is None and recipe.architecture is None:
        raise SavedNetworkError(
            f"the network was made of a model of the class {repr(recipe.model)[:80]}, which is no "
            f"architecture of dualview, and files never bring code. Repair: make the model (its "
            f"parameters do not matter) and pass it: from_pretrained(..., model=...)"
        )
    gate = gate_from(recipe.gate or {})
    # Neither the caller's random numbers nor their warnings: those came when it was first made.
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore", DualviewWarning)
        if model is None:
            assert recipe.architecture is not None
            model = bounded_architecture(recipe.architecture, stored, recipe.example_shape)
        elif recipe.example_inputs is not None:
            bounded_inputs(model, recipe.example_inputs)
        elif recipe.example_shape is not None:
            bounded_example(model, recipe.example_shape)
        try:
            net = disentangle(
                model,
                cast(Any, config.kind),
                gate=cast(Any, gate),
                weights_input=cast(Any, config.weights_input),
                gate_order=config.gate_order,
                max_pool=cast(Any, recipe.max_pool),
                example_input=_example(model, recipe),
                mode=cast(Any, recipe.mode),
                output=recipe.output,
                multipliers=recipe.multipliers,
                initialise=_draw,
                seed=0,
            )
        except ConversionError as error:
            raise _unfit(model, config, error) from error
    net.input_transform = config.input_transform and InputTransform(*config.input_transform)
    net = net.to(getattr(torch, config.dtype)).eval()
    _compare(network_outline(net), config)
    net.recipe = recipe
    return net


def _unfit(model: nn.Module, config: SavedConfig, error: ConversionError) -> SavedNetworkError:
    """What to say of a model that cannot be taken apart as the config says."""
    name, order = type(model).__name__, config.gate_order
    if isinstance(error, GateOrderError) and sorted(order) == list(range(len(order))):
        return SavedNetworkError(
            f"{name} is another model than the saved network's, which has {len(order)} gated "
            f"layers in the order {order}. Repair: pass a model of the class, and with the "
            f"options, that the network was made of"
        )
    return SavedNetworkError(f"{name} cannot be taken apart as the config says: {error}")


def transform_numbers(net: GatedNetwork) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Mean and standard deviation of the network's input transform, if it has one."""
    own = net.input_transform
    if own is None:
        return None
    return (tuple(own.mean.tolist()), tuple(own.std.tolist()))


def network_outline(net: GatedNetwork) -> tuple[str, ...]:
    """What both networks and the gates are, line by line."""
    gates = (
        f"gate {k}: {type(gate).__name__} {plain_options(gate)}"
        for k, gate in enumerate(net.gate_functions)
    )
    return (
        *(f"gating network: {line}" for line in outline(net.gating_network)),
        *(f"weights network: {line}" for line in outline(net.weights_network)),
        *gates,
    )


def _compare(found: tuple[str, ...], config: SavedConfig) -> None:
    if found == config.graph:
        return
    same = [a == b for a, b in zip(config.graph, found, strict=False)]
    first = same.index(False) if False in same else len(same)
    expected, got = (
        repr(lines[first])[:400] if first < len(lines) else "nothing more"
        for lines in (config.graph, found)
    )
    raise SavedNetworkError(
        f"expected the network that was saved, made of "
        f"{repr(config.recipe.model)[:80]}; it differs first in operation {first + 1}: "
        f"expected {expected}, got {got}. Repair: pass the model that it was "
        f"made of, with the same options; it was saved with "
        + ", ".join(f"{name} {version}" for name, version in config.versions.items())
    )


def _example(model: nn.Module, recipe: Recipe) -> Any:
    """One example of zeros, where and of the type that the model is; None if there was none."""
    inputs, shape = recipe.example_inputs, recipe.example_shape
    floating = (p for p in model.parameters() if p.is_floating_point())
    like = next(floating, torch.zeros(()))
    if inputs is not None:
        return inputs_from(inputs, like)
    return None if shape is None else like.detach().new_zeros(1, *shape)


def _draw(network: nn.Module) -> None:
    """Any values: the file's take their place. So a model need not know how to draw itself."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_()
