"""Explanations of some examples, as frozen records. No torch, no HTML.

Axes: images are (channels, rows, columns); maps are (rows, columns), row 0 on top. A *channel* is a
channel of a convolutional layer or a unit of a dense one. Layers are the gated layers, in order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from dualview.explorer.explanations.network_records import NetworkView, Plane, Program
    from dualview.path_attribution.contributions import InputContributions
    from dualview.path_attribution.groups import TopPathGroups
    from dualview.path_attribution.paths import TopPaths
    from dualview.path_kernel.attribution import TrainingExample


@dataclass(frozen=True)
class Layer:
    """A gated layer.

    Attributes:
        name: "gate_1" for the first.
        shape: of its gates: (units,) or (channels, positions...).
        module: what its gates multiply, by type and name in the user's model: "Linear 3"; "" where
            there is no such layer.
    """

    name: str
    shape: tuple[int, ...]
    module: str = ""

    @property
    def is_dense(self) -> bool:
        """Whether it has units and no positions."""
        return len(self.shape) == 1


@dataclass(frozen=True, eq=False)
class LayerFilters:
    """Primal filters of some channels of a layer.

    Attributes:
        kind: "kernel": a channel's composed kernel, exact at every position away from the border;
            "place": the filter of the channel's gate at `place`, over the whole input; "input": a
            unit's filter over the whole input.
        channels: whose filters they are.
        images: (n, input channels, rows, columns).
        offsets: c of each channel, at `place` or anywhere away from the border.
        place: position of the gates, for "place".
        stride: of the kernels over the input, for each position axis; () where unknown.
        first: input position of the kernel's first entry for the gate at position 0.
    """

    kind: str
    channels: tuple[int, ...]
    images: np.ndarray
    offsets: tuple[float, ...]
    place: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    first: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class LayerGates:
    """The gates of one layer for one example.

    Attributes:
        on: share of the layer's gates whose pre-activation is positive.
        shown: the channels that matter most to the outputs explained, the first most.
        mean: (rows, columns): mean over channels at every position; (1, units) of a dense layer:
            the gates themselves. Reduced to a smaller map where that keeps a page small.
        maps: (shown, rows, columns): the gates of the channels shown; (0, ...) of a dense layer.
        nearest: distance of the example to the nearest hyperplane of any of the layer's gates, in
            units of `Explanations.pixels`; None where it is not known.
    """

    on: float
    shown: tuple[int, ...]
    mean: np.ndarray
    maps: np.ndarray
    nearest: float | None = None


@dataclass(frozen=True, eq=False)
class ChannelRates:
    """How often some channels of a layer are on.

    Attributes:
        channels: whose rates they are.
        by_class: (n, classes): the share of the class's examples, and of the channel's positions,
            at which the gate is on; NaN for a class without an example.
    """

    channels: tuple[int, ...]
    by_class: np.ndarray


@dataclass(frozen=True)
class ChannelPart:
    """What one channel adds to one output.

    Attributes:
        channel: which.
        part: the sum over all paths through the channel, at any position.
        place: the position that adds most by absolute value; () in a dense layer.
        gate: there.
        preactivation: there: q of the gate.
        is_interior: whether the gate there sees its channel's kernel, free of the border.
        distance: there: of the example to the gate's hyperplane, q / |filter|, in units of
            `Explanations.pixels`, positive where the gate is on; None where it is not known.
    """

    channel: int
    part: float
    place: tuple[int, ...]
    gate: float
    preactivation: float
    is_interior: bool = True
    distance: float | None = None


@dataclass(frozen=True)
class LayerParts:
    """One output as a sum over one layer's channels, and what bypasses them.

    `adding + taking + skips + biases` is the output, to rounding.

    Attributes:
        adding: the sum over paths through the units that add to the output.
        taking: the sum over paths through those that take from it, negative.
        skips: the sum over paths from the input that bypass the layer.
        biases: the sum over paths from biases that bypass it.
        channels: those shown, in the order of `LayerGates.shown`.
    """

    adding: float
    taking: float
    skips: float
    biases: float
    channels: tuple[ChannelPart, ...]

    @property
    def through(self) -> float:
        """The sum over all paths through the layer's units."""
        return self.adding + self.taking


