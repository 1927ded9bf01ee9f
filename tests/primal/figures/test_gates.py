"""Properties proved here.

1. Kernel maps are sorted by class; eigenvalues are those of the matrix, in order.
2. Gate maps are means over channels, dense layers squares; class overlaps are means over pairs by
   hand; all panels of one figure share one scale.
3. Overlaps in training are drawn as given, a named line a layer; many layers have a legend.
4. What cannot be drawn is refused; figures become SVG.
"""

import itertools

import numpy as np
import pytest

from dualview.errors import RunError
from dualview.pages.style import figure_svg
from dualview.primal.figures.gates import (
    MOST_NAMED,
    class_overlap,
    gate_maps,
    gate_overlap,
    gate_training,
    kernel_map,
)


def test_kernel_map():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(6, 3))
    kernel, labels = features @ features.T, np.array([2, 0, 1, 0, 2, 1])
    heat, eigenvalues = kernel_map(kernel, labels).axes
    order = [1, 3, 2, 5, 0, 4]
    np.testing.assert_array_equal(heat.images[0].get_array(), kernel[np.ix_(order, order)])
    assert [t.get_text() for t in heat.get_xticklabels()] == ["0", "1", "2"]
    np.testing.assert_array_equal(heat.get_xticks(), [0.5, 2.5, 4.5])
    ranks, values = eigenvalues.lines[0].get_data()
    expected = np.linalg.eigvalsh(kernel)[::-1][:3]
    np.testing.assert_array_equal(ranks, [1, 2, 3])
    np.testing.assert_allclose(values, expected)


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (np.ones((3, 3)), r"expected \(n, n\) for n = 2 labels, got \(3, 3\)"),
        (np.array([[1.0, np.nan], [np.nan, 1.0]]), "finite"),
        (np.array([[1.0, 0.5], [0.0, 1.0]]), "symmetric"),
    ],
)
def test_kernels_that_cannot_be_drawn(kernel, message):
    with pytest.raises(RunError, match=message):
        kernel_map(kernel, [0, 1])


def test_gate_maps():
    rng = np.random.default_rng(0)
    gates = [rng.random((3, 4, 5)), rng.random((2, 6)), rng.random(7)]
    image = rng.normal(size=(3, 4, 5))
    *tiles, key = gate_maps(gates, image).axes
    shown = [axes.images[0].get_array() for axes in tiles]
    low, high = image.min(), image.max()
    np.testing.assert_allclose(shown[0], ((image - low) / (high - low)).transpose(1, 2, 0))
    np.testing.assert_allclose(shown[1], gates[0].mean(0))
    np.testing.assert_allclose(shown[2], gates[1])
    assert shown[3].shape == (3, 3)
    np.testing.assert_allclose(shown[3].compressed(), gates[2])
    assert {axes.images[0].get_clim() for axes in tiles[1:]} == {(0.0, 1.0)}
    assert [axes.get_title() for axes in tiles] == ["input", "gate 1", "gate 2", "gate 3"]
    assert key.get_label() == "key"
    grey = gate_maps([2 * gates[0]], np.ones((1, 4, 5))).axes
    assert grey[1].images[0].get_clim()[1] == pytest.approx(2 * gates[0].mean(0).max())
    assert len(gate_maps(gates).axes) == 4


@pytest.mark.parametrize(
    ("gates", "image", "message"),
    [
        ([], None, "at least one layer"),
        ([np.zeros((2, 3, 4, 5))], None, r"got \(2, 3, 4, 5\)"),
        ([np.zeros(0)], None, r"got \(0,\)"),
        ([np.zeros(3)], np.zeros((2, 4, 4)), r"image: expected \(1 or 3, rows, columns\)"),
    ],
)
def test_gates_that_cannot_be_drawn(gates, image, message):
    with pytest.raises(RunError, match=message):
        gate_maps(gates, image)


def test_overlaps_are_means_over_pairs():
    rng = np.random.default_rng(0)
    gates, labels = rng.random((7, 2, 3)), np.array(["b", "a", "b", "c", "a", "b", "a"])
    found = class_overlap(gates, labels)
    for (i, one), (j, other) in itertools.product(enumerate("abc"), repeat=2):
        pairs = [
            np.vdot(gates[s], gates[t]) / 6
            for s, t in itertools.product(range(7), repeat=2)
            if s != t and (labels[s], labels[t]) == (one, other)
        ]
        assert found[i, j] == pytest.approx(np.mean(pairs)) if pairs else np.isnan(found[i, j])
    with pytest.raises(RunError, match=r"one for each of 7 examples, got \(6,\)"):
        class_overlap(gates, labels[:6])


def test_overlaps_share_one_scale():
    rng = np.random.default_rng(0)
    overlaps = [rng.random((3, 3)), 2 * rng.random((3, 3))]
    overlaps[0][0, 0] = np.nan
    *tiles, _ = gate_overlap(overlaps, ["cat", "dog", "owl"]).axes
    limits = (np.nanmin(overlaps), np.nanmax(overlaps))
    for axes, overlap in zip(tiles, overlaps, strict=True):
        assert axes.images[0].get_clim() == pytest.approx(limits)
        shown = axes.images[0].get_array()
        np.testing.assert_array_equal(shown.filled(np.nan), overlap)
        assert [t.get_text() for t in axes.get_yticklabels()] == ["cat", "dog", "owl"]
    for wrong in ([], [np.zeros((2, 2))]):
        with pytest.raises(RunError, match=r"expected \(3, 3\) for each layer"):
            gate_overlap(wrong, range(3))
    with pytest.raises(RunError, match="got none"):
        gate_overlap([np.full((1, 1), np.nan)], [0])


@pytest.mark.parametrize("layers", [1, 3, MOST_NAMED + 1])
def test_gate_training(layers):
    overlaps = np.linspace(1, 0.5, 4 * layers).reshape(layers, 4).T
    (axes,) = gate_training(overlaps, [0, 1, 5, 10]).axes
    assert len(axes.lines) == layers
    for line, layer in zip(axes.lines, overlaps.T, strict=True):
        np.testing.assert_array_equal(line.get_data(), [[0, 1, 5, 10], layer])
    names = [text.get_text() for text in axes.texts]
    expected = [f"gate {i}" for i in range(1, layers + 1)] if layers <= MOST_NAMED else []
    assert names == ["overlap with the initial gates", *expected]
    if not expected:
        texts = [text.get_text() for text in axes.get_legend().get_texts()]
        assert texts == ["gate 1", f"… gate {layers}"]
    (plain,) = gate_training(overlaps).axes
    assert list(plain.lines[0].get_xdata()) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("overlaps", "epochs", "message"),
    [
        ([[1.0, 1.0]], None, r"got shape \(1, 2\)"),
        ([1.0, 0.5], None, r"got shape \(2,\)"),
        ([[], []], None, r"got shape \(2, 0\)"),
        ([[1.0], [1.5]], None, "from 0 to 1"),
        ([[1.0], [np.nan]], None, "from 0 to 1"),
        ([[1.0], [0.5]], [0], "expected 2 ascending numbers"),
        ([[1.0], [0.5]], [1, 1], "expected 2 ascending numbers"),
    ],
)
def test_overlaps_that_cannot_be_drawn(overlaps, epochs, message):
    with pytest.raises(RunError, match=message):
        gate_training(overlaps, epochs)


def test_figures_become_svg():
    svg = figure_svg(kernel_map(np.eye(3), [0, 0, 1]), "kernel", "A kernel")
    assert "eigenvalues" in svg
    assert "var(--kind-dlgn" in svg
