"""Explanations -> one self-contained HTML page, with a small script that shows one example a time.

The page carries its data as JSON (`page_data`) and its pictures as PNG inside it. Numbers that sum
to a logit are kept to the last bit, so that the page shows sums that are sums; all others are
rounded to six digits. Nothing is computed here but pictures.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dualview.explorer.explanations.budget import shrink_factor, shrunk
from dualview.explorer.explanations.network_records import PAIRED
from dualview.explorer.explanations.records import (
    ChannelRates,
    ExampleExplanation,
    Explanations,
    LayerFilters,
    LayerGates,
    LayerParts,
    Machine,
    MachineParts,
    OutputExplanation,
)
from dualview.explorer.images import SIDE, masks, photographs, signed
from dualview.explorer.network_data import boxes, network_data, plane_data, units_data
from dualview.explorer.paths import group_stops, of_any_size, path_stops, round_digits
from dualview.explorer.program_data import program_data
from dualview.pages.page import environment, write_html
from dualview.pages.style import css_variables

if TYPE_CHECKING:
    from dualview.path_attribution.groups import TopPathGroups
    from dualview.path_attribution.paths import Path as NetworkPath
    from dualview.path_attribution.paths import TopPaths

FILTER_BYTES = 1.2e6
"""Of all filters, a byte each before compression; larger ones are averaged down."""


@dataclass(frozen=True)
class PageFacts:
    """What the page says of the run beside its explanations.

    Attributes:
        title: of the page.
        standfirst: a line or two below it.
        facts: names and values: where everything comes from.
    """

    title: str
    standfirst: str
    facts: tuple[tuple[str, str], ...]


def write_explorer(found: Explanations, facts: PageFacts, path: Path) -> Path:
    """Write the page to `path`, whose folder is made; the file appears whole or not at all.

    Raises:
        MissingExtraError: jinja2 or Pillow is not installed.
    """
    return write_html(render_explorer(found, facts), path)


def render_explorer(found: Explanations, facts: PageFacts) -> str:
    """The page as HTML; the same explanations give the same text."""
    template = environment(explorer="dualview.explorer").get_template("explorer/page.html")
    return template.render(
        page=facts,
        found=found,
        has_filters=any(filters is not None for filters in found.filters),
        data=script_json(page_data(found)),
        exactness=exactness(found),
        css_variables=css_variables,
    )


def script_json(data: Any) -> str:
    r"""`data` as JSON that can stand in a `<script>` element.

    >>> script_json({"name": "</script>"})
    '{"name":"\\u003c/script>"}'
    """
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


# ------------------------------------------------------------------------------------- the words


def exactness(found: Explanations) -> tuple[str, ...]:
    """What is exact on the page, what is not, and in which units."""
    machine = "" if found.machine is None else "the kernel machine and "
    return (
        f"Gates are those of the network in evaluation mode: {found.gate}. With gates fixed, a "
        f"logit is a sum over paths, and its parts are in units of the logit. Everything but "
        f"{machine}how often channels are on is computed in float64 from the trained parameters.",
        f"Parts of a logit (layers, pixels and biases) sum to it: the largest deviation of any sum "
        f"on this page is {largest_deviation(found):.1g}.",
        f"How often a channel is on is counted on {found.n_rates:,} examples spread over the "
        f"{found.split} split, in convolutional layers over all positions too.",
        *_exact_paths(found),
        *_exact_filters(found),
        *_exact_network(found),
        *_exact_planes(found),
        *_exact_machine(found.machine, len(found.examples)),
        "Numbers are shown with three to five digits. Pictures are rounded to 256 steps, those in "
        "red and blue to 127; larger ones are averaged down. Filters of a layer share one colour "
        "scale; every map of pixels has its own.",
    )


def largest_deviation(found: Explanations) -> float:
    """How far the parts of any logit are from summing to it."""
    return max(
        abs(sum(parts) - output.total)
        for example in found.examples
        for output in example.outputs
        for parts in (  # of a difference, too
            (output.starts.from_input, output.starts.from_biases),
            *((layer.adding, layer.taking, layer.skips, layer.biases) for layer in output.layers),
        )
    )


def _exact_paths(found: Explanations) -> tuple[str, ...]:
    if all(o.from_anywhere is None for e in found.examples for o in e.outputs):
        return ()
    return (
        "The paths listed are exactly the strongest of all: they are found by dynamic programming "
        "over the layers, not by sampling. In a convolutional network a path has a position at "
        "every layer. A listed path is a tiny share of all, and paths cancel.",
        "A group is all paths from one channel of the image through the same channels, at any "
        "positions. Its sum is exact; groups cancel too, and all of them, with the paths from "
        "biases, are 100 % of the logit. Where the page says that the groups listed were found, "
        "not that they are the strongest, its bound says what any other could add.",
    )


def _exact_filters(found: Explanations) -> tuple[str, ...]:
    if all(filters is None for filters in found.filters):
        return ()
    taken = (
        ""
        if found.pixels.startswith("pixels")
        else ", each colour’s mean taken off and divided by its deviation"
    )
    return (
        "In a DLGN the pre-activation of a gate is q = filter · input + offset, exactly. The input "
        f"is the image in {found.pixels}{taken}. Filters of convolutional layers are composed "
        "kernels, exact away from the border. An image is |q| / |filter| away from switching a "
        f"gate, in {found.pixels}: so far it would have to move, as the square root of the sum of "
        "all pixels’ squared changes, straight towards the gate’s hyperplane. Norms are exact at "
        "the border too.",
    )


def _exact_network(found: Explanations) -> tuple[str, ...]:
    if (view := found.network) is None:
        return ()
    sentences = [
        f"What units add to classes, and the confusions, are means and counts over "
        f"{view.n_examples:,} examples spread over the {found.split} split, in float32, rounded to "
        f"a thousandth of the layer’s largest. What units of successive layers add together is the "
        f"mean over up to {PAIRED} of them. The examples that open or close a unit are the extreme "
        f"ones of this page."
    ]
    if any(view.readings):
        sentences.append(
            "What a filter’s largest pixels explain is the squared correlation of q with their own "
            "part of it; the largest are a tenth of all, by |weight| times the pixel’s deviation."
        )
    if view.places is not None:
        sentences.append(
            "The map shows the two largest principal components of the neural path kernel of the "
            "examples on this page; near are those whose pixels and gates are alike."
        )
    return tuple(sentences)


def _exact_planes(found: Explanations) -> tuple[str, ...]:
    if not found.planes:
        return ()
    return (
        "On the plane through three images every gate’s line, and every border between two "
        "decisions, is computed exactly, with hard gates: 1 where q > 0. Only its picture is of "
        "pixels. Most of the plane is no image that the network has seen the like of.",
    )


def _exact_machine(machine: Machine | None, examples: int) -> tuple[str, ...]:
    if machine is None:
        return ()
    compared = (
        ""
        if examples == 1
        else f": of the examples here it classifies {machine.accuracy:.0%} rightly, the network "
        f"{machine.network_accuracy:.0%}, and both agree on {machine.agreement:.0%}"
    )
    gates = "the network’s own gates" if machine.gates == "model" else "hard gates, 1 where q > 0"
    return (
        f"The kernel machine is ridge regression (ridge {machine.ridge:.3g}, chosen by exact "
        f"leave-one-out) on the neural path kernel of {gates}, with {len(machine.rows):,} examples "
        f"spread over the train split. Its parts sum to its own score, exactly. It is not the "
        f"network{compared}.",
    )


# -------------------------------------------------------------------------------------- the data


def page_data(found: Explanations) -> dict[str, Any]:
    """Everything that the page's script reads."""
    used = sorted({t.index for e in found.examples for o in e.outputs for t in _listed(o.machine)})
    factor = _factor(found.filters)
    return {
        "split": found.split,
        "classes": list(found.class_names),
        "input": list(found.input_shape),
        "layers": [
            {
                "name": layer.name.replace("_", " "),
                "module": layer.module,
                "shape": list(layer.shape),
                "filters": filters,
                "rates": rates,
                "units": units,
            }
            for layer, filters, rates, units in zip(
                found.layers,
                [None if f is None else _layer_filters(f, factor) for f in found.filters],
                map(_rates, found.rates),
                units_data(found.network, len(found.layers), factor),
                strict=True,
            )
        ],
        "n_rates": found.n_rates,
        "pixels": found.pixels,
        "boxes": boxes(found.layers),
        "network": network_data(found.network),
        "program": program_data(found.program),
        "no_program": found.why_no_program,
        "planes": [plane_data(plane) for plane in found.planes],
        "no_planes": found.why_no_planes,
        "images": asdict(photographs(np.stack([e.image for e in found.examples]))),
        "machine": _machine(found.machine, used),
        "examples": [_example(example, used) for example in found.examples],
    }


