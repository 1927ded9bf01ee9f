"""Properties proved here.

1. The table's numbers, and the headline's, are those of `summarise`; the runs' numbers are the
   records'.
2. The file stands alone: balanced HTML, no reference that leaves it, no script; ids are unique.
3. Hostile strings in any field of a record come out as text.
4. The same records, in whatever order, give the same bytes.
5. One seed: no ± anywhere in the result. No DNN: recovered is "–" and the page says why. Diverged
   runs are named with their reason; if all diverged, the page says that there is no result.
6. No records: a clear error, and no file. An unknown kind and a run told twice: refused.
7. Several settings have a section, a headline and figures each; further sections are set in.
8. Provenance and options: every value is there, values that differ one by one.
9. Chromium, where it is installed, draws the page, narrow and wide, in the kinds' colours.
"""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from dataclasses import fields, replace

import pytest

from dualview.errors import RunError
from dualview.experiments.report import headline, report_page, write_report
from dualview.experiments.summary import kind_name, percent, summarise
from dualview.pages.page import Prose, Section, render
from tests.html_reading import ReadPage
from tests.record_cases import KINDS, comparison, diverged, run_record

HOSTILE = "<script>alert(1)</script><img src=https://example.org/x>\"'&{{ 7 * 7 }}"


def _read(records, **options) -> ReadPage:
    return ReadPage(render(report_page(records, "A title", **options)))