@dataclass(frozen=True)
class MachineParts:
    """The kernel machine's score of one class as a sum over training examples.

    `offset + speak_for + speak_against` is the score, to rounding.

    Attributes:
        score: of the class.
        offset: the part of no example.
        speak_for: the sum of all positive parts.
        speak_against: the sum of all negative parts.
        strongest_for: the largest positive parts.
        strongest_against: the largest negative ones.
    """

    score: float
    offset: float
    speak_for: float
    speak_against: float
    strongest_for: tuple[TrainingExample, ...]
    strongest_against: tuple[TrainingExample, ...]


@dataclass(frozen=True, eq=False)
class OutputExplanation:
    """Why one output of one example has the value it has, or its lead over another one.

    Attributes:
        output: the class.
        total: the logit, or the difference of two.
        starts: the sum over paths by where they begin.
        layers: for each gated layer.
        from_input: the strongest of the paths that begin at the input; None where paths cannot be
            followed.
        from_anywhere: the strongest of all paths, those that begin at biases included.
        machine: the kernel machine's score; None where there is none.
        against: the class whose logit is subtracted, if any: all parts are then of the difference.
    """

    output: int
    total: float
    starts: InputContributions
    layers: tuple[LayerParts, ...]
    from_input: TopPaths | None
    from_anywhere: TopPaths | None
    machine: MachineParts | None = None
    against: int | None = None
    groups: TopPathGroups | None = None


@dataclass(frozen=True, eq=False)
class ExampleExplanation:
    """One example.

    Attributes:
        row: its number in the split.
        label: its class.
        image: as the data has it.
        logits: of all classes.
        gates: for each gated layer.
        outputs: the predicted class, then the one to compare it with: the true class where the
            prediction is wrong, else the runner-up; then the first minus the second, which decides.
        machine_scores: the kernel machine's scores; empty where there is none.
    """

    row: int
    label: int
    image: np.ndarray
    logits: np.ndarray
    gates: tuple[LayerGates, ...]
    outputs: tuple[OutputExplanation, ...]
    machine_scores: np.ndarray

    @property
    def predicted(self) -> int:
        """The class with the largest logit."""
        return int(self.logits.argmax())


@dataclass(frozen=True, eq=False)
class Machine:
    """The kernel machine, and how far it can be trusted to speak for the network.

    Attributes:
        rows: of its training examples in the train split.
        labels: their classes.
        images: (n, channels, rows, columns), as the data has them.
        gates: "model" or "hard".
        ridge: the penalty, relative to the mean of the Gram matrix's diagonal.
        agreement: share of the examples explained that it classifies as the network does.
        accuracy: share of them that it classifies rightly.
        network_accuracy: the same of the network.

    The last three are NaN until the machine is compared with the network.
    """

    rows: tuple[int, ...]
    labels: tuple[int, ...]
    images: np.ndarray
    gates: str
    ridge: float
    agreement: float = math.nan
    accuracy: float = math.nan
    network_accuracy: float = math.nan


@dataclass(frozen=True, eq=False)
class Explanations:
    """Some examples of one network, and what they share.

    Attributes:
        kind: of network, with "-ones" for a weights network that reads the constant 1.
        gate: the function that makes gates of pre-activations q, in words.
        data: how reports name it.
        split: that the examples are from.
        n_split: its size.
        class_names: name of each class.
        input_shape: (channels, rows, columns).
        layers: the gated layers.
        filters: of each layer; None where it has none.
        examples: explained.
        machine: the kernel machine; None where there is none.
        rates: for each layer, how often the channels that are shown are on.
        n_rates: examples of the split that rates are counted on.
        notes: what is missing, and why, a sentence each.
        pixels: what filters read and distances are measured in, in words.
        network: what it does over many examples; None on a page of one.
        program: the network as steps that the page can compute; None where there is none.
        why_no_program: why, in a sentence.
        planes: through some examples and two training images each.
        why_no_planes: why there is none, as a part of a sentence.
    """

    kind: str
    gate: str
    data: str
    split: str
    n_split: int
    class_names: tuple[str, ...]
    input_shape: tuple[int, int, int]
    layers: tuple[Layer, ...]
    filters: tuple[LayerFilters | None, ...]
    examples: tuple[ExampleExplanation, ...]
    machine: Machine | None = None
    rates: tuple[ChannelRates, ...] = ()
    n_rates: int = 0
    notes: tuple[str, ...] = ()
    pixels: str = "standardised pixels"
    network: NetworkView | None = None
    program: Program | None = None
    why_no_program: str = ""
    planes: tuple[Plane, ...] = ()
    why_no_planes: str = ""