def _listed(parts: MachineParts | None) -> tuple[Any, ...]:
    return (*parts.strongest_for, *parts.strongest_against) if parts else ()


def _example(example: ExampleExplanation, thumbs: Sequence[int]) -> dict[str, Any]:
    scores = example.machine_scores
    return {
        "row": example.row,
        "label": example.label,
        "logits": _rounded(example.logits),
        "scores": [None if math.isnan(s) else round_digits(s) for s in scores.tolist()],
        "gates": _gates(example.gates),
        "outputs": [_output(output, example.outputs, thumbs) for output in example.outputs],
    }


def _output(
    output: OutputExplanation, outputs: Sequence[OutputExplanation], thumbs: Sequence[int]
) -> dict[str, Any]:
    starts = output.starts
    heat = starts.coordinates
    heat = heat.reshape(-1, *heat.shape[-2:]) if heat.ndim > 1 else heat[None, None]
    return {
        "output": output.output,
        "against": output.against,
        "total": output.total,
        "starts": {
            "heat": asdict(signed(heat.sum(0)[None, None])),
            "input": starts.from_input,
            "biases": starts.from_biases,
        },
        "layers": [_layer(layer) for layer in output.layers],
        "paths": {
            "input": _paths(output.from_input, [o.from_input for o in outputs], len(output.layers)),
            "anywhere": _paths(
                output.from_anywhere, [o.from_anywhere for o in outputs], len(output.layers)
            ),
        },
        "groups": _groups(output.groups, len(output.layers)),
        "machine": _machine_parts(output.machine, thumbs),
    }


