"""Explanations of some examples of a data set by one network."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from dualview.conversion.examples import check_takes
from dualview.conversion.gated_network import GatedNetwork
from dualview.datasets import Dataset, Split
from dualview.errors import DataError, UnsupportedOperationError
from dualview.explorer.explanations import training_examples as training
from dualview.explorer.explanations.budget import Budget, budget_of
from dualview.explorer.explanations.distances import norms_by_layer
from dualview.explorer.explanations.filters import (
    channels_shown,
    filters_by_layer,
    interior_of,
    layer_filters,
)
from dualview.explorer.explanations.gates import gate_text, gate_values, layer_views, layers_of
from dualview.explorer.explanations.inputs import inputs
from dualview.explorer.explanations.network_records import NetworkView
from dualview.explorer.explanations.network_view import (
    confusion_of,
    layer_units,
    map_of,
    readings_of,
    sums_of,
    with_speakers,
)
from dualview.explorer.explanations.paths import OutputPaths, strongest_paths, without_biases
from dualview.explorer.explanations.planes import MOST_PLANES, planes_of
from dualview.explorer.explanations.programs import program_of
from dualview.explorer.explanations.rates import channel_rates, rates_of
from dualview.explorer.explanations.records import (
    ExampleExplanation,
    Explanations,
    LayerFilters,
    Machine,
    OutputExplanation,
)
from dualview.explorer.explanations.unit_parts import ClassSums
from dualview.path_attribution.contributions import InputContributions, input_contributions
from dualview.path_kernel.examples import Gates
from dualview.progress import Progress, Unseen

if TYPE_CHECKING:
    from dualview.path_kernel.attribution import KernelAttribution


PIXELS, STANDARDISED = "pixels from 0 to 1", "standardised pixels"
"""What filters read and distances are measured in."""


def explain(
    net: GatedNetwork,
    data: Dataset,
    rows: Sequence[int],
    *,
    split: str = "test",
    n_train: int | None = None,
    machine_gates: Gates | None = None,
    planes: int = MOST_PLANES,
    watcher: Progress | None = None,
) -> Explanations:
    """What predictions are made of: gates, filters, paths, layers and training examples.

    Of each example are explained: the logit of the predicted class, that of the true one where the
    prediction is wrong, else of the runner-up, and the difference of the two, which decides.

    Args:
        net: a gated network that takes the data's images: as they are if it carries its input
            transform, else standardised by the data's statistics.
        data: where the examples are from, and the kernel machine's training examples.
        rows: of the examples in the split.
        split: "train", "validation" or "test".
        n_train: training examples of the kernel machine, spread over the train split; 0: no
            machine. Default: 1,000 for dense networks and 200 for others, and no machine where that
            should take more than ten minutes.
        machine_gates: "model" or "hard". Default: "model" for dense networks, else "hard".
        planes: most examples through which a plane is drawn.
        watcher: told how it goes.

    Raises:
        DataError: no rows, or a row that the split does not have.

    >>> from dualview.datasets import load
    >>> from dualview.experiments.networks import build_network
    >>> from dualview.experiments.settings import ComparisonSettings
    >>> data = load("digits")
    >>> net = build_network(ComparisonSettings(width=8), "dlgn", seed=0, data=data)
    >>> found = explain(net, data, rows=[17], n_train=20, planes=0)
    >>> why = found.examples[0].outputs[0]
    >>> [abs(p.through + p.skips + p.biases - why.total) < 1e-12 for p in why.layers]
    [True, True, True, True, True]
    """
    part: Split = getattr(data, split)
    _check_rows(rows, len(part), split)
    x = inputs(net, data, part, rows)  # (n, c, h, w) float32, as in training
    exact = copy.deepcopy(net).cpu().double().eval()
    _check_outputs(exact, x[:1].double())
    asked = _Asked(net, exact, data, split, tuple(rows), x, watcher or Unseen())
    found, seen = _examined(asked)
    found = _with_planes(found, asked, planes)
    is_dense = all(layer.is_dense for layer in found.layers)
    plan = training.machine_plan(is_dense, n_train, machine_gates, len(data.train))
    found = _rated(found, seen, asked)
    if seen.sums is not None:
        found = _viewed(found, seen, seen.sums, asked, plan.gates)
    machine, parts, why_no_machine = training.fit(net, data, x, plan, asked.watcher.note)
    examples = found.examples
    if machine is not None:
        pairs = zip(examples, parts, strict=True)
        examples = tuple(_joined(example, one, data.n_classes) for example, one in pairs)
    notes = tuple(filter(None, (*found.notes, why_no_machine)))
    return replace(found, examples=examples, machine=_compared(machine, examples), notes=notes)


@dataclass(frozen=True, eq=False)
class _Asked:
    """What is explained, and who hears of it.

    Attributes:
        net: as it was given.
        exact: the same in float64 on the CPU.
        data: where the examples are from.
        split: its name.
        rows: of the examples.
        x: the examples (n, c, h, w) as `net` is called on them.
        watcher: told how it goes.
    """

    net: GatedNetwork
    exact: GatedNetwork
    data: Dataset
    split: str
    rows: tuple[int, ...]
    x: Tensor
    watcher: Progress

    @property
    def part(self) -> Split:
        """The split itself."""
        return getattr(self.data, self.split)


@dataclass(frozen=True, eq=False)
class _Seen:
    """What examining examples leaves for what is said of many of them.

    Attributes:
        channels: of each layer, those that the page shows.
        peaks: of each layer, q of every example and channel, the largest over positions.
        interiors: of each layer, the positions free of the border.
        sums: what units add to classes; None on a page of one example.
    """

    channels: tuple[tuple[int, ...], ...]
    peaks: tuple[np.ndarray, ...]
    interiors: Sequence[tuple[range, ...]]
    sums: ClassSums | None


def _viewed(
    found: Explanations, seen: _Seen, sums: ClassSums, asked: _Asked, gates: Gates
) -> Explanations:
    """The explanations with what the network does over many examples."""
    exact, data, part = asked.exact, asked.data, asked.part
    asked.watcher.note("units, classes and a map of the examples")
    places, spread, why_no_map = map_of(copy.deepcopy(exact).float(), asked.x, gates)
    view = NetworkView(
        n_examples=len(sums.rows),
        confusion=confusion_of(sums, data.n_classes),
        classes=sums.classes,
        counts=tuple(int((sums.labels == label).sum()) for label in sums.classes),
        logits=sums.logits,
        layers=layer_units(exact, data, part, seen.channels, sums, seen.peaks),
        readings=readings_of(exact, data, part, found.filters, seen.interiors),
        places=places,
        spread=spread,
    )
    return replace(found, network=view, notes=(*found.notes, why_no_map))


def _with_planes(found: Explanations, asked: _Asked, most: int) -> Explanations:
    """The explanations with planes through some of the examples and training images."""
    if not most:
        return replace(found, why_no_planes="none was asked for")
    n_gates = sum(math.prod(layer.shape) for layer in found.layers)
    planes, why = planes_of(
        asked.exact, asked.data, asked.x, found.examples, n_gates, most, asked.watcher
    )
    return replace(found, planes=planes, why_no_planes=why)


def _rated(found: Explanations, seen: _Seen, asked: _Asked) -> Explanations:
    """The explanations with how often the gates of the channels they show are on."""
    net, data = asked.net, asked.data
    asked.watcher.note(f"how often gates are on, by class, of the {asked.split} split")
    rates = rates_of(net, data, asked.part)
    shown = tuple(
        channel_rates(rates, source, channels, data.n_classes)
        for channels, source in zip(seen.channels, net.gate_order, strict=True)
    )
    return replace(found, rates=shown, n_rates=int(rates.counts.sum()))


def _examined(asked: _Asked) -> tuple[Explanations, _Seen]:
    """Layers, filters and examples, without what is counted over the split."""
    net, exact, data, part = asked.net, asked.exact, asked.data, asked.part
    over = asked.watcher.over
    layers = layers_of(exact, asked.x[:1].double())
    found, why_none = filters_by_layer(exact, data.input_shape)
    interiors = [interior_of(one) for one in found] or [()] * len(layers)
    norms, why_no_distances = norms_by_layer(over(found, "norms of filters"))
    explainer = _Explainer(
        exact,
        without_biases(exact),
        budget_of(layers, len(asked.rows)),
        interiors,
        norms or [None] * len(layers),
    )
    examples = [
        explainer.explain(row, image.double(), part)
        for row, image in over(list(zip(asked.rows, asked.x.split(1), strict=True)), "predictions")
    ]
    seen = _seen(asked, examples, explainer)
    filters: list[LayerFilters | None] = [
        layer_filters(one, seen.channels[layer])
        for layer, one in enumerate(over(found, "filters shown"))
    ]
    program, why_no_program = program_of(net, data, examples)
    explanations = Explanations(
        kind=net.kind + ("-ones" if net.weights_input == "ones" else ""),
        gate=gate_text(net),
        data=data.description,
        split=asked.split,
        n_split=len(part),
        class_names=data.class_names,
        input_shape=data.input_shape,
        layers=layers,
        filters=tuple(filters or [None] * len(layers)),
        examples=tuple(examples),
        notes=(why_none, why_no_distances, explainer.why_no_paths),
        program=program,
        why_no_program=why_no_program,
        pixels=PIXELS if net.input_transform is not None else STANDARDISED,
    )
    return explanations, seen


def _seen(asked: _Asked, examples: Sequence[ExampleExplanation], explainer: _Explainer) -> _Seen:
    """The channels to show, and of many examples what they add to classes."""
    n_layers = len(explainer.interiors)
    shown = [channels_shown(examples, layer) for layer in range(n_layers)]
    sums = None
    if len(examples) > 1:
        asked.watcher.note("what units add to each class")
        sums = sums_of(asked.net, asked.data, asked.part, examples)
        shown = [
            with_speakers(own, parts, n_layers)
            for own, parts in zip(shown, sums.parts, strict=True)
        ]
    peaks = tuple(np.stack(layer) for layer in zip(*explainer.peaks, strict=True))
    return _Seen(tuple(shown), peaks, explainer.interiors, sums)


def _check_rows(rows: Sequence[int], size: int, split: str) -> None:
    if not rows:
        raise DataError("rows: expected at least one example, got none")
    wrong = [row for row in rows if not 0 <= row < size]
    if wrong:
        raise DataError(
            f"index: expected whole numbers from 0 to {size - 1}, the {split} split has {size:,} "
            f"examples, got {wrong[0]}"
        )


def _check_outputs(net: GatedNetwork, x: Tensor) -> None:
    check_takes(net, "net", x, DataError)
    with torch.no_grad():
        out = net(x)
    if not isinstance(out, Tensor) or out.dim() != 2:
        got = f"shape {tuple(out.shape)}" if isinstance(out, Tensor) else type(out).__name__
        raise DataError(
            f"net: expected logits (n, classes) for the data's images {tuple(x.shape[1:])}, got "
            f"{got}. Repair: a network for these images; dense layers want an nn.Flatten() first"
        )


@dataclass
class _Explainer:
    """Explains one example after the other."""

    net: GatedNetwork
    bare: GatedNetwork
    budget: Budget
    interiors: Sequence[tuple[range, ...]]
    norms: Sequence[np.ndarray | None]
    why_no_paths: str = ""
    peaks: list[list[np.ndarray]] = field(default_factory=list)

    def explain(self, row: int, x: Tensor, part: Split) -> ExampleExplanation:
        """One example (1, ...), without the kernel machine's part."""
        label = int(part.labels[row])
        with torch.no_grad():
            logits = self.net(x)[0].numpy()
        outputs = outputs_to_explain(logits, label)
        values = gate_values(self.net, x)
        self.peaks.append([q.reshape(len(q), -1).max(1) for q in values.preactivations])
        gates, layers = layer_views(
            self.net, x, outputs, values, self.budget, self.interiors, self.norms
        )
        del values  # of all layers
        targets: list[tuple[int, int | None]] = [(output, None) for output in outputs]
        if len(outputs) > 1:
            targets.append((outputs[0], outputs[1]))
        starts = [
            input_contributions(self.net, x, output, against=against) for output, against in targets
        ]
        paths = self._paths(x, starts)
        explained = [
            OutputExplanation(
                output=start.output,
                against=start.against,
                total=start.total,
                starts=start,
                layers=parts,
                from_input=found.from_input,
                from_anywhere=found.from_anywhere,
                groups=found.groups,
            )
            for start, parts, found in zip(starts, layers, paths, strict=True)
        ]
        image = part.images[row].numpy()
        return ExampleExplanation(row, label, image, logits, gates, tuple(explained), np.empty(0))

    def _paths(self, x: Tensor, starts: Sequence[InputContributions]) -> Sequence[OutputPaths]:
        try:
            return strongest_paths(self.net, self.bare, x, starts, self.budget)
        except UnsupportedOperationError as error:
            self.why_no_paths = f"There are no paths: {error}."
            return [OutputPaths()] * len(starts)