def _plain(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ")


@pytest.fixture(scope="module")
def records():
    found = comparison()
    found[-1] = diverged(found[-1], message="the loss of epoch 4 is nan; lower the learning rate")
    return found


@pytest.fixture(scope="module")
def read(records):
    return _read(records)


def test_table_is_the_summary(records, read):
    header, *rows = read.tables[0]
    assert header[:4] == ["Network", "Test accuracy, %", "Recovered, %", "Max over epochs, %"]
    summary = summarise(records)
    assert len(rows) == len(summary) == len(KINDS)
    for cells, row in zip(rows, summary, strict=True):
        runs = f"{row.n} ({row.n_diverged} diverged)" if row.n_diverged else str(row.n)
        assert cells == [
            kind_name(row.kind),
            percent(row.accuracy_mean, row.accuracy_sd),
            percent(row.recovered_mean, row.recovered_sd),
            percent(row.max_accuracy_mean, None),
            f"{row.parameters:,}",
            f"{row.seconds_mean:.1f}",
            runs,
        ]


def test_headline_is_the_summary(records, read):
    row = next(row for row in summarise(records) if row.kind == "dlgn")
    assert _plain(read.texts["h1"][0]) == (
        f"DLGN reaches {percent(row.recovered_mean, row.recovered_sd)} % of the DNN’s accuracy on "
        f"digits (3 seeds)"
    )


def test_runs_table_is_the_records(records, read):
    _, *rows = read.tables[1]
    assert len(rows) == len(records)
    for cells, record in zip(rows, records, strict=True):
        assert cells[:4] == [
            kind_name(record.kind),
            str(record.seed),
            percent(record.test_accuracy, None),
            percent(record.max_test_accuracy_over_epochs, None),
        ]
        assert cells[4:6] == [record.status, f"{len(record.curve)} of 6"]


def test_file_stands_alone(records, tmp_path):
    path = write_report(records, tmp_path / "report.html")
    text = path.read_text(encoding="utf-8")
    read = ReadPage(text)
    assert read.references
    assert all(reference.startswith(("#", "data:")) for reference in read.references)
    assert {reference.removeprefix("#") for reference in read.references} <= set(read.ids)
    assert len(set(read.ids)) == len(read.ids)
    assert set(re.findall(r"url\(([^)]*)\)", text)) <= {f"#{anchor}" for anchor in read.ids}
    assert "script" not in read.tags
    outside = set(re.findall(r"https?://[^\s\"'<]+", text))
    assert outside == {"http://www.w3.org/2000/svg"}  # a namespace: nothing fetches it
    assert len(text) < 300_000


def test_hostile_strings_are_text(tmp_path):
    record = run_record()
    texts = {
        field.name: HOSTILE
        for field in fields(record)
        if isinstance(getattr(record, field.name), str) and field.name not in ("kind", "status")
    }
    provenance = type(record.provenance)(*[HOSTILE] * len(fields(record.provenance)))
    bad = replace(record, **texts, provenance=provenance, config={HOSTILE: HOSTILE})
    broken = diverged(replace(bad, seed=1), message=HOSTILE)
    read = ReadPage(write_report([bad, broken], tmp_path / "r.html", HOSTILE).read_text("utf-8"))
    assert not {"script", "img"} & set(read.tags)
    assert not any(name.startswith("on") for name, _ in read.attributes)
    assert all(reference.startswith("#") for reference in read.references)
    assert HOSTILE in read.texts["title"][0]
    assert HOSTILE in read.texts["h1"][0]
    assert read.texts["dd"].count(HOSTILE) == 9 + 1  # each fact but the examples; the option
    assert any(HOSTILE in item for item in read.texts["li"])


def test_same_records_same_bytes(records, tmp_path):
    first = write_report(records, tmp_path / "first.html").read_bytes()
    shuffled = list(records)
    random.Random(0).shuffle(shuffled)
    assert write_report(shuffled, tmp_path / "second.html").read_bytes() == first
    assert write_report(records, tmp_path / "first.html").read_bytes() == first


def test_one_seed_has_no_deviation():
    read = _read(comparison(seeds=1))
    assert "±" not in read.texts["body"][0]
    assert "nothing is known of the spread" in read.texts["body"][0]
    assert read.texts["h1"][0].endswith("(1 seed)")


def test_without_a_dnn():
    records = comparison(kinds=KINDS[1:])
    read = _read(records)
    assert [row[2] for row in read.tables[0][1:]] == ["–"] * 3
    assert "Recovered accuracy" not in read.texts["h2"]
    assert "it needs a DNN that finished with the same seed" in read.texts["main"][0]
    dlgn = next(row for row in summarise(records) if row.kind == "dlgn")
    expected = f"DLGN reaches {percent(dlgn.accuracy_mean, dlgn.accuracy_sd)} % test accuracy"
    assert _plain(read.texts["h1"][0]).startswith(expected)


def test_with_a_dnn_nothing_needs_explaining(read):
    assert "it needs a DNN that finished" not in read.texts["main"][0]
    assert "Recovered accuracy" in read.texts["h2"]


@pytest.mark.parametrize(
    ("kinds", "start"),
    [
        (("dnn",), "DNN reaches"),
        (("dnn", "dgn"), "DGN reaches"),
        (("dnn", "dgn", "dlgn-ones"), "DLGN, ones reaches"),
        (("dnn", "dlgn-sf"), "DLGN-SF reaches"),
    ],
)
def test_headline_takes_the_most_telling_kind(kinds, start):
    assert headline(comparison(kinds)).startswith(start)


def test_diverged_runs_are_stated(records, read):
    (item,) = (text for text in read.texts["li"] if "seed" in text)
    assert item == f"DLGN, ones, seed 2, after 3 complete epochs: {records[-1].message}"
    assert "1 run diverged and is in no mean" in read.texts["main"][0]
    assert "12 runs of 6 epochs: 1 diverged." in read.texts["header"][0]
    assert "a run that diverged" in read.texts["main"][0]


def test_without_divergence_none_is_mentioned():
    read = _read(comparison())
    assert "diverged" not in read.texts["body"][0]
    assert "12 runs of 6 epochs: all finished." in read.texts["header"][0]


@pytest.mark.parametrize("epochs", [0, 3])
def test_all_diverged(epochs):
    read = _read([diverged(record, epochs) for record in comparison(kinds=("dnn", "dlgn"))])
    assert read.texts["h1"] == ["Every run on digits diverged, so there is no result"]
    assert ("Learning curves" in read.texts["h2"]) == (epochs > 0)
    assert all(row[1:4] == ["–"] * 3 for row in read.tables[0][1:])


def test_no_records_is_refused_and_writes_nothing(tmp_path):
    with pytest.raises(RunError, match=r"expected at least one run record.*got none"):
        write_report([], tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_unknown_kind_and_repeated_run_are_refused(tmp_path):
    with pytest.raises(RunError, match="'cnn'"):
        write_report([run_record("cnn")], tmp_path / "report.html")
    with pytest.raises(RunError, match="two of 'dlgn' with seed 0"):
        write_report([run_record(), run_record()], tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_settings_have_sections_of_their_own():
    other = [replace(r, data="CIFAR-10", architecture="c4gap", width=None) for r in comparison()]
    read = _read([*comparison(), *other])
    assert read.texts["h2"][:2] == ["CIFAR-10, c4gap", "digits, fc of width 256"]
    assert len(read.tables) == 2 + 1
    assert read.tables[-1][0][1] == "Setting"
    assert "on CIFAR-10 (3 seeds)" in read.texts["h1"][0]
    assert any("on digits (3 seeds)" in text for text in read.texts["p"])
    assert len(set(read.ids)) == len(read.ids)
    assert read.tags.count("figure") == 2 * 3 + 1


def test_further_sections_are_set_in(records):
    section = Section("Theory", (Prose(("A theorem holds.",)),))
    read = _read(records, sections=(section,))
    titles = read.texts["h2"]
    assert titles.index("Theory") == titles.index("Learning curves") + 1
    assert "A theorem holds." in read.texts["p"]


def test_max_over_epochs_is_said_not_to_be_the_score(read):
    assert "Max over epochs is not the score" in read.texts["main"][0]


def test_parameters_are_compared(read):
    assert "train 2.0 times the DNN’s parameters" in read.texts["main"][0]
    alone = _read(comparison(kinds=("dlgn",))).texts["main"][0]
    assert "times the DNN’s parameters" not in alone


def test_kinds_are_explained(read):
    terms = " ".join(read.texts["h3"])
    for name in ("DNN", "DGN", "DLGN", "ones"):
        assert name in terms
    assert "DLGN-SF" not in terms
    shallow = " ".join(_read(comparison(kinds=("dnn", "dlgn-sf"))).texts["h3"])
    assert "DLGN-SF" in shallow


def test_provenance_and_options(records):
    first = records[0]
    changed = replace(first.provenance, commit="fedcba987654+changes", device="one GPU")
    mixed = [replace(first, provenance=changed, config={**first.config, "beta": 10}), *records[1:]]
    read = _read(mixed)
    facts = dict(zip(read.texts["dt"], read.texts["dd"], strict=True))
    assert facts["Commit"] == "fedcba987654 with uncommitted changes · 0123456789ab"
    assert facts["Device"] == "one GPU · cpu (2 threads)"
    assert facts["Examples"] == "1,297 to train, 140 to validate, 360 to test"
    assert facts["Finished"] == first.provenance.finished
    assert facts["beta"] == "10 · not set"
    assert facts["seed"] == "0 · 1 · 2"
    assert facts["augment"] == "no"


def test_no_commit_and_no_options():
    bare = run_record(config={}, provenance=replace(run_record().provenance, commit=""))
    read = _read([bare])
    facts = dict(zip(read.texts["dt"], read.texts["dd"], strict=True))
    assert facts["Commit"] == "none: the code did not run from a checkout"
    assert "The records name no options." in read.texts["p"]


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
@pytest.mark.parametrize("width", [500, 1280])
def test_chromium_draws_the_page(records, tmp_path, width):
    from PIL import Image

    page = write_report(records, tmp_path / "report.html")
    picture = tmp_path / "page.png"
    command = [
        str(CHROMIUM),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        f"--user-data-dir={tmp_path / 'profile'}",
        f"--window-size={width},3000",
        f"--screenshot={picture}",
        page.as_uri(),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    with Image.open(picture) as image:
        pixels = image.convert("RGB")
        assert pixels.width == width
        colours = {colour for _, colour in pixels.getcolors(maxcolors=1 << 24)}
    for drawn in ("#0a4fae", "#9f3009", "#3d4350"):  # DLGN, DGN and DNN in the light scheme
        assert tuple(int(drawn[i : i + 2], 16) for i in (1, 3, 5)) in colours