def _gates(layers: Sequence[LayerGates]) -> dict[str, Any]:
    """Gate maps of all layers, those of one size in one sprite: the mean, then the channels'."""
    sheets: dict[tuple[int, ...], list[np.ndarray]] = {}
    places = []
    for gates in layers:
        size = gates.mean.shape
        sheet = sheets.setdefault(size, [])
        places.append([list(sheets).index(size), len(sheet)])
        sheet.extend([gates.mean, *gates.maps])
    return {
        "on": _rounded(gates.on for gates in layers),
        "nearest": [_finite(gates.nearest) for gates in layers],
        "places": places,
        "sheets": [asdict(masks(np.stack(sheet))) for sheet in sheets.values()],
    }


def _layer(parts: LayerParts) -> list[Any]:
    """What a layer adds: its four sums, then a row for each channel shown."""
    channels = [
        [
            channel.channel,
            round_digits(channel.part),
            list(channel.place),
            round_digits(channel.gate),
            round_digits(channel.preactivation),
            channel.is_interior,
            _finite(channel.distance),
        ]
        for channel in parts.channels
    ]
    return [parts.adding, parts.taking, parts.skips, parts.biases, channels]


def _paths(
    top: TopPaths | None, others: Sequence[TopPaths | None], n_layers: int
) -> dict[str, Any] | None:
    """Paths in full; those of a difference, which the lists before it have, by place there."""
    if top is None or (top.against is not None and None in others[:2]):
        return None
    return {
        "total": round_digits(top.total),
        "magnitude": of_any_size(top.magnitude),
        "count": of_any_size(top.n_paths),
        "share": None if math.isnan(share := top.share_of_magnitude) else round_digits(share),
        "list": [_path(path, n_layers) for path in top.paths]
        if top.against is None
        else _places(top, others),
    }


