"""The tables of the spectrum experiment, from its records."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median

from dualview.experiments.records import RunRecord
from dualview.experiments.spectrum.scores import (
    BAND_NAMES,
    THRESHOLDS,
    explained,
    kinds_of,
    low_share,
    of_dimension,
    of_images,
    reached,
)
from dualview.experiments.summary import kind_name, mean_percent, mean_sd, percent, summarise
from dualview.experiments.tables import Table


def tables(records: Sequence[RunRecord]) -> list[Table]:
    """What was reached of functions and images, when, and by which filters."""
    made = []
    for dimension in (1, 2):
        runs = of_dimension(records, dimension)
        if runs:
            made += [_reached_table(runs, dimension), _epochs_table(runs, dimension)]
            made += _gates_table(runs, dimension)
    images = of_images(records)
    if images:
        made += [_images_table(images), *_filters_table(images)]
    return made


def _reached_table(runs: Sequence[RunRecord], dimension: int) -> Table:
    """R2 at the end, kind by frequency."""
    frequencies = runs[0].measurements["frequencies"]
    rows = []
    for kind in kinds_of(runs):
        own = [run for run in runs if run.kind == kind]
        finals = [explained(run)[-1] for run in own]
        cells = [
            _score_cell([final[place] for final in finals]) for place in range(len(frequencies))
        ]
        rows.append((kind_name(kind), *cells, f"{own[0].parameters:,}"))
    return Table(
        f"functions-{dimension}d",
        f"{runs[0].data}: what is reached",
        ("Network", *(f"k = {k}" for k in frequencies), "Parameters"),
        tuple(rows),
        (
            "R² on unseen points after the last epoch (1: all of the function, 0: no more than "
            "its mean), mean ± sample standard deviation over seeds. All networks have the same "
            "width, depth, rate and number of epochs; the rate was not tuned for each kind.",
        ),
    )


def _epochs_table(runs: Sequence[RunRecord], dimension: int) -> Table:
    """Epochs until R2 reaches each threshold, kind by frequency."""
    frequencies = runs[0].measurements["frequencies"]
    rows = []
    for kind in kinds_of(runs):
        own = [run for run in runs if run.kind == kind]
        for threshold in THRESHOLDS:
            cells = [
                _epochs_cell([reached(run, place, threshold) for run in own])
                for place in range(len(frequencies))
            ]
            rows.append((f"{kind_name(kind)}, R² ≥ {threshold:g}", *cells))
    return Table(
        f"functions-{dimension}d-epochs",
        f"{runs[0].data}: when it is reached",
        ("Network", *(f"k = {k}" for k in frequencies)),
        tuple(rows),
        (
            f"Epochs of {runs[0].epochs} until R² on unseen points first reaches the threshold, "
            "among the epochs measured: the median of the seeds that reach it, and how many do if "
            "not all; –: none.",
        ),
    )


def _gates_table(runs: Sequence[RunRecord], dimension: int) -> list[Table]:
    """How steep the DLGN's gating functions become, layer by frequency."""
    own = [run for run in runs if run.kind == "dlgn" and "gate_slope" in run.measurements]
    if not own:
        return []
    frequencies = own[0].measurements["frequencies"]
    rows = []
    for layer in range(len(own[0].measurements["gate_slope_initial"])):
        before = fmean(run.measurements["gate_slope_initial"][layer][1] for run in own)
        after = [
            fmean(run.measurements["gate_slope"][place][layer][1] for run in own)
            for place in range(len(frequencies))
        ]
        rows.append((f"Layer {layer + 1}", *(f"{value:.3g}" for value in (before, *after))))
    return [
        Table(
            f"functions-{dimension}d-gates",
            f"{runs[0].data}: how steep the DLGN’s gates are",
            ("Gates", "Untrained", *(f"k = {k}" for k in frequencies)),
            tuple(rows),
            (
                "Median over the units of |dq/dx|, q the pre-activation that decides the gate "
                "(affine in x, over [0, 1]), mean over seeds. The soft gate sigmoid(4 q) opens "
                "over a stretch of about 1/|dq/dx|; the target has a period of 1/k.",
            ),
        )
    ]


