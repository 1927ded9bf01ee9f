"""Figures of gates, and of the kernel that their overlaps make.

Made from numpy arrays, without torch, in the house style. Sizes are in inches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dualview.arguments import array, class_labels, optional, several, takes
from dualview.errors import RunError
from dualview.pages.axes import axes_at, label_ends, panel, panel_heading, plain_log_ticks, tiles
from dualview.pages.style import KIND_STYLES, LIGHT, SMALL_FONT_SIZE, house_style
from dualview.primal.figures.filters import DASHES, line_colour, note_at, tile_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHADES = "cividis"
"""Colours of kernels, gates and overlaps: evenly bright steps that all readers can tell apart."""
MOST_NAMED = 12
"""Lines of layers that are named at their ends; of more, a legend names the first and the last."""


# ------------------------------------------------------------------------------------------ kernel


@takes(RunError, kernel=array, labels=class_labels)
def kernel_map(kernel: np.ndarray, labels: Sequence[Any] | np.ndarray) -> Figure:
    """A kernel as a heat map, examples sorted by class, and its eigenvalues.

    Args:
        kernel: (n, n), symmetric, finite.
        labels: the class of each example (n,).

    Raises:
        RunError: another shape, values that are not finite, or a matrix that is not symmetric.
    """
    _check_kernel(kernel, len(labels))
    classes = np.asarray(labels)
    order = np.argsort(classes, kind="stable")
    names, starts = np.unique(classes[order], return_index=True)
    eigenvalues = np.linalg.eigvalsh(kernel)[::-1]
    with house_style():
        figure, axes = panel(5.6, 3.0, left=0.5, right=2.6, bottom=0.3, top=0.2)
        axes.imshow(kernel[np.ix_(order, order)], cmap=SHADES, interpolation="nearest")
        ends = np.append(starts[1:], len(order))
        for start in starts[1:]:
            axes.axhline(start - 0.5, color=LIGHT["page"], lw=0.6)
            axes.axvline(start - 0.5, color=LIGHT["page"], lw=0.6)
        middles = (starts + ends - 1) / 2
        axes.set_xticks(middles, [str(name) for name in names], fontsize=SMALL_FONT_SIZE)
        axes.set_yticks(middles, [str(name) for name in names], fontsize=SMALL_FONT_SIZE)
        axes.tick_params(length=0)
        axes.grid(visible=False)
        _draw_eigenvalues(figure, eigenvalues)
    return figure


def _check_kernel(kernel: np.ndarray, n: int) -> None:
    if kernel.ndim != 2 or not kernel.size or kernel.shape != (n, n):
        raise RunError(
            f"kernel: expected (n, n) for n = {n} labels, got {kernel.shape}; pass the kernel "
            f"of the labelled examples with themselves"
        )
    if not np.isfinite(kernel).all():
        raise RunError("kernel: expected finite values, got NaN or infinity")
    if np.abs(kernel - kernel.T).max() > 1e-4 * np.abs(kernel).max():
        raise RunError("kernel: expected a symmetric matrix; pass npk(net, x) of one set")


def _draw_eigenvalues(figure: Figure, eigenvalues: np.ndarray) -> None:
    axes = axes_at(figure, 3.65, 0.55, 1.75, figure.get_figheight() - 1.0)
    positive = eigenvalues > 1e-12 * eigenvalues[0]
    ranks = np.arange(1, len(eigenvalues) + 1)[positive]
    axes.plot(ranks, eigenvalues[positive], color=KIND_STYLES["dlgn"].light, lw=1.4, marker=".")
    axes.set_yscale("log")
    plain_log_ticks(axes.yaxis)
    axes.set_xlabel("rank", color=LIGHT["muted"], fontsize=SMALL_FONT_SIZE)
    axes.set_title("eigenvalues", loc="left", fontsize=SMALL_FONT_SIZE, color=LIGHT["muted"])
    axes.tick_params(length=3, width=0.7, labelsize=SMALL_FONT_SIZE)


# ------------------------------------------------------------------------------------------- gates


@takes(
    RunError,
    gates=several(array, "the gates of each layer as arrays", empty=True),
    image=optional(array),
)
def gate_maps(gates: Sequence[np.ndarray], image: np.ndarray | None = None) -> Figure:
    """The gates of one example by layer; beside them the image itself.

    A convolutional layer is drawn as the mean over its channels at every position, a dense one as
    its units, row by row in a square.

    Args:
        gates: for each layer (channels, rows, columns), (channels, positions) or (units,).
        image: (1 or 3, rows, columns); it is drawn from its smallest to its largest value.

    Raises:
        RunError: no layers, or arrays of other shapes.
    """
    if not gates:
        raise RunError("gates: expected at least one layer, got none")
    drawn = [(_gate_tile(gate), f"gate {i}") for i, gate in enumerate(gates, 1)]
    with house_style():
        pictures = len(drawn) + (image is not None)
        figure, axes = _tiles(pictures, columns=min(pictures, 6))
        if image is not None:
            _draw_image(axes[0], image)
        top = max(1.0, *(float(tile.max()) for tile, _ in drawn if np.isfinite(tile).any()))
        for (tile, name), place in zip(drawn, axes[image is not None :], strict=True):
            place.imshow(np.ma.masked_invalid(tile), cmap=SHADES, vmin=0, vmax=top)
            tile_title(place, name)
        _shade_key(figure, f"gates, mean over channels: 0 to {top:.3g}")
    return figure


def _gate_tile(gate: np.ndarray) -> np.ndarray:
    """Values to draw, (rows, columns); NaN where a square has no unit left."""
    if gate.ndim == 3:
        return gate.mean(0)
    if gate.ndim == 2:
        return gate
    if gate.ndim != 1 or not gate.size:
        raise RunError(
            f"gates: expected (channels, rows, columns), (channels, positions) or (units,) for "
            f"each layer, got {gate.shape}; pass one example's, net.gates(x)[l][0]"
        )
    side = math.ceil(math.sqrt(len(gate)))
    square = np.pad(gate, (0, side**2 - len(gate)), constant_values=np.nan)
    return square.reshape(side, side)[: math.ceil(len(gate) / side)]


def _draw_image(axes: Axes, image: np.ndarray) -> None:
    if image.ndim != 3 or len(image) not in (1, 3) or not np.isfinite(image).all():
        raise RunError(f"image: expected (1 or 3, rows, columns), finite, got {image.shape}")
    low, high = image.min(), image.max()
    shown = (image - low) / (high - low if high > low else 1.0)
    if len(shown) == 1:
        axes.imshow(shown[0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    else:
        axes.imshow(shown.transpose(1, 2, 0), interpolation="nearest")
    tile_title(axes, "input")


@takes(RunError, gates=array, labels=class_labels)
def class_overlap(gates: np.ndarray, labels: Sequence[Any] | np.ndarray) -> np.ndarray:
    """Mean overlap of the gates of two examples, for every pair of classes.

    The overlap is <G(x), G(x')> / number of gates; an example is not paired with itself.

    Args:
        gates: of one layer, (n, ...).
        labels: the class of each example (n,).

    Returns:
        (classes, classes), in sorted order; NaN for a class of one example with itself.

    >>> class_overlap(np.array([[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 1, 1]]), [0, 0, 1])
    array([[0.5  , 0.125],
           [0.125,   nan]])
    """
    if gates.ndim < 2 or not gates.size or not np.isfinite(gates).all():
        raise RunError(
            f"gates: expected finite gates of one layer (n, ...), got shape {gates.shape}"
            + ("" if np.isfinite(gates).all() else " with NaN or infinity")
        )
    flat = gates.reshape(len(gates), -1)  # (n, gates)
    classes, member = np.unique(np.asarray(labels), return_inverse=True)
    if member.shape != (len(flat),):
        raise RunError(f"labels: expected one for each of {len(flat)} examples, got {member.shape}")
    one_hot = np.eye(len(classes))[member]  # (n, k)
    sums = one_hot.T @ flat
    counts = one_hot.sum(0)
    own = one_hot.T @ np.square(flat).sum(1)
    totals = sums @ sums.T - np.diag(own)
    pairs = np.outer(counts, counts) - np.diag(counts)
    with np.errstate(invalid="ignore", divide="ignore"):
        return totals / pairs / flat.shape[1]


@takes(
    RunError,
    overlaps=several(array, "the overlaps of each layer as arrays", empty=True),
    classes=class_labels,
)
def gate_overlap(overlaps: Sequence[np.ndarray], classes: Sequence[Any]) -> Figure:
    """Gate overlap between classes, a heat map a layer, all on one scale.

    Args:
        overlaps: for each layer (k, k), from `class_overlap`.
        classes: k names.

    Raises:
        RunError: no layers, or shapes that do not fit.
    """
    names = [str(name) for name in classes]
    if not overlaps or any(overlap.shape != (len(names),) * 2 for overlap in overlaps):
        raise RunError(
            f"overlaps: expected ({len(names)}, {len(names)}) for each layer, got "
            f"{[overlap.shape for overlap in overlaps]}; see class_overlap"
        )
    if not any(np.isfinite(overlap).any() for overlap in overlaps):
        raise RunError("overlaps: expected finite values, got none")
    low = min(float(np.nanmin(overlap)) for overlap in overlaps)
    high = max(float(np.nanmax(overlap)) for overlap in overlaps)
    with house_style():
        figure, axes = _tiles(len(overlaps), columns=min(len(overlaps), 4), size=1.3)
        for number, (overlap, place) in enumerate(zip(overlaps, axes, strict=True), start=1):
            place.set_axis_on()
            place.imshow(np.ma.masked_invalid(overlap), cmap=SHADES, vmin=low, vmax=high)
            tile_title(place, f"gate {number}")
            place.set_xticks(range(len(names)), names, fontsize=0.7 * SMALL_FONT_SIZE)
            place.set_yticks(range(len(names)), names, fontsize=0.7 * SMALL_FONT_SIZE)
            place.tick_params(length=0, pad=2)
            place.grid(visible=False)
            for spine in place.spines.values():
                spine.set_visible(False)
        _shade_key(figure, f"mean overlap of two examples: {low:.3g} to {high:.3g}")
    return figure


# ---------------------------------------------------------------------------------------- training


@takes(RunError, overlaps=array, epochs=optional(array))
def gate_training(
    overlaps: np.ndarray | Sequence[Sequence[float]], epochs: Sequence[float] | None = None
) -> Figure:
    """The gates of each layer while they are learnt: their overlap with the initial ones.

    Args:
        overlaps: (times, layers), a row from `primal.initial_overlap` of each network on the way,
            the initial one's first; from 0 to 1.
        epochs: epochs trained at each time, ascending; default: 0, 1, 2, ...

    Raises:
        RunError: fewer than two times, another shape or range, or epochs that do not fit.

    >>> figure = gate_training([[1.0, 1.0], [0.9, 0.8], [0.85, 0.7]])
    >>> [line.get_label() for line in figure.axes[0].lines]
    ['gate 1', 'gate 2']
    """
    rows, times = _checked_overlaps(overlaps, epochs)
    count = rows.shape[1]
    with house_style():
        figure, axes = panel(5.2, 3.5, left=0.62, right=0.85, bottom=0.56, top=0.42)
        names = [f"gate {layer}" for layer in range(1, count + 1)]
        for place, (name, line) in enumerate(zip(names, rows.T, strict=True)):
            dash = DASHES[place % len(DASHES)]
            axes.plot(times, line, color=line_colour(place, count), lw=1.9, ls=dash, label=name)
        axes.set_xlim(times[0], times[-1])
        axes.set_xlabel("epochs trained", color=LIGHT["muted"])
        axes.grid(axis="x", visible=False)
        panel_heading(axes, "overlap with the initial gates")
        if count <= MOST_NAMED:
            ends = [(float(times[-1]), float(line[-1])) for line in rows.T]
            label_ends(axes, names, ends, [line_colour(place, count) for place in range(count)])
        else:
            lines = axes.lines[:: count - 1]
            axes.legend(
                lines, [names[0], f"… {names[-1]}"], frameon=False, fontsize=SMALL_FONT_SIZE
            )
    return figure


def _checked_overlaps(
    overlaps: np.ndarray | Sequence[Sequence[float]], epochs: Sequence[float] | None
) -> tuple[np.ndarray, np.ndarray]:
    rows = np.asarray(overlaps, float)
    if rows.ndim != 2 or len(rows) < 2 or not rows.size:
        raise RunError(
            f"overlaps: expected (times, layers), a row for the initial network and one for each "
            f"later one, got shape {rows.shape}"
        )
    if not ((rows >= 0) & (rows <= 1 + 1e-6)).all():
        raise RunError("overlaps: expected numbers from 0 to 1, got others; see initial_overlap")
    times = np.arange(len(rows)) if epochs is None else np.asarray(epochs, float)
    if times.shape != (len(rows),) or not (np.diff(times) > 0).all():
        raise RunError(
            f"epochs: expected {len(rows)} ascending numbers, one for each row of overlaps, got "
            f"{epochs}"
        )
    return rows, times


# ------------------------------------------------------------------------------------------- parts


def _tiles(count: int, *, columns: int, size: float = 0.95) -> tuple[Figure, list[Axes]]:
    """A figure of square tiles with titles, and room for a note below."""
    gap = 0.28 if size > 1 else 0.12
    return tiles(
        count, columns, (size, size), gap=gap, title=0.24, room=0.46, narrowest=4.2, below=gap
    )


def _shade_key(figure: Figure, text: str) -> None:
    """What the shades say, below the tiles."""
    axes = axes_at(figure, 0.12, 0.14, 1.2, 0.1, label="key")
    axes.imshow(np.linspace(0, 1, 128)[None], cmap=SHADES, aspect="auto")
    axes.set_axis_off()
    note_at(figure, 1.42, 0.14, text)
