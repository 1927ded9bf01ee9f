"""The explorer's page in a real browser: Chromium, without a window or a network.

- It loads without an error or a message on the console, and asks for no other file.
- Examples are chosen by a click, by arrow keys, by filters and by the address; everything shown
  follows, and equals the data. Sums that are shown are the logit.
- The other output, a channel, a path, a beginning of paths are chosen by a click or by keys; the
  path under the pointer lights up. Groups of paths show their shares; single paths are folded, and
  such as add more than float64 holds show an exponent.
- It is as wide as a phone or a screen, in both colour schemes; Tab reaches everything, in order,
  and the focus is seen.
- The network's boxes lead to its layers; a class, or the difference of two, shows the units that
  make it, a unit what opens it, what it adds and its neighbours, all as the data has it.
- The confusion matrix filters examples, the map and a unit's images show theirs, the order sorts by
  margin; what is empty says so; without scripts there is a sentence and nothing else.
- A plane through an example and two training images is drawn, or it says for which, or why not.
- Networks without filters, machine or positions, and pages of one example, work too.

Skipped where there is no Chromium or no playwright.
"""

import dataclasses
import io
import itertools
import re

import numpy as np
import pytest
from PIL import Image

from dualview.explorer.page import PageFacts, page_data, write_explorer
from dualview.path_attribution.paths import WholeNumber
from tests.browser.reading import CASES, PHONE, SCREEN, number, numbers
from tests.explorer.explanations.cases import explained


def unfold(page):
    page.locator("#single > summary").click()


@pytest.mark.parametrize("name", CASES)
def test_shows_the_first_example(opened, name):
    page = opened(name)
    data = page_data(explained(*CASES[name]))
    first = data["examples"][0]
    assert page.locator("#h-example").inner_text() == f"Test example {first['row']}"
    assert page.locator("#grid button").count() == len(data["examples"])
    assert numbers(page, "#prediction .value") == pytest.approx(first["logits"], rel=6e-3)
    output = first["outputs"][0]
    rows = page.locator("#layers tbody tr")
    assert rows.count() == len(data["layers"])
    for row in rows.all():
        *parts, total = [number(cell) for cell in row.locator("td.number").all_inner_texts()]
        assert total == pytest.approx(output["total"], rel=1e-4)
        assert sum(parts) == pytest.approx(total, abs=0.02 * sum(map(abs, parts)))
    shown = [len(layer[-1]) for layer in output["layers"]]
    assert page.locator("#gates .unit").count() == sum(shown)
    assert page.locator(".list button").count() == len(output["paths"]["input"]["list"])
    assert page.locator(".speakers figure").count() == sum(map(len, output["machine"]["strongest"]))
    filters = page.locator("#gates .unit .picture:not(.mask)").count()
    assert filters == (0 if name == "no filters" else sum(shown))


def test_a_click_chooses_an_example(opened):
    page = opened("convolutional")
    data = page_data(explained("convolutional"))
    page.locator("#grid button").nth(2).click()
    example = data["examples"][2]
    assert page.locator("#h-example").inner_text() == f"Test example {example['row']}"
    assert page.url.endswith(f"#{example['row']}")
    assert numbers(page, "#prediction .value") == pytest.approx(example["logits"], rel=6e-3)
    assert page.locator("#grid [aria-current]").count() == 1


def test_arrow_keys_choose_an_example(opened):
    page = opened("dense")
    rows = [example.row for example in explained("dense").examples]

    def shown():
        return int(page.locator("#h-example").inner_text().split()[-1])

    for key, place in [("ArrowRight", 1), ("ArrowRight", 2), ("ArrowRight", 2), ("ArrowLeft", 1)]:
        page.keyboard.press(key)
        assert shown() == rows[place]
    page.locator("#grid [aria-current]").focus()
    for key, place in [("End", 2), ("Home", 0), ("ArrowRight", 1)]:
        page.keyboard.press(key)
        assert shown() == rows[place]
        assert page.evaluate("document.activeElement.getAttribute('aria-current')") == "true"
    page.locator("#next").click()
    assert shown() == rows[2]
    assert page.evaluate("document.activeElement.id") == "next"


def test_keys_of_other_controls_stay_theirs(opened):
    page = opened("dense")
    before = page.locator("#h-example").inner_text()
    page.locator("#outputs input").first.focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#h-example").inner_text() == before
    assert page.locator("#outputs input").nth(1).is_checked()