def _groups(top: TopPathGroups | None, n_layers: int) -> dict[str, Any] | None:
    if top is None or not top.groups:
        return None
    return {
        "list": [
            [round_digits(group.contribution), group_stops(group, n_layers)] for group in top.groups
        ],
        "starts": asdict(signed(np.stack([group.starts for group in top.groups])[:, None])),
        "sum": round_digits(top.sum),
        "others": _finite(top.others_at_most),
        "proven": top.is_proven,
    }


def _path(path: NetworkPath, n_layers: int) -> dict[str, Any]:
    return {
        "part": of_any_size(path.contribution),
        "constants": of_any_size(path.coefficient),
        "stops": path_stops(path, n_layers),
    }


def _places(top: TopPaths, others: Sequence[TopPaths | None]) -> list[list[int]]:
    """Of a difference's paths: which of the two outputs each leads to, and its place there."""
    place = {
        path.nodes: [number, rank]
        for number, other in enumerate(others[:2])
        if other is not None
        for rank, path in enumerate(other.paths)
    }
    return [place[path.nodes] for path in top.paths]


def _machine(machine: Machine | None, used: Sequence[int]) -> dict[str, Any] | None:
    if machine is None:
        return None
    return {
        "n": len(machine.rows),
        "gates": machine.gates,
        "ridge": round_digits(machine.ridge),
        "agreement": round_digits(machine.agreement),
        "accuracy": round_digits(machine.accuracy),
        "network": round_digits(machine.network_accuracy),
        "images": asdict(photographs(machine.images[list(used)])) if used else None,
        "rows": [machine.rows[i] for i in used],
        "labels": [machine.labels[i] for i in used],
    }


def _machine_parts(parts: MachineParts | None, thumbs: Sequence[int]) -> dict[str, Any] | None:
    if parts is None:
        return None
    place = {index: number for number, index in enumerate(thumbs)}

    def rows(examples: Sequence[Any]) -> list[list[float]]:
        return [[place[e.index], e.part, round_digits(e.kernel)] for e in examples]

    return {
        "score": parts.score,
        "offset": parts.offset,
        "for": parts.speak_for,
        "against": parts.speak_against,
        "strongest": [rows(parts.strongest_for), rows(parts.strongest_against)],
    }


def _factor(filters: Sequence[LayerFilters | None]) -> int:
    """How many pixels become one in every filter, both ways, to stay within `FILTER_BYTES`."""
    factor = 1
    while sum(_pixels(f, factor) for f in filters if f is not None) > FILTER_BYTES:
        factor += 1
    return factor


def _pixels(filters: LayerFilters, factor: int) -> int:
    n, channels, rows, columns = filters.images.shape
    return n * channels * math.ceil(rows / factor) * math.ceil(columns / factor)


def _layer_filters(filters: LayerFilters, factor: int) -> dict[str, Any]:
    rows, columns = filters.images.shape[2:]
    factor = max(factor, shrink_factor((rows, columns), SIDE))
    return {
        "kind": filters.kind,
        "channels": list(filters.channels),
        "images": asdict(signed(shrunk(filters.images, factor), shared=True)),
        "largest": [round_digits(v) for v in np.abs(filters.images).max(axis=(1, 2, 3)).tolist()],
        "offsets": _rounded(filters.offsets),
        "size": [rows, columns],
        "drawn": factor,
        "place": list(filters.place),
        "stride": list(filters.stride),
        "first": list(filters.first),
    }


def _rates(rates: ChannelRates) -> dict[str, Any]:
    """Shares as whole percentages; None for a class without an example."""
    return {
        "channels": list(rates.channels),
        "percent": [
            [None if math.isnan(share) else round(100 * share) for share in shares]
            for shares in rates.by_class.tolist()
        ],
    }


def _finite(value: float | None) -> float | None:
    """A rounded number; None for none, or an infinite one, which JSON lacks."""
    return None if value is None or not math.isfinite(value) else round_digits(value)


def _rounded(values: Any) -> list[float]:
    return [round_digits(float(value)) for value in values]
