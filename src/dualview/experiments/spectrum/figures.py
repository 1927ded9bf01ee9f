"""Figures of the experiment `spectrum`: functions by frequency, images by band, filter spectra."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from dualview.experiments.records import RunRecord
from dualview.experiments.spectrum.scores import (
    BAND_NAMES,
    COMPARED_KINDS,
    explained,
    kinds_of,
    of_dimension,
    of_images,
)
from dualview.experiments.summary import kind_name
from dualview.pages.axes import (
    fixed_ticks,
    kind_line,
    label_ends,
    panel,
    panel_heading,
    plain_log_ticks,
)
from dualview.pages.style import LIGHT, house_style, kind_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HEIGHT = 3.4
BOTTOM, TOP = 0.54, 0.46

_COURSE = (
    "R² on unseen points over the epochs (logarithmic), means over seeds, a line for each number "
    "of periods k; all networks of the same width, depth and rate."
)
_FILTERS = (
    "DLGN on images, {}. Squared gain of each gated layer’s composed filter by radius, each line "
    "divided by its mean; dotted: before training, solid: after. Means over seeds."
)
CAPTIONS: Mapping[str, str] = {
    **{
        f"functions-{d}d": f"{d}-D functions. R² on unseen points after the last epoch, by the "
        "number of periods k. Lines are means over seeds, single markers seeds."
        for d in (1, 2)
    },
    **{
        f"functions-{d}d-{kind}": f"{d}-D functions, {kind_name(kind)}. {_COURSE}"
        for d in (1, 2)
        for kind in COMPARED_KINDS
    },
    "image-bands": "Test accuracy on the images as they are, on their low and on their high "
    "frequencies. A marker is one seed, a bar their mean.",
    **{f"filters-{band}": _FILTERS.format(name) for band, name in BAND_NAMES.items()},
}


def figures(records: Sequence[RunRecord]) -> Mapping[str, Figure]:
    """Name -> figure, for the parts that were run; runs that diverged are left out."""
    finished = [record for record in records if record.status == "finished"]
    found = {}
    for dimension in (1, 2):
        runs = of_dimension(finished, dimension)
        if runs:
            found[f"functions-{dimension}d"] = by_frequency(runs)
        for kind in kinds_of(runs):
            own = [run for run in runs if run.kind == kind]
            found[f"functions-{dimension}d-{kind}"] = over_epochs(own)
    images = of_images(finished)
    if images:
        found["image-bands"] = by_band(images)
    for band in BAND_NAMES:
        own = [r for r in images if r.measurements["band"] == band and "spectra" in r.measurements]
        if own:
            found[f"filters-{band}"] = filter_spectra_figure(own)
    return found


def by_frequency(runs: Sequence[RunRecord]) -> Figure:
    """R2 after the last epoch against frequency, a line for each kind."""
    frequencies = runs[0].measurements["frequencies"]
    with house_style():
        figure, axes = panel(5.2, HEIGHT, left=0.56, right=0.3, bottom=BOTTOM, top=TOP)
        axes.set_xscale("log", base=2)
        for kind in kinds_of(runs):
            _draw_kind(axes, kind, frequencies, [run for run in runs if run.kind == kind])
        fixed_ticks(axes.xaxis, frequencies)
        axes.grid(axis="x", visible=False)
        axes.set_xlabel("periods on the unit interval, k", color=LIGHT["muted"])
        panel_heading(axes, f"R² of {runs[0].data}")
        axes.legend(frameon=False, fontsize="small")
    return figure


def _draw_kind(
    axes: Axes, kind: str, frequencies: Sequence[int], runs: Sequence[RunRecord]
) -> None:
    finals = [_final(run) for run in runs]
    if len(finals) > 1:
        for final in finals:
            kind_line(axes, kind, frequencies, final, ls="none", ms=3.4, alpha=0.5)
    means = [fmean(values) for values in zip(*finals, strict=True)]
    kind_line(axes, kind, frequencies, means, lw=1.7, ms=4.8, label=kind_name(kind), zorder=3)


def _final(run: RunRecord) -> list[float]:
    """R2 of each frequency after the last epoch; a finished run has all of them."""
    return [score for score in explained(run)[-1] if score is not None]


def over_epochs(runs: Sequence[RunRecord]) -> Figure:
    """R2 over the epochs of one kind of network: a line for each frequency, named at its end."""
    style = kind_style(runs[0].kind)
    frequencies, epochs = runs[0].measurements["frequencies"], runs[0].measurements["epoch"]
    curves = [
        [fmean(row) for row in zip(*(_column(run, place) for run in runs), strict=True)]
        for place in range(len(frequencies))
    ]
    with house_style():
        figure, axes = panel(5.2, HEIGHT, left=0.56, right=0.75, bottom=BOTTOM, top=TOP)
        axes.set_xscale("log")
        for curve in curves:  # the untrained network, epoch 0, has no place on the scale
            axes.plot(epochs[1:], curve[1:], color=style.light, lw=1.5)
        plain_log_ticks(axes.xaxis)
        axes.set_ylim(-0.12, 1.05)
        _label_layers(axes, [f"k = {k}" for k in frequencies], [curve[-1] for curve in curves])
        axes.set_xlabel("epochs done", color=LIGHT["muted"])
        panel_heading(axes, f"R² of {runs[0].data}, {kind_name(runs[0].kind)}")
    return figure


def _column(run: RunRecord, place: int) -> list[float]:
    """R2 of one frequency over the epochs measured; what is far below 0 is cut off."""
    return [max(row[place] or 0.0, -1.0) for row in explained(run)]


def _label_layers(axes: Axes, names: Sequence[str], ends: Sequence[float]) -> None:
    colours = [LIGHT["muted"]] * len(names)
    label_ends(axes, names, [(1, end) for end in ends], colours, at=1.02, apart=1.3)


def by_band(runs: Sequence[RunRecord]) -> Figure:
    """Test accuracy by band: a marker for each seed, a bar for the mean of each kind."""
    bands = [b for b in BAND_NAMES if any(run.measurements["band"] == b for run in runs)]
    kinds = kinds_of(runs)
    with house_style():
        figure, axes = panel(5.2, HEIGHT, left=0.56, right=0.3, bottom=BOTTOM, top=TOP)
        for place, band in enumerate(bands):
            for number, kind in enumerate(kinds):
                own = [r for r in runs if (r.measurements["band"], r.kind) == (band, kind)]
                beside = place + 0.22 * (number - (len(kinds) - 1) / 2)
                scores = [100 * r.test_accuracy for r in own if r.test_accuracy is not None]
                _draw_scores(axes, kind, beside, scores, named=place == 0)
        axes.set_xticks(range(len(bands)), [BAND_NAMES[band] for band in bands])
        axes.set_xlim(-0.6, len(bands) - 0.4)
        axes.tick_params(axis="x", length=0, labelcolor=LIGHT["ink"])
        axes.grid(axis="x", visible=False)
        panel_heading(axes, "Test accuracy, %")
        axes.legend(frameon=False, fontsize="small")
    return figure


def _draw_scores(axes: Axes, kind: str, x: float, scores: Sequence[float], *, named: bool) -> None:
    if not scores:
        return
    bar = [x - 0.08, x + 0.08]
    axes.plot(bar, [fmean(scores)] * 2, color=kind_style(kind).light, lw=1.9)
    marks = kind_line(axes, kind, [x] * len(scores), scores, ls="none", ms=4.8, zorder=3)
    if named:
        marks.set_label(kind_name(kind))


def filter_spectra_figure(runs: Sequence[RunRecord]) -> Figure:
    """Radially averaged power of each layer's composed filter, before and after training."""
    style = kind_style(runs[0].kind)
    after, before = (_mean_spectra(runs, name) for name in ("spectra", "spectra_initial"))
    with house_style():
        figure, axes = panel(5.2, HEIGHT, left=0.56, right=0.85, bottom=BOTTOM, top=TOP)
        axes.set_yscale("log")
        plain_log_ticks(axes.yaxis)
        for layer, (old, new) in enumerate(zip(before, after, strict=True)):
            weight = 0.9 + 0.4 * layer
            axes.plot(range(len(old)), old, color=LIGHT["muted"], lw=weight, ls=":")
            axes.plot(range(len(new)), new, color=style.light, lw=weight)
        axes.set_xlabel("radius, cycles an image", color=LIGHT["muted"])
        panel_heading(axes, "Power of the composed filters, relative (log scale)")
        axes.grid(axis="x", visible=False)
        axes.margins(x=0.02)
        names = [f"layer {layer + 1}" for layer in range(len(after))]
        _label_layers(axes, names, [line[-1] for line in after])
    return figure


def _mean_spectra(runs: Sequence[RunRecord], name: str) -> list[list[float]]:
    """Layer -> power by radius: each run's divided by its mean, then averaged over the runs."""
    relative = [
        [[value / fmean(power) for value in power] for power in run.measurements[name]]
        for run in runs
    ]
    return [
        [fmean(values) for values in zip(*layers, strict=True)]
        for layers in zip(*relative, strict=True)
    ]
