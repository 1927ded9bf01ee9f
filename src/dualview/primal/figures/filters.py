"""Figures of primal filters: grids of kernels, and their power spectra.

Made from numpy arrays, without torch, in the house style. Filters have axes (n, channels, rows,
columns). The grey or white of a grid's ground is 0, the same for every filter.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dualview.arguments import (
    array,
    flag,
    instance_of,
    optional,
    require_fields,
    several,
    takes,
    whole,
    words,
)
from dualview.errors import RunError
from dualview.pages.axes import axes_at, label_ends, panel, panel_heading, plain_log_ticks, tiles
from dualview.pages.style import LIGHT, SMALL_FONT_SIZE, house_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DIVERGING = "RdBu_r"
"""Colours of filters with one channel: blue below 0, red above."""
POWER = "cividis"
"""Colours of power, evenly bright steps that all readers can tell apart."""
DECADES = 4
"""Power is drawn down to this many powers of ten below the largest of each picture."""
TILE, GAP, TITLE = 0.82, 0.1, 0.2
"""Size of a tile, distance to the next, and room for its title; in inches, like every size here."""
NOTE_PLACE = (GAP, 0.14)
"""Where a note below the tiles begins."""
NARROWEST = 4.5
"""Width of a grid of few tiles, so that its note fits."""
FIRST_LINE, LAST_LINE = (14, 132, 118), (104, 26, 128)
"""Colours of the first and the last curve; those between are mixed."""
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (2, 1.2)), (0, (6, 1.5, 1.5, 1.5)))
"""Dashes of the curves, in turn, for readers who cannot tell the colours apart."""


TITLES = optional(several(words, "a text for each filter", empty=True))
"""What an option `titles` may be."""


@dataclass(frozen=True, eq=False)
class SpectrumCurve:
    """Radial spectra of one group of filters, such as a layer.

    Attributes:
        label: what the group is called.
        frequencies: (rings,) in cycles a pixel.
        power: (n, rings), the power of each filter; more than 0 somewhere.
    """

    label: str
    frequencies: np.ndarray
    power: np.ndarray

    def __post_init__(self) -> None:
        """Refuse what is no spectrum."""
        require_fields(self, RunError, label=words, frequencies=array, power=array)


@takes(RunError, filters=array, titles=TITLES, columns=whole(1), shared_scale=flag)
def filter_grid(
    filters: np.ndarray,
    titles: Sequence[str] | None = None,
    *,
    columns: int = 8,
    shared_scale: bool = False,
) -> Figure:
    """Filters as small images in a grid, row by row.

    One channel is drawn from blue (negative) through white (0) to red. Three channels are drawn as
    colours on grey: grey is 0, and more red than grey asks for red.

    Args:
        filters: (n, 1 or 3, rows, columns), finite.
        titles: one for each filter, short.
        columns: filters side by side, at most.
        shared_scale: one scale for all; by default each filter fills the colours by itself.

    Raises:
        RunError: another shape, values that are not finite, or titles that do not fit.

    >>> figure = filter_grid(np.random.default_rng(0).normal(size=(10, 3, 9, 9)), columns=5)
    >>> len(figure.axes)
    10
    """
    images = _checked(filters, (1, 3))
    _check_titles(titles, len(images))
    largest = np.abs(images).max(axis=(1, 2, 3))  # (n,)
    scales = np.full_like(largest, largest.max()) if shared_scale else largest
    scales[scales == 0] = 1
    relative = images / scales[:, None, None, None]
    with house_style():
        figure, places = _grid(relative.shape, columns, titles is not None, room=0.44)
        for place, (axes, image) in enumerate(zip(places, relative, strict=True)):
            _draw_filter(axes, image)
            tile_title(axes, titles[place] if titles else "")
        top = f"{largest.max():.2g}" if shared_scale else "its largest entry"
        _colour_key(figure, images.shape[1], top)
    return figure


@takes(RunError, power=array, titles=TITLES, columns=whole(1))
def spectrum_grid(
    power: np.ndarray, titles: Sequence[str] | None = None, *, columns: int = 8
) -> Figure:
    """Power spectra as small images, frequency 0 in the middle, on a logarithmic scale.

    Brightest is each picture's largest power, darkest 10^-4 of it or less.

    Args:
        power: (n, rows, columns), frequency 0 first as in `numpy.fft`; finite, not negative.
        titles: one for each picture, short.
        columns: pictures side by side, at most.

    Raises:
        RunError: another shape, values that are negative or not finite, or titles that do not fit.
    """
    images = _checked(power[:, None] if power.ndim == 3 else power, (1,))
    _check_titles(titles, len(images))
    if images.min() < 0:
        raise RunError("power: expected no negative values, got some; pass |FFT|^2")
    largest = images.max(axis=(1, 2, 3), keepdims=True)
    relative = images / np.where(largest > 0, largest, 1)
    levels = np.log10(np.maximum(relative, 10.0**-DECADES))
    with house_style():
        figure, places = _grid(images.shape, columns, titles is not None, room=0.5)
        for place, (axes, image) in enumerate(zip(places, levels, strict=True)):
            centred = np.fft.fftshift(image[0])
            axes.imshow(centred, cmap=POWER, vmin=-DECADES, vmax=0, interpolation="nearest")
            tile_title(axes, titles[place] if titles else "")
        note_at(
            figure,
            *NOTE_PLACE,
            f"Middle: frequency 0; edge: half a cycle a pixel. Brightest: the\n"
            f"picture's largest power; darkest: 1/{10**DECADES:,} of it or less.",
        )
    return figure


@takes(RunError, curves=several(instance_of(SpectrumCurve), "spectra", empty=True))
def spectrum_curves(curves: Sequence[SpectrumCurve]) -> Figure:
    """Radial power against frequency: a line at the median filter, a band for the middle half.

    Power is relative to the filter's own mean over the rings, so that shapes can be compared.

    Args:
        curves: one for each layer or other group, from the first to the last.

    Raises:
        RunError: no curves, or one whose arrays do not fit or hold no positive power.
    """
    bands = [_quartiles(curve) for curve in curves]
    if not bands:
        raise RunError("curves: expected at least one spectrum to draw, got none")
    colours = [line_colour(place, len(curves)) for place in range(len(curves))]
    with house_style():
        figure, axes = panel(5.2, 3.5, left=0.62, right=1.25, bottom=0.56, top=0.42)
        axes.set_yscale("log")
        looks = zip(colours, itertools.cycle(DASHES), strict=False)
        for curve, band, (colour, dash) in zip(curves, bands, looks, strict=True):
            low, middle, high = band
            axes.fill_between(curve.frequencies, low, high, color=colour, alpha=0.1, lw=0)
            axes.plot(curve.frequencies, middle, color=colour, lw=1.9, ls=dash, label=curve.label)
        axes.set_xlim(left=0)
        axes.set_xlabel("frequency, cycles a pixel", color=LIGHT["muted"])
        plain_log_ticks(axes.yaxis)
        ends = [
            (c.frequencies[-1], line[-1]) for c, (_, line, _) in zip(curves, bands, strict=True)
        ]
        label_ends(axes, [curve.label for curve in curves], ends, colours)
        panel_heading(axes, "power, relative to the filter's mean")
    return figure


# ------------------------------------------------------------------------------------------ parts


def _checked(images: np.ndarray, channels: tuple[int, ...]) -> np.ndarray:
    if images.ndim != 4 or images.shape[1] not in channels or not images.size:
        names = " or ".join(map(str, channels))
        raise RunError(
            f"filters: expected shape (n, {names}, rows, columns), got {images.shape}. "
            f"Repair: choose one position, filters[:, 0], or channel_kernels of convolutions; and "
            f"input channels, such as filters[:, :1]"
        )
    if not np.isfinite(images).all():
        raise RunError("filters: expected finite values, got NaN or infinity")
    return images


def _check_titles(titles: Sequence[str] | None, count: int) -> None:
    if titles is not None and len(titles) != count:
        raise RunError(f"titles: expected one for each of {count} filters, got {len(titles)}")


def _grid(
    shape: tuple[int, ...], columns: int, titled: bool, *, room: float
) -> tuple[Figure, list[Axes]]:
    """A figure of square-pixel tiles, with `room` inches below them."""
    count, _, rows, across = shape
    return tiles(
        count,
        min(columns, count),
        (TILE, TILE * rows / across),
        gap=GAP,
        title=TITLE if titled else 0,
        room=room,
        narrowest=NARROWEST,
    )


def _draw_filter(axes: Axes, image: np.ndarray) -> None:
    """`image` (channels, rows, columns), from -1 to 1."""
    if len(image) == 1:
        axes.imshow(image[0], cmap=DIVERGING, vmin=-1, vmax=1, interpolation="nearest")
    else:
        axes.imshow(0.5 + 0.5 * image.transpose(1, 2, 0), interpolation="nearest")


def tile_title(axes: Axes, text: str) -> None:
    """A small title, close above a tile."""
    axes.set_title(text, fontsize=SMALL_FONT_SIZE, color=LIGHT["muted"], pad=2.5)


def _colour_key(figure: Figure, channels: int, top: str) -> None:
    """What the colours say, below the tiles."""
    if channels == 3:
        text = f"Grey is 0; a channel is full at {top}, and empty at minus it."
        note_at(figure, *NOTE_PLACE, text)
        return
    axes = axes_at(figure, GAP, 0.22, 1.6, 0.1, label="key")
    axes.imshow(np.linspace(-1, 1, 129)[None], cmap=DIVERGING, aspect="auto")
    axes.set_axis_off()
    note_at(figure, GAP + 0.8, 0.07, "0", ha="center")
    note_at(figure, GAP + 1.7, 0.225, f"red end: {top}; blue end: minus it")


def note_at(figure: Figure, left: float, bottom: float, text: str, **options: Any) -> None:
    """Small text at a place of the figure, in inches."""
    width, height = figure.get_size_inches()
    options |= {"fontsize": SMALL_FONT_SIZE, "color": LIGHT["muted"]}
    figure.text(left / width, bottom / height, text, **options)


def _quartiles(curve: SpectrumCurve) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Quarter, median and three quarters of the filters' relative power at every ring."""
    power, rings = curve.power, len(np.atleast_1d(curve.frequencies))
    if power.ndim != 2 or power.shape[1] != rings or not len(power) or not (power >= 0).all():
        raise RunError(
            f"{curve.label}: expected power (n, {rings}), none of it negative or NaN, got shape "
            f"{power.shape}"
        )
    mean = power.mean(axis=1, keepdims=True)
    if not (mean > 0).any() or not np.isfinite(mean).all():
        raise RunError(f"{curve.label}: expected filters with finite power above 0, got none")
    live = mean[:, 0] > 0
    low, middle, high = np.quantile(power[live] / mean[live], (0.25, 0.5, 0.75), axis=0)
    return low, middle, high


def line_colour(place: int, count: int) -> str:
    """The colour of one of `count` lines that follow one another, such as those of layers.

    >>> line_colour(0, 2), line_colour(1, 2)
    ('#0e8476', '#681a80')
    """
    share = place / max(1, count - 1)
    mixed = (round(a + share * (b - a)) for a, b in zip(FIRST_LINE, LAST_LINE, strict=True))
    return "#{:02x}{:02x}{:02x}".format(*mixed)
