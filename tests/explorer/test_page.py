"""Explanations as a page.

- Numbers in the page are the records': parts of logits to the last bit, so that their sums are
  logits to rounding; others to six digits. Pictures are the gates, pixels and filters.
- One file, with balanced tags, that refers to nothing outside; text is escaped, in the script's
  data too; the same explanations give the same page; the file appears whole.
- What is exact, what is missing, and where it is from stand there.
"""

import dataclasses
import json
import re

import numpy as np
import pytest

from dualview.explorer.explanations.budget import shrunk
from dualview.explorer.explanations.records import ChannelRates
from dualview.explorer.images import Sprite, signed
from dualview.explorer.page import (
    FILTER_BYTES,
    PageFacts,
    exactness,
    largest_deviation,
    page_data,
    render_explorer,
    script_json,
    write_explorer,
)
from tests.explorer.test_images import decoded
from tests.html_reading import ReadPage

from .explanations.cases import KINDS, SHAPES, explained

FACTS = PageFacts("A title & <more>", "a standfirst", (("Run", "runs/<x>"), ("Seed", "0")))


def data_of(html):
    text = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    return json.loads(text[1])


def page(shape="dense", kind="dlgn"):
    return data_of(render_explorer(explained(shape, kind), FACTS))


@pytest.mark.parametrize("shape", SHAPES)
def test_numbers_are_the_records(shape):
    found, data = explained(shape), page(shape)
    assert data["classes"] == list(found.class_names)
    assert data["input"] == list(found.input_shape)
    for example, shown in zip(found.examples, data["examples"], strict=True):
        assert (shown["row"], shown["label"]) == (example.row, example.label)
        assert shown["logits"] == pytest.approx(example.logits, rel=1e-5)
        assert shown["scores"] == pytest.approx(example.machine_scores, rel=1e-5)
        for output, its in zip(example.outputs, shown["outputs"], strict=True):
            check_output(output, its, shown["outputs"])


def listed_paths(name, shown, outputs):
    """Those of a difference stand with the two outputs, the second's with the other sign."""
    for path in shown["list"]:
        if isinstance(path, dict):
            yield path
        else:
            number, rank = path
            found = outputs[number]["paths"][name]["list"][rank]
            yield {**found, "part": found["part"] * (-1 if number else 1)}


def check_output(output, its, outputs):
    assert (its["output"], its["total"]) == (output.output, output.total)
    assert its["against"] == output.against
    assert its["starts"]["input"] == output.starts.from_input
    assert its["starts"]["biases"] == output.starts.from_biases
    for layer, shown in zip(output.layers, its["layers"], strict=True):
        *parts, channels = shown
        assert parts == [layer.adding, layer.taking, layer.skips, layer.biases]
        assert sum(parts) == pytest.approx(its["total"], rel=1e-9, abs=1e-12)
        for channel, cells in zip(layer.channels, channels, strict=True):
            number, part, place, gate, q, interior, distance = cells
            assert (number, tuple(place), interior) == (
                channel.channel,
                channel.place,
                channel.is_interior,
            )
            numbers = [channel.part, channel.gate, channel.preactivation]
            assert [part, gate, q] == pytest.approx(numbers, rel=1e-5)
            assert distance == pytest.approx(channel.distance, rel=1e-5)
    for name, top in (("input", output.from_input), ("anywhere", output.from_anywhere)):
        shown = its["paths"][name]
        parts = [path["part"] for path in listed_paths(name, shown, outputs)]
        assert parts == pytest.approx([path.contribution for path in top.paths], rel=1e-5)
        assert shown["total"] == pytest.approx(top.total, rel=1e-5)
        assert shown["count"] == pytest.approx(top.n_paths, rel=1e-5)


def test_machine():
    found, data = explained("convolutional"), page("convolutional")
    machine = data["machine"]
    assert machine["agreement"] == pytest.approx(found.machine.agreement, rel=1e-5)
    pictures = decoded(sprite(machine["images"]))
    for example, shown in zip(found.examples, data["examples"], strict=True):
        for output, its in zip(example.outputs, shown["outputs"], strict=True):
            parts = its["machine"]
            total = parts["offset"] + parts["for"] + parts["against"]
            assert total == pytest.approx(parts["score"], abs=1e-9)
            for listed, cells in zip(
                output.machine.strongest_for, parts["strongest"][0], strict=True
            ):
                place = cells[0]
                assert cells[1] == listed.part
                assert machine["rows"][place] == found.machine.rows[listed.index]
                assert machine["labels"][place] == listed.label
                image = found.machine.images[listed.index].transpose(1, 2, 0)
                np.testing.assert_array_equal(pictures[place], image)


def sprite(data):
    return Sprite(**data)


@pytest.mark.parametrize("shape", ["dense", "convolutional"])
def test_pictures(shape):
    found, data = explained(shape), page(shape)
    images = decoded(sprite(data["images"]))
    for i, (example, shown) in enumerate(zip(found.examples, data["examples"], strict=True)):
        np.testing.assert_array_equal(images[i], example.image.transpose(1, 2, 0))
        sheets = [decoded(sprite(sheet))[..., 1] / 255 for sheet in shown["gates"]["sheets"]]
        for gates, (sheet, first) in zip(example.gates, shown["gates"]["places"], strict=True):
            wanted = np.stack([gates.mean, *gates.maps])
            maps = sheets[sheet][first : first + len(wanted)]
            np.testing.assert_allclose(maps, wanted, atol=0.5 / 255 + 1e-9)
        on = [gates.on for gates in example.gates]
        assert shown["gates"]["on"] == pytest.approx(on, rel=1e-5)
        nearest = [gates.nearest for gates in example.gates]
        assert shown["gates"]["nearest"] == pytest.approx(nearest, rel=1e-5)
    for filters, layer in zip(found.filters, data["layers"], strict=True):
        assert layer["filters"]["channels"] == list(filters.channels)
        assert layer["filters"]["images"] == dataclasses.asdict(signed(filters.images, shared=True))


