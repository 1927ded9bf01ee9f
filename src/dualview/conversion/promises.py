"""What each kind of gated network promises, and the options under which it cannot keep it."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import fx

from dualview.arguments import UnfitError, said, several, whole
from dualview.conversion.affinity import affine_layers
from dualview.conversion.gates import Gate, HardGate
from dualview.conversion.operations import BATCH_NORM_MODULES, DROPOUT_MODULES
from dualview.conversion.source_lines import describe
from dualview.conversion.tracing import TracedNetwork, data_argument, gate_of
from dualview.errors import (
    ConversionError,
    DualviewWarning,
    GateOrderError,
    UnsupportedOperationError,
)

Kind = Literal["dnn", "dgn", "dlgn", "dlgn-sf"]
Weights = Literal["copied", "fresh"]
WeightsInput = Literal["data", "ones"]
MaxPooling = Literal["average", "switch"]
GateChoice = Literal["hard", "soft", "own"]


def refuse_switch(kind: str, max_pool: str | None) -> None:
    """A shallow gating network has no pools, so it has no choices to replay."""
    if kind == "dlgn-sf" and max_pool == "switch":
        raise ConversionError(
            "max_pool='switch' with kind='dlgn-sf': its gating network has no pool whose choice "
            "could be replayed. Repair: use max_pool='average', or kind='dlgn'"
        )


def refuse_multipliers(traced: TracedNetwork) -> None:
    """Refuse a "dlgn-sf" whose model multiplies by something that only its own layers compute."""
    if traced.multipliers:
        raise UnsupportedOperationError(
            f"{describe(traced.multipliers[0])}: kind='dlgn-sf' has a gating layer for each layer "
            f"of a plain chain, and nothing that could compute this multiplier. Repair: use "
            f"kind='dlgn' or kind='dgn'"
        )


def say_what_is_affine(traced: TracedNetwork, gating: fx.GraphModule) -> None:
    """Warn of pre-activations that a multiplier keeps from being affine; refuse if all are such."""
    affine = affine_layers(gating, len(traced.activations))
    where = describe(traced.multipliers[0])
    if not any(affine):
        raise UnsupportedOperationError(
            f"{where}: kind='dlgn' promises pre-activations that are affine in the input. This "
            f"multiplies by a number that depends on the example, as attention and normalisation "
            f"by statistics do, so that no layer's would be. Repair: use kind='dgn', whose gating "
            f"network computes it; or batch norm and convolutions in its place"
        )
    if not all(affine):
        late = [str(layer) for layer, is_affine in enumerate(affine) if not is_affine]
        warnings.warn(
            f"{where}: it multiplies by a number that depends on the example, which the gating "
            f"network computes as the model does, so that the pre-activations of layers "
            f"{', '.join(late)} are not affine in the input (net.affine_layers tells)",
            DualviewWarning,
            stacklevel=4,
        )


def checked_order(gate_order: Sequence[int] | None, traced: TracedNetwork) -> tuple[int, ...]:
    """The order of the gates, whose shapes must fit where they go."""
    n = len(traced.activations)
    if gate_order is None:
        return tuple(range(n))
    try:  # no dict: {0: 1, 1: 0} would be read as its keys, in the order 0, 1
        order: tuple[int, ...] = several(whole(0), "a permutation")(gate_order)
    except UnfitError:
        order = ()
    if sorted(order) != list(range(n)):
        raise no_permutation(gate_order, n)
    if traced.shapes:
        shapes = [traced.shapes[data_argument(node)][1:] for node in traced.activations]
        for layer, source in enumerate(order):
            if shapes[layer] != shapes[source]:
                raise shapes_differ(layer, source, shapes[layer], shapes[source])
    return order


def no_permutation(gate_order: Any, n: int) -> GateOrderError:
    """The error of an order that is none."""
    return GateOrderError(
        f"gate_order: expected a permutation of 0 ... {n - 1}, one entry per gated layer, got "
        f"{said(gate_order)}"
    )


def shapes_differ(layer: int, source: int, wanted: torch.Size, got: torch.Size) -> GateOrderError:
    """The error of gates that are exchanged between layers of different shapes."""
    return GateOrderError(
        f"gate_order: layer {layer} needs gates of shape {tuple(wanted)}, and gating layer "
        f"{source} gives {tuple(got)}. Repair: permute only layers of equal shape"
    )


def check_own_dual_form(
    gate: Gate | GateChoice | None,
    weights_input: WeightsInput,
    order: tuple[int, ...],
    max_pool: MaxPooling | None,
    traced: TracedNetwork,
) -> None:
    """kind="dnn" promises the model's own output, so nothing may change it."""
    hard = all(isinstance(gate_of(node), HardGate) for node in traced.activations)
    if not (
        gate is None or gate == "own" or (hard and (gate == "hard" or isinstance(gate, HardGate)))
    ):
        wrong = f"gate={gate!r}"
    elif weights_input != "data":
        wrong = f"weights_input={weights_input!r}"
    elif order != tuple(range(len(order))):
        wrong = f"gate_order={order}"
    elif max_pool == "average" and traced.max_pools:
        wrong = "max_pool='average'"
    else:
        return
    raise ConversionError(
        f"kind='dnn' is the model's own dual form, whose output equals the model's; {wrong} would "
        f"change it. Repair: leave the option out, or use kind='dgn'"
    )


def warn_about_dropout(traced: TracedNetwork, gating: fx.Graph) -> None:
    """Masks of dropout are drawn in each network on its own."""
    on_path = {str(node.target) for node in traced.signal_path if _calls(node)}
    for node in gating.nodes:
        if not _calls(node) or str(node.target) not in on_path:
            continue  # a mask of attention weights is drawn once and replayed
        module: Any = traced.module.get_submodule(str(node.target))
        if isinstance(module, DROPOUT_MODULES) and module.training and module.p > 0:
            warnings.warn(
                f"dropout '{node.target}': in training mode the two networks of kind='dnn' draw "
                f"masks of their own, so the output equals the model's in evaluation mode only",
                DualviewWarning,
                stacklevel=4,
            )
            return


def _calls(node: fx.Node) -> bool:
    return node.op == "call_module"


def refuse_split_batch_norm(traced: TracedNetwork, gating: fx.Graph) -> None:
    """A batch norm module must run equally often in both networks to keep equal statistics."""

    def calls(graph: fx.Graph) -> Counter[str]:
        return Counter(str(node.target) for node in graph.nodes if _calls(node))

    everywhere, needed = calls(traced.graph), calls(gating)
    for name in needed:
        module: Any = traced.module.get_submodule(name)
        tracks = isinstance(module, BATCH_NORM_MODULES) and module.track_running_stats
        if tracks and needed[name] != everywhere[name]:
            raise ConversionError(
                f"batch norm '{name}' runs both before and after the last gate, so the gating "
                f"network would update its statistics less often than the model does. Repair: "
                f"use a batch norm of its own after the last activation"
            )