def outputs_to_explain(logits: np.ndarray, label: int) -> tuple[int, ...]:
    """The predicted class, and the one to compare it with; of one class, that one.

    >>> outputs_to_explain(np.array([0.1, 3.0, 2.0]), 0), outputs_to_explain(np.array([1, 2]), 1)
    ((1, 0), (1, 0))
    """
    first, *others = np.argsort(-logits, kind="stable").tolist()
    return (first, *(others[:1] if label == first else [label]))


def _joined(
    example: ExampleExplanation, found: KernelAttribution, n_classes: int
) -> ExampleExplanation:
    """The example with what the kernel machine says of it."""
    outputs = tuple(
        replace(output, machine=training.machine_parts(found, output.output, output.against))
        for output in example.outputs
    )
    scores = training.all_scores(found, n_classes)
    return replace(example, outputs=outputs, machine_scores=scores)


def _compared(machine: Machine | None, examples: Sequence[ExampleExplanation]) -> Machine | None:
    """The machine with how far it agrees, on the examples, with the network and the truth."""
    if machine is None:
        return None
    by_machine = np.array([np.nanargmax(example.machine_scores) for example in examples])
    by_network = np.array([example.predicted for example in examples])
    truth = np.array([example.label for example in examples])
    return replace(
        machine,
        agreement=float((by_machine == by_network).mean()),
        accuracy=float((by_machine == truth).mean()),
        network_accuracy=float((by_network == truth).mean()),
    )
