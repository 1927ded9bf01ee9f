"""A model -> the two networks that it is made of."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

from torch import Tensor, fx, nn

from dualview.architectures.record import architecture_of
from dualview.arguments import (
    UnfitError,
    calling,
    instance_of,
    one_of,
    optional,
    seed_number,
    several,
    takes,
    text_value,
    whole,
)
from dualview.conversion.example_input import Example
from dualview.conversion.example_outline import described
from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.gates import Gate, HardGate, SoftGate
from dualview.conversion.gating_graph import gating_graph
from dualview.conversion.graph_network import GraphNetwork
from dualview.conversion.initialisation import (
    Initialiser,
    copied_modules,
    derived_seed,
    redrawn_modules,
    shared_modules,
    sign_of_training,
)
from dualview.conversion.input_transform import InputTransform, without_front
from dualview.conversion.promises import (
    GateChoice,
    Kind,
    MaxPooling,
    Weights,
    WeightsInput,
    check_own_dual_form,
    checked_order,
    refuse_multipliers,
    refuse_split_batch_norm,
    refuse_switch,
    say_what_is_affine,
    warn_about_dropout,
)
from dualview.conversion.recipe import Recipe, describe_gate
from dualview.conversion.shallow_features import shallow_gating_network
from dualview.conversion.tracing import Mode, TracedNetwork, gate_of, trace
from dualview.conversion.weights_graph import WeightsGraphBuilder
from dualview.conversion.wrappers import plain_model
from dualview.errors import ConversionError, DroppedWeightsWarning

if TYPE_CHECKING:
    from torch.export import ExportedProgram

TRANSFORM = "dualview.InputTransform(mean, std)"


def _gate(value: Any) -> Any:
    """A check as `dualview.arguments` has them: a gate or the name of one."""
    if isinstance(value, Gate):
        return value
    try:
        return one_of(*get_args(GateChoice))(value)
    except UnfitError as unfit:
        wanted = f"{unfit.expected}, or a dualview.Gate"
        raise UnfitError(wanted, got=unfit.got) from None


def _output(value: Any) -> str | int:
    """Likewise: the name or the number of an output."""
    try:
        found: str | int = text_value(value) if isinstance(value, str) else whole(0)(value)
    except UnfitError:
        raise UnfitError("the name or the number of an output") from None
    return found


@takes(
    ConversionError,
    kind=one_of(*get_args(Kind)),
    gate=optional(_gate),
    weights=optional(one_of(*get_args(Weights))),
    weights_input=one_of(*get_args(WeightsInput)),
    mode=optional(one_of(*get_args(Mode))),
    output=optional(_output),
    multipliers=several(text_value, "names of layers", empty=True),
    max_pool=optional(one_of(*get_args(MaxPooling))),
    initialise=optional(calling(1)),
    seed=optional(seed_number),
    input_transform=optional(instance_of(InputTransform, repair=TRANSFORM)),
)
def disentangle(
    model: nn.Module | ExportedProgram,
    kind: Kind = "dlgn",
    *,
    gate: Gate | GateChoice | None = None,
    weights: Weights | None = None,
    weights_input: WeightsInput = "data",
    gate_order: Sequence[int] | None = None,
    max_pool: MaxPooling | None = None,
    example_input: Any = None,
    mode: Mode | None = None,
    output: str | int | None = None,
    multipliers: Sequence[str] = (),
    initialise: Initialiser | None = None,
    seed: int | None = None,
    input_transform: InputTransform | None = None,
) -> GatedNetwork:
    """Take a ReLU network apart into a gating network and a weights network.

    The model is copied and never changed. In a DGN or DLGN the gating network starts from the
    model's own parameters, and the weights network is drawn afresh, or starts from them too
    (`weights="copied"`: what a trained model has learnt is kept). So a DGN of a trained model keeps
    its gates, to the number with gate="hard"; a DLGN keeps those of the first layer, since what
    follows has lost its activations. In "dnn", the model's own dual form, both share one copy of
    the parameters and the output equals the model's (in evaluation mode; with dropout only there,
    and where no pre-activation is infinite).

    Args:
        model: any module that can be traced (with `example_input`, exported), made of affine
            operations, activations, max pools and products with a multiplier. Every call site of an
            activation is one gated layer. Attention weights, squashed branches and the scales of
            normalisations are multipliers that the gating network supplies (the documentation's
            pages "Beyond ReLU" and "Attention and LayerNorm" say which spellings). A compiled
            model, one in `nn.DataParallel` or its like, and a program of `torch.export` are taken
            for the model in them; `from_onnx` reads ONNX files.
        kind: "dnn"; "dgn" (gates from a ReLU network); "dlgn" (gates from a deep linear network,
            average in place of max pooling); "dlgn-sf" (every gated layer reads the input
            directly; plain chains of layers only).
        gate: a `Gate`, or "hard" (1{q > 0}), "soft" (sigmoid(4 q)), "own" (each activation's own).
            Default: "own" for "dnn", "soft" elsewhere.
        weights: what the weights network of a DGN or DLGN starts from: "fresh", a draw of its own,
            or "copied", the model's parameters and statistics, as for a trained model that is to be
            made readable (a hard DGN of it is the model, to the number). Default: "fresh", since
            all statements on kernels are about weights that are independent of the gates, which
            copies of an untrained model are not; a model that looks trained is warned of.
        weights_input: what the weights network reads: "data", or "ones" (the constant 1).
        gate_order: a permutation of 0 ... L - 1; layer l gets the gates of gating layer
            gate_order[l], which must have its shape.
        max_pool: "average" of the same window in the weights network, or "switch": the gating
            network's choice of position is replayed. Default: "switch" for "dnn" and "dgn",
            "average" for "dlgn" and "dlgn-sf". A DLGN's gating network averages either way.
        example_input: a batch for which shapes are checked now rather than at the first call;
            needed for "dlgn-sf" of a convolutional network, and for a model whose forward asks
            for shapes or types, as those of Hugging Face do: `torch.export` then follows it. A
            model of several inputs gets a tuple or dictionary of them; the network then takes
            them in this order.
        mode: "evaluation" takes the model as it is in evaluation mode, whatever else it does in
            training mode (stochastic depth, auxiliary outputs). Default: both modes must do the
            same, dropout and batch norm aside, which follow the mode.
        output: the name or number of the one output to take, of a model that gives several.
            Default: all of them; kernels, paths and contributions need one.
        multipliers: names of layers, `*` for any text, whose output is the multiplier of the
            product it goes into: for bilinear products, which are refused since nothing else says
            which of the two factors is the gate.
        initialise: called with a copy of the model (and with the layers of a "dlgn-sf" gating
            network) to draw all parameters anew, biases too; nothing of a "dgn" or "dlgn" with
            copied weights. Default: the modules' own `reset_parameters`.
        seed: for the freshly drawn parameters: the weights network's, and those of a "dlgn-sf"
            gating network, from different seeds derived from it. The model's own parameters are
            the caller's to seed. Default: from PyTorch's global random state.
        input_transform: what is done to inputs before the model sees them, such as the mean and
            standard deviation that it was trained with; the network then takes inputs as they are
            before it. Default: one at the model's front, `nn.Sequential(InputTransform(...), ...)`,
            or none.

    Returns:
        The gated network, in the model's mode, on its device, of its dtype.

    Raises:
        ConversionError: (and its subclasses) the model or an option cannot be used; the message
            names the operation, the source line and the repair.

    Source: arXiv 2110.03403, sections 2 and 3.

    >>> import torch
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> net = disentangle(model, kind="dlgn", seed=0)
    >>> net(torch.zeros(3, 4)).shape, [tuple(g.shape) for g in net.gates(torch.zeros(3, 4))]
    (torch.Size([3, 2]), [(3, 8)])
    """
    refuse_switch(kind, max_pool)
    model, example_input = plain_model(model, example_input)
    model, transform = without_front(model, input_transform)
    if transform is not None and isinstance(example_input, Tensor):
        example_input = transform(example_input)
    traced = trace(model, example_input, mode=mode, output=output, multipliers=multipliers)
    order = checked_order(gate_order, traced)
    if kind == "dnn":
        check_own_dual_form(gate, weights_input, order, max_pool, traced)
    switches = (max_pool or _DEFAULT_MAX_POOL[kind]) == "switch"
    twin = _twin(kind, weights, model, traced, initialise, seed)
    choice = _gate_choice(gate, kind)
    functions = _gate_functions(choice, traced)
    builder = WeightsGraphBuilder(
        traced,
        ones=weights_input == "ones",
        switches=switches,
        at_zero=[function.at_zero for function in functions],
    )
    example = None if example_input is None else Example.of(example_input)
    recipe = Recipe(
        model=type(model).__name__,
        architecture=architecture_of(model),
        gate=describe_gate(choice),
        max_pool="switch" if switches else "average",
        example_shape=None if example is None else example.shape,
        seed=seed,
        mode=mode,
        output=output,
        multipliers=tuple(multipliers),
        example_inputs=None if example is None else described(example),
        weights=weights if weights == "copied" else None,
    )
    return GatedNetwork(
        _gating_network(traced, kind, switches, initialise, seed),
        GraphNetwork(twin, builder.build(), class_name="WeightsNetwork"),
        functions,
        kind,
        weights_input,
        order,
        recipe,
        traced.squash,
        transform,
    )


def _twin(
    kind: Kind,
    weights: Weights | None,
    model: nn.Module,
    traced: TracedNetwork,
    initialise: Initialiser | None,
    seed: int | None,
) -> nn.Module:
    """The modules of the weights network.

    Raises:
        ConversionError: `weights` has no meaning beside the other options.
    """
    if kind == "dnn":
        if weights is not None:
            raise ConversionError(
                f"weights: expected none for kind='dnn', whose networks share the model's own, got "
                f"{weights!r}. Repair: leave it out, or kind='dgn' with gate='hard'"
            )
        return shared_modules(traced)
    if weights == "copied":
        if initialise is not None and kind != "dlgn-sf":
            raise ConversionError(
                "initialise: expected none beside weights='copied', which draws nothing, got "
                "one. Repair: leave one of them out"
            )
        return copied_modules(traced)
    twin = redrawn_modules(model, traced, initialise, seed)
    if weights is None and initialise is None:
        sign = sign_of_training(model, traced, twin)
        if sign is not None:
            warnings.warn(
                f"{type(model).__name__} looks trained ({sign}), and kind={kind!r} drops its "
                f"weights: the weights network is drawn afresh. weights='copied' starts from the "
                f"model's own; weights='fresh' says that the draw is meant",
                DroppedWeightsWarning,
                stacklevel=4,
            )
    return twin


def _gating_network(
    traced: TracedNetwork,
    kind: Kind,
    switches: bool,
    initialise: Initialiser | None,
    seed: int | None,
) -> fx.GraphModule:
    """The gating network of the kind; what its promises do not cover is refused or said."""
    if kind == "dlgn-sf":
        refuse_multipliers(traced)
        return shallow_gating_network(traced, initialise, derived_seed(seed, "gating"))
    graph = gating_graph(traced, linear=kind == "dlgn", switches=switches)
    gating = GraphNetwork(traced.module, graph, class_name="GatingNetwork")
    if kind == "dlgn" and traced.multipliers:
        say_what_is_affine(traced, gating)
    if kind == "dnn":
        refuse_split_batch_norm(traced, graph)
        warn_about_dropout(traced, graph)
    return gating


_DEFAULT_MAX_POOL: dict[Kind, MaxPooling] = {
    "dnn": "switch",
    "dgn": "switch",
    "dlgn": "average",
    "dlgn-sf": "average",
}


def _gate_choice(gate: Gate | GateChoice | None, kind: Kind) -> Gate | Literal["own"]:
    """The gate that all layers get, or "own"."""
    choice = ("own" if kind == "dnn" else "soft") if gate is None else gate
    if isinstance(choice, Gate) or choice == "own":
        return choice
    return HardGate() if choice == "hard" else SoftGate()


def _gate_functions(choice: Gate | Literal["own"], traced: TracedNetwork) -> list[Gate]:
    """One gate function per activation, in the order of the gating network's layers."""
    if not isinstance(choice, Gate):
        return [gate_of(node) for node in traced.activations]
    return [choice] * len(traced.activations)