def test_the_address_chooses_an_example(opened):
    row = explained("dense").examples[1].row
    page = opened("dense", address=f"#{row}")
    assert page.locator("#h-example").inner_text() == f"Test example {row}"


def test_filters_of_examples(opened):
    page = opened("dense")
    examples = explained("dense").examples
    wrong = [e.row for e in examples if e.predicted != e.label]
    page.locator("#wrong").check()
    assert page.locator("#grid button:visible").count() == len(wrong)
    page.locator("#wrong").uncheck()
    label = examples[1].label
    page.locator("#class").select_option(str(label))
    same = [e.row for e in examples if e.label == label]
    assert page.locator("#grid button:visible").count() == len(same)
    assert page.locator("#h-example").inner_text() == f"Test example {same[0]}"
    assert page.locator("#shown").inner_text().startswith(f"{len(same)} of {len(examples)}")


def test_the_other_output(opened):
    page = opened("convolutional")
    output = page_data(explained("convolutional"))["examples"][0]["outputs"][1]
    page.locator("#outputs label").nth(1).click()
    unfold(page)
    totals = numbers(page, "#layers td.number strong")
    assert totals == pytest.approx([output["total"]] * len(totals), rel=1e-4)
    first = output["paths"]["input"]["list"][0]["part"]
    assert number(page.locator(".list button span").first.inner_text()) == pytest.approx(
        first, rel=6e-3
    )


def test_a_channel_tells_more(opened):
    page = opened("convolutional")
    unit = page.locator("#gates .layer").first.locator(".unit").first
    unit.click()
    assert unit.get_attribute("aria-pressed") == "true"
    about = page.locator("#gates .layer").first.locator(".about")
    assert "Every gate of the channel has this filter of 3 × 3 pixels" in about.inner_text()
    data = page_data(explained("convolutional"))
    channels = data["examples"][0]["outputs"][0]["layers"][0][-1]
    channel, _, _, _, q, _, distance = max(channels, key=lambda shown: abs(shown[1]))
    text = about.inner_text()
    said = re.search(r"is (\S+) away from switching it (on|off)", text)
    assert number(said[1]) == pytest.approx(abs(distance), rel=6e-3)
    assert said[2] == ("off" if q > 0 else "on")
    assert f"channel {channel}" in unit.inner_text(), "the one that matters most is first"
    rates = data["layers"][0]["rates"]
    shares = rates["percent"][rates["channels"].index(channel)]
    shown = about.locator(".rates").first.locator(".value").all_inner_texts()
    assert [int(share.removesuffix(" %")) for share in shown] == shares
    nearest = data["examples"][0]["gates"]["nearest"][0]
    summary = page.locator("#gates .layer summary").first.inner_text()
    assert number(re.search(r"at distance (\S+)", summary)[1]) == pytest.approx(nearest, rel=6e-2)
    unit.press("Enter")
    assert about.count() == 0


def test_a_path_multiplies_what_is_listed(opened):
    page = opened("dense")
    unfold(page)
    for place in (3, 0):
        button = page.locator(".list button").nth(place)
        button.click()
        assert button.get_attribute("aria-pressed") == "true"
        factors = numbers(page, ".chain li span:last-child")
        part = number(button.locator("span").first.inner_text())
        assert np.prod(factors) == pytest.approx(part, rel=0.03)
    page.locator("input[name=beginning]").nth(1).focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.value") == "anywhere"
    listed = page_data(explained("dense"))["examples"][0]["outputs"][0]["paths"]["anywhere"]["list"]
    parts = numbers(page, ".list button > span:first-child")
    assert parts == pytest.approx([path["part"] for path in listed], rel=6e-3)


def test_a_path_of_the_graph_is_clicked_and_lights_up(opened):
    page = opened("dense")
    unfold(page)
    hit = page.locator("#single .graph .hit[data-path='2']")
    hit.dispatch_event("pointerenter")
    lit = page.locator("#single .graph .line.lit")
    assert lit.count() == 1
    assert lit.get_attribute("d") == hit.get_attribute("d")
    hit.dispatch_event("pointerleave")
    assert page.locator("#single .graph .line.lit").get_attribute("d") != hit.get_attribute("d")
    where = page.evaluate(
        """() => {
          const line = document.querySelector("#single .graph .hit[data-path='0']");
          line.scrollIntoView({ block: "center" });
          const point = line.getPointAtLength(20).matrixTransform(line.getScreenCTM());
          return [point.x, point.y];
        }"""
    )
    page.mouse.click(*where)
    chosen = page.locator(".list button[aria-pressed=true]")
    assert chosen.count() == 1
    assert page.locator("#single .graph .line.lit").count() == 1