def test_rates():
    found, data = explained("convolutional"), page("convolutional")
    assert data["n_rates"] == found.n_rates
    for rates, layer in zip(found.rates, data["layers"], strict=True):
        assert layer["rates"]["channels"] == list(rates.channels)
        for shares, percents in zip(rates.by_class, layer["rates"]["percent"], strict=True):
            assert percents == [round(100 * share) for share in shares]


def test_distances_and_rates_that_are_missing_are_null():
    found = explained("dense", "dgn")
    absent = ChannelRates((0,), np.array([[0.25, np.nan, 1.0]]))
    data = page_data(dataclasses.replace(found, rates=(absent, absent)))
    assert data["layers"][0]["rates"] == {"channels": [0], "percent": [[25, None, 100]]}
    assert data["examples"][0]["gates"]["nearest"] == [None, None]
    assert data["examples"][0]["outputs"][0]["layers"][0][-1][0][-1] is None


def test_large_filters_are_drawn_coarsely():
    found = explained("dense")
    images = np.random.default_rng(0).normal(size=(5, 3, 300, 300))
    large = dataclasses.replace(found.filters[0], images=images, channels=tuple(range(5)))
    assert images.size > FILTER_BYTES
    data = page_data(dataclasses.replace(found, filters=(large, found.filters[1])))
    drawn = data["layers"][0]["filters"]
    assert drawn["drawn"] > 1
    assert drawn["size"] == [300, 300]
    assert drawn["images"] == dataclasses.asdict(
        signed(shrunk(images, drawn["drawn"]), shared=True)
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", ["dense", "convolutional"])
def test_one_file_that_needs_no_other(shape, kind):
    html = render_explorer(explained(shape, kind), FACTS)
    read = ReadPage(html)
    assert read.doctype.lower() == "doctype html"
    assert all(to.startswith("#") and to[1:] in read.ids for to in read.references)
    assert not re.findall(r"(?:src|href|url)\s*[=(]\s*[\"']?https?:", html)
    assert "<h1>A title &amp; &lt;more&gt;</h1>" in html
    assert len(read.ids) == len(set(read.ids))
    assert "{%" not in html


def test_words_are_escaped_in_data_too():
    name = "</script><script>alert(1)</script>"
    found = dataclasses.replace(explained("dense"), class_names=(name, "b", "<!--"))
    html = render_explorer(found, FACTS)
    assert "<script>alert" not in html
    assert data_of(html)["classes"] == [name, "b", "<!--"]


def test_numbers_that_json_lacks_are_refused():
    with pytest.raises(ValueError, match="JSON"):
        script_json({"x": float("nan")})


def test_missing_scores_are_null():
    found = explained("dense")
    scores = np.array([0.5, np.nan, 0.1])
    first = dataclasses.replace(found.examples[0], machine_scores=scores)
    data = page_data(dataclasses.replace(found, examples=(first, *found.examples[1:])))
    assert data["examples"][0]["scores"] == [0.5, None, 0.1]


def test_same_explanations_same_page(tmp_path):
    found = explained("dense")
    path = write_explorer(found, FACTS, tmp_path / "new" / "page.html")
    assert path.read_text(encoding="utf-8") == render_explorer(found, FACTS)
    assert [p.name for p in path.parent.iterdir()] == ["page.html"]


def test_what_is_exact():
    found = explained("convolutional")
    text = " ".join(exactness(found))
    assert "sigmoid(4 q)" in text
    assert "hard gates" in text
    assert "Everything but the kernel machine and how often channels are on is computed" in text
    assert f"{largest_deviation(found):.1g}" in text
    assert 0 <= largest_deviation(found) < 1e-12
    for example in found.examples:
        for output in example.outputs:
            for layer in output.layers:
                parts = (layer.adding, layer.taking, layer.skips, layer.biases)
                assert abs(sum(parts) - output.total) <= largest_deviation(found)


def test_one_example_is_no_share_of_examples():
    found = explained("dense")
    one = dataclasses.replace(found, examples=found.examples[:1])
    assert "of the examples here" in " ".join(exactness(found))
    assert "of the examples here" not in " ".join(exactness(one))
    eyebrow = "One prediction of a DLGN, taken apart"
    assert eyebrow in ReadPage(render_explorer(one, FACTS)).texts["p"]
    assert (
        eyebrow.replace("One prediction", "Predictions")
        in (ReadPage(render_explorer(found, FACTS)).texts["p"])
    )


def test_what_is_missing():
    found = explained("dense", "dgn", n_train=0)
    text = " ".join(exactness(found))
    assert "filter" not in text.replace("Pictures of gates, filters", "").replace(
        "Every filter", ""
    )
    assert "kernel machine" not in text
    html = render_explorer(found, FACTS)
    assert "Gates by layer" in ReadPage(html).texts["h2"]
    linear = ReadPage(render_explorer(explained("dense"), FACTS))
    assert "Gates by layer, and the filters behind them" in linear.texts["h2"]
    assert found.notes
    assert set(found.notes) <= set(ReadPage(html).texts["p"])
    assert data_of(html)["machine"] is None


def test_facts():
    read = ReadPage(render_explorer(explained("dense"), FACTS))
    assert "runs/<x>" in read.texts["dd"]