def _images_table(runs: Sequence[RunRecord]) -> Table:
    """Accuracies by kind and band, and what is recovered of the DNN's in the same band."""
    rows = {(row.kind, row.data): row for row in summarise(runs)}
    data = {run.measurements["band"]: run.data for run in runs}
    bands = [band for band in BAND_NAMES if band in data]
    first = next(run for run in runs if run.measurements["band"] in data)
    lines = []
    for kind in kinds_of(runs):
        cells = []
        for band in bands:
            row = rows.get((kind, data[band]))
            cells.append(percent(row.accuracy_mean, row.accuracy_sd) if row else "–")
            cells.append(row.recovered if row else "–")
        lines.append((kind_name(kind), *cells))
    columns = [
        text for band in bands for text in (f"{BAND_NAMES[band].capitalize()}, %", "Recovered, %")
    ]
    radius, share = first.measurements["radius"], first.measurements["disc_energy"]
    return Table(
        "images",
        f"{data.get('all', first.data)}: classification of parts of the spectrum",
        ("Network", *columns),
        tuple(lines),
        (
            "Test accuracy after the last epoch, mean ± sample standard deviation over seeds. "
            "Recovered: divided by the DNN’s in the same band, seed by seed. Low-pass: a disc of "
            f"at most {radius:g} cycles an image, which holds {100 * share:.0f} % of the images’ "
            "variance; high-pass: what is left of the image without it.",
        ),
    )


def _filters_table(runs: Sequence[RunRecord]) -> list[Table]:
    """How much of the composed filters' power lies in the disc, layer by band."""
    own = [run for run in runs if run.kind == "dlgn" and "spectra" in run.measurements]
    if not own:
        return []
    bands = [b for b in BAND_NAMES if any(run.measurements["band"] == b for run in own)]
    rows = []
    for layer in range(len(own[0].measurements["spectra"])):
        cells = []
        for band in bands:
            members = [run for run in own if run.measurements["band"] == band]
            for name in ("spectra_initial", "spectra"):
                shares = [low_share(run, name, layer) for run in members]
                cells.append(mean_percent(shares))
        rows.append((f"Layer {layer + 1}", *cells))
    columns = [
        text for b in bands for text in (f"{BAND_NAMES[b].capitalize()}: before, %", "After, %")
    ]
    radii = len(own[0].measurements["spectra"][0])
    flat = (int(own[0].measurements["radius"]) + 1) / radii
    return [
        Table(
            "filters",
            "Composed filters of the DLGN: power at low frequencies",
            ("Gates", *columns),
            tuple(rows),
            (
                "Share of the radially averaged power of each layer’s composed filter that lies at "
                f"the radii of the disc; a filter that passes all frequencies alike has "
                f"{100 * flat:.0f} %.",
            ),
        )
    ]


def _score_cell(values: Sequence[float | None]) -> str:
    """Mean ± standard deviation; diverged runs are counted, not averaged."""
    known = [value for value in values if value is not None]
    mean, sd = mean_sd(known)
    if mean is None:
        return "diverged"
    text = f"{mean:.3f}".replace("-0.000", "0.000") + ("" if sd is None else f" ± {sd:.3f}")
    lost = len(values) - len(known)
    return text.replace("-", "−") + (f" ({lost} diverged)" if lost else "")


def _epochs_cell(epochs: Sequence[int | None]) -> str:
    """Median of those that reached it.

    >>> _epochs_cell([3, 5, 9]), _epochs_cell([3, None]), _epochs_cell([None])
    ('5', '3 (1 of 2)', '–')
    """
    known = [epoch for epoch in epochs if epoch is not None]
    if not known:
        return "–"
    some = "" if len(known) == len(epochs) else f" ({len(known)} of {len(epochs)})"
    return f"{median(known):g}{some}"