@pytest.mark.parametrize("name", ["dense", "convolutional"])
def test_groups_of_paths(opened, name):
    page, data = opened(name), page_data(explained(name))
    assert not page.locator("#paths").is_visible()
    for place, output in enumerate(data["examples"][0]["outputs"]):
        page.locator("#outputs label").nth(place).click()
        parts = [part for part, _ in output["groups"]["list"]]
        assert numbers(page, ".groups .plus, .groups .minus") == pytest.approx(parts, rel=6e-3)
        shares = [text.split(" %")[0] for text in page.locator(".groups strong").all_inner_texts()]
        assert [number(share) for share in shares] == pytest.approx(
            [100 * part / output["total"] for part in parts], rel=0.06
        )
        said = page.locator("#groups .sum-line").inner_text()
        assert ("they are the strongest there are" in said) == output["groups"]["proven"]
    tile = page.locator(".groups .unit").nth(1)
    tile.click()
    assert tile.get_attribute("aria-pressed") == "true"
    assert page.locator("#groups .line.lit").get_attribute("d") == page.locator(
        "#groups .hit[data-path='1']"
    ).get_attribute("d")


def test_planes(opened):
    page, data = opened("dense"), page_data(explained("dense"))
    drawn = [plane["example"] for plane in data["planes"]]
    other = next(i for i in range(len(data["examples"])) if i not in drawn)
    page.locator("#grid button").nth(other).click()
    thumbs = page.locator("#plane .thumb")
    assert thumbs.count() == len(drawn)
    thumbs.first.click()
    row = data["examples"][drawn[0]]["row"]
    assert page.locator("#h-example").inner_text() == f"Test example {row}"
    plane = data["planes"][0]
    said = page.locator("#plane svg").get_attribute("aria-label")
    assert f"cut by {len(plane['lines'])} gates into {plane['cells']} cells" in said
    assert page.locator("#plane .pictures figure").count() == 3
    assert page.locator("#plane .keys li").count() == len(plane["tints"])
    page = opened("no filters")
    assert "only in a DLGN" in page.locator("#plane").inner_text()


def test_paths_beyond_float64(opened, tmp_path):
    found = explained("dense")
    example, output = found.examples[0], found.examples[0].outputs[0]
    first, *others = output.from_input.paths
    huge = dataclasses.replace(first, contribution=WholeNumber(-12345 * 10**400))
    sizes = WholeNumber(2 * 12345 * 10**400)
    top = dataclasses.replace(output.from_input, paths=(huge, *others), magnitude=sizes)
    output = dataclasses.replace(output, from_input=top, groups=None)
    example = dataclasses.replace(example, outputs=(output, *example.outputs[1:]))
    found = dataclasses.replace(found, examples=(example, *found.examples[1:]))
    page = opened(write_explorer(found, PageFacts("Huge", "", ()), tmp_path / "huge.html"))
    unfold(page)
    assert page.locator(".list button > span").first.inner_text() == "−1.23 · 10⁴⁰⁴"
    widths = page.locator("#single .line").evaluate_all(
        "l => l.map((one) => one.getAttribute('stroke-width'))"
    )
    assert "Of that sum these have 50 %" in page.locator("#paths").inner_text()
    assert sorted(map(float, widths)) == [0.8] * (len(widths) - 1) + [4]
    assert "beyond what double precision holds" in page.locator("#groups").inner_text()


@pytest.mark.parametrize("name", CASES)
def test_fits_the_window_in_both_schemes(opened, name):
    page = opened(name)
    for size, scheme in itertools.product((SCREEN, PHONE), ("light", "dark")):
        page.set_viewport_size({"width": size[0], "height": size[1]})
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        shot = np.array(Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("L"))
        assert shot.shape[1] == size[0]
        assert shot.shape[0] > size[1]
        background = np.median(shot)
        assert background > 240 if scheme == "light" else background < 40
        assert shot.std() > 5


@pytest.mark.parametrize("size", [PHONE, SCREEN])
def test_tab_reaches_everything_in_order(opened, size):
    page = opened("convolutional", size)
    wanted = [
        "#jump",
        "#boxes",
        "#class-choice",
        "#class-units",
        "#overview",
        "#class",
        "#predicted",
        "#order",
        "#wrong",
        "#grid",
        "#previous",
        "#outputs",
        "#drawing",
        "#layers",
        "#gates",
        "#groups",
        "#single",
    ]
    reached = []
    for _ in range(120):
        page.keyboard.press("Tab")
        inside = page.evaluate(
            """(wanted) => {
              const node = document.activeElement;
              const marked = [node, node.closest("label") ?? node];
              const seen = marked.some((one) => getComputedStyle(one).outlineStyle !== "none");
              return [wanted.findLast((one) => node.closest(one)) ?? null, seen];
            }""",
            wanted,
        )
        if inside[0] is None:
            continue
        assert inside[1], f"no visible focus in {inside[0]}"
        if inside[0] not in reached:
            reached.append(inside[0])
    assert reached == wanted


def test_everything_has_a_name(opened):
    page = opened("convolutional")
    unfold(page)
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, select, input, [tabindex], [role=img]")]
          .filter((node) => !(node.ariaLabel || node.innerText?.trim() || node.labels?.length))
          .map((node) => node.outerHTML.slice(0, 80))"""
    )
    assert nameless == []


def test_one_example(opened, tmp_path):
    found = explained("dense")
    one = dataclasses.replace(found, examples=found.examples[:1], machine=None, planes=())
    page = opened(write_explorer(one, PageFacts("One", "", ()), tmp_path / "one.html"))
    assert not page.locator("#choice").is_visible()
    assert not page.locator("#next").is_visible()
    page.keyboard.press("ArrowRight")
    assert page.locator("#h-example").inner_text() == f"Test example {found.examples[0].row}"
    assert "no kernel machine" in page.locator("#training").inner_text()


NETWORK = "#class-units"


def means(data, layer, place, i, j=None):
    """Mean over class i's examples of what a unit adds to its logit (less j's), and over others."""
    counts = data["network"]["counts"]
    k, units = len(counts), data["layers"][layer]["units"]
    table = np.array(units["parts"][place]).reshape(k, k) * units["step"]
    if j is not None:
        return table[i, i] - table[i, j], table[j, i] - table[j, j]
    others = [row for row in range(k) if row != i]
    return table[i, i], np.average(table[others, i], weights=[counts[o] for o in others])


def test_a_class_and_the_difference_of_two(opened):
    page, data = opened("dense"), page_data(explained("dense"))
    for other in (None, 2):
        page.locator("#one-class").select_option("1")
        page.locator("#other-class").select_option("" if other is None else str(other))
        for layer, its in enumerate(data["layers"]):
            box = page.locator(f"{NETWORK} .layer").nth(layer)
            found = [means(data, layer, u, 1, other) for u in range(len(its["units"]["channels"]))]
            found.sort(key=lambda pair: pair[1] - pair[0])
            shown = [number(t) for t in box.locator(".unit .plus, .unit .minus").all_inner_texts()]
            assert shown == pytest.approx([own for own, _ in found], rel=0.06, abs=1e-4)
    said = page.locator(f"{NETWORK} p").first.inner_text()
    logits = np.array(data["network"]["logits"])
    assert number(re.search(r"on average (\S+);", said)[1]) == pytest.approx(
        logits[1, 1] - logits[1, 2], rel=6e-3
    )
    page.locator("#other-class").select_option("1")
    assert page.locator("#other-class").input_value() == "", "a class less itself is nothing"


def test_a_unit_over_all_examples(opened):
    page, data = opened("dense"), page_data(explained("dense"))
    page.locator(f"{NETWORK} .layer").nth(1).locator(".unit").first.click()
    about = page.locator(f"{NETWORK} .about")
    units = data["layers"][1]["units"]
    channel = int(re.search(r"gate 2, unit (\d+)", about.inner_text())[1])
    place = units["channels"].index(channel)
    assert f"explain {units['reading']['percent'][place]} % of the variance" in about.inner_text()
    own = about.locator(".shares .plus, .shares .minus").all_inner_texts()
    wanted = [means(data, 1, place, i)[0] for i in range(3)]
    assert [number(text) for text in own] == pytest.approx(wanted, rel=0.06, abs=1e-4)
    before, part = units["before"][place][0]
    first = about.locator(".neighbour").first
    assert first.inner_text().split()[0] == str(before)
    assert number(first.inner_text().split()[1]) == pytest.approx(part, rel=0.06)
    thumb = about.locator(".thumb").first
    row = data["examples"][units["opens"][place][0]]["row"]
    first.click()
    assert f"gate 1, unit {before}" in about.inner_text()
    page.locator(f"{NETWORK} .layer").nth(1).locator(".unit").nth(1).click()
    page.locator(f"{NETWORK} .layer").nth(1).locator(".unit").first.click()
    thumb.click()
    assert page.locator("#h-example").inner_text() == f"Test example {row}"


def test_boxes_matrix_map_and_order(opened):
    page, data = opened("convolutional"), page_data(explained("convolutional"))
    boxes = page.locator("#boxes .network-box")
    assert "Conv2d 0" in boxes.nth(1).inner_text()
    assert boxes.count() == 2 + len(data["boxes"]) <= 10
    boxes.nth(2).click()
    assert page.evaluate("document.activeElement.textContent").startswith("gate 2")
    cells = {(i, j): n for i, j, n in data["network"]["confusion"]}
    assert sorted(map(int, page.locator(".confusion button").all_inner_texts())) == sorted(
        cells.values()
    )
    example = data["examples"][1]
    pair = (example["label"], example["outputs"][0]["output"])
    name = "{} of {} taken for {}".format(cells[pair], *(data["classes"][c] for c in pair))
    page.get_by_role("button", name=name, exact=True).click()
    same = [e for e in data["examples"] if (e["label"], e["outputs"][0]["output"]) == pair]
    assert page.locator("#grid button:visible").count() == len(same)
    page.locator("#predicted").select_option("")
    page.locator("#class").select_option("")
    margins = [
        e["logits"][e["label"]] - max(v for i, v in enumerate(e["logits"]) if i != e["label"])
        for e in data["examples"]
    ]
    page.locator("#order").select_option("least")
    first = page.locator("#grid button").first.get_attribute("aria-label")
    assert first.startswith(f"Example {data['examples'][int(np.argmin(margins))]['row']}:")
    page.locator(".map [data-example='2']").click()
    assert page.locator("#h-example").inner_text() == f"Test example {data['examples'][2]['row']}"
    assert page.locator(".map .current").count() == 1


def test_what_is_empty_says_so(opened):
    page, examples = opened("dense"), explained("dense").examples
    pairs = {(e.label, e.predicted) for e in examples}
    label, other = next(p for p in itertools.product(range(3), repeat=2) if p not in pairs)
    page.locator("#class").select_option(str(label))
    page.locator("#predicted").select_option(str(other))
    assert page.locator("#grid button:visible").count() == 0
    assert "none on this page is such" in page.locator("#shown").inner_text()


def test_without_scripts(browser, written):
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(written["dense"].as_uri())
    assert "your browser runs none" in page.locator("header").inner_text()
    assert not page.locator("main").is_visible()
    page.context.close()


def test_the_difference_is_what_decides(opened):
    page = opened("dense")
    first, second, lead = page_data(explained("dense"))["examples"][0]["outputs"]
    page.locator("#outputs label").nth(2).click()
    unfold(page)
    totals = numbers(page, "#layers td.number strong")
    assert totals == pytest.approx([first["total"] - second["total"]] * 2, rel=1e-4)
    parts = numbers(page, ".list button > span:first-child")
    both = [path["part"] for path in first["paths"]["input"]["list"]]
    both += [-path["part"] for path in second["paths"]["input"]["list"]]
    both.sort(key=lambda part: -abs(part))
    assert parts == pytest.approx(both[: len(parts)], rel=6e-3)
    subtracted = next(i for i, (to, _) in enumerate(lead["paths"]["input"]["list"]) if to == 1)
    page.locator(".list button").nth(subtracted).click()
    assert "which is subtracted" in page.locator(".chain").inner_text()
    factors = numbers(page, ".chain li span:last-child")
    assert np.prod(factors) == pytest.approx(parts[subtracted], rel=0.03)
    page.locator("#next").click()
    assert page.locator("#outputs input").nth(2).is_checked(), "it stays chosen"
