"""The page of benchmarks.

- The committed page is what the committed records give; their commands name no folder of a machine.
- Each script of the page runs, at tiny size, and leaves a record; every figure stands on the page,
  with its claim, the machine and the load. A script without a record is named as not measured.
- A record under a wrong name is refused.
"""

import importlib
import math
import re
from types import SimpleNamespace

import page
import pytest
import torch
from measurement import BenchmarkRecord, Measurement, read_record, shown

from dualview.architectures import c4gap, fc, resnet20
from dualview.errors import RunError

SMALL = {
    "FC 784-1000x5-10": lambda: fc(width=3, depth=2, input_shape=(1, 28, 28)),
    "C4GAP 4x128": lambda: c4gap(width=2),
    "C4GAP 64-64-128-128": lambda: c4gap(width=2),
}


def no_process(*_):
    """In place of a figure that a process of its own measures."""
    return 1.0


def no_memory(*of):
    return Measurement(str(of), "memory", 1.0, "MB", 1, at_most=500.0)


def no_job(name):
    taken = dict.fromkeys(("seconds", "processor", "megabytes", "page"), 1.0)
    return SimpleNamespace(**taken, gates=1.0, counted=1.0, limit=1.0)


def no_calls(kind, size):
    return [{"name": "npk", "held": 1.0, "said": "", "died": "", "seconds": 1.0}]


SIZES = {
    "conversion": (
        ["--rounds", "1"],
        {"NETWORKS": {"FC": (lambda: (fc(width=3, depth=2), torch.randn(2, 1, 28, 28)), 9.0, 1)}},
    ),
    "train_step": (
        ["--rounds", "1", "--width", "2", "--batch", "2"],
        {"memory_in_new_process": no_process},
    ),
    "training_speed": (
        [
            *("--rounds", "1", "--width", "1", "--batch", "2", "--no-compile"),
            *("--threads", str(torch.get_num_threads())),
        ],
        {"PRODUCT": 32},
    ),
    "path_kernel": (
        ["--quick"],
        {
            "MODELS": {name: SMALL[name] for name in SMALL if "4x128" not in name},
            "FC_EXAMPLES": 100,
            "IMAGE": (3, 4, 4),
            "AT_SIZE": {"ResNet-18, 224x224": lambda: resnet20(width=1)},
            "SIZE": 32,
            "memory_in_new_process": no_memory,
            "output_of_new_process": lambda *_, **__: "1.0",
        },
    ),
    "kernel_machine": (
        [
            *("--data", "digits", "--seeds", "2", "--epochs", "1", "--width", "2"),
            *("--features", "8", "--threads", str(torch.get_num_threads())),
        ],
        {"SIZES": (20, 40), "N_TEST": 30, "HIDDEN": 4},
    ),
    "explain": (
        ["--quick"],
        {
            "MODELS": {
                **SMALL,
                "ResNet-20": lambda: resnet20(width=1),
                "ResNet-110": lambda: resnet20(width=1),
            },
            "SEARCHED": ("FC 784-1000x5-10",),
            "IMAGE": (3, 12, 12),
            "memory_in_new_process": no_memory,
        },
    ),
    "at_size": ([], {"in_new_process": no_job}),
    "memory_bound": ([], {"in_new_process": no_calls}),
    "loader": (
        ["--repeats", "1", "--data", "digits", "--threads", str(torch.get_num_threads())],
        {},
    ),
    "import_time": (["--rounds", "2"], {"seconds_of": no_process}),
    "soak": (["--runs", "1", "--warm-up", "0"], {}),
}
"""Script -> options, and what stands in for what is large."""


def test_the_committed_page_is_what_the_records_give():
    records = page.read()
    assert page.PAGE.read_text(encoding="utf-8") == page.page(records)
    for record in records.values():
        assert not any(word.startswith("/") for word in record.options)


@pytest.mark.parametrize("name", page.TITLES)
def test_every_script_leaves_a_record(name, tmp_path, monkeypatch, capsys):
    script = importlib.import_module(name)
    options, small = SIZES[name]
    for attribute, value in small.items():
        monkeypatch.setattr(script, attribute, value)
    path = tmp_path / f"{name}.json"
    monkeypatch.setattr("sys.argv", [f"{name}.py", *options, "--json", str(path)])
    monkeypatch.setenv("DUALVIEW_CACHE", str(tmp_path))
    script.main()
    record = page.read(tmp_path)[name]
    assert record.options == tuple(options)
    assert script.__doc__.startswith("Claim: ")
    assert any(m.claim for m in record.measurements)
    assert len(capsys.readouterr().out.splitlines()) == 1 + len(record.measurements)
    check_page(record)


def check_page(record: BenchmarkRecord):
    text = page.page({record.name: record})
    start = text.index(f"## {page.TITLES[record.name]}\n")
    section = text[start:].split("\n## ")[0]
    assert record.claim in section
    assert "| Of | Quantity | Measured | n | Claim |\n| --- | --- | ---: | ---: | --- |" in section
    for m in record.measurements:
        assert math.isfinite(m.value)
        assert m.n >= 1
        assert f"| {m.subject} | {m.quantity} | {shown(m.value)}" in section
        assert m.claim in section
    assert record.provenance.machine in section
    assert f"load {record.load:.2f}" in section
    assert text.count(page.NOT_MEASURED) == len(page.TITLES) - 1


def test_every_script_is_on_the_make_line():
    makefile = (page.ROOT / "Makefile").read_text()
    assert re.search(r"for name in ([\w ]+);", makefile)[1].split() == list(page.TITLES)


def test_a_record_under_a_wrong_name(tmp_path, monkeypatch):
    import_time = importlib.import_module("import_time")
    monkeypatch.setattr(import_time, "seconds_of", no_process)
    path = tmp_path / "loader.json"
    monkeypatch.setattr("sys.argv", ["import_time.py", "--json", str(path)])
    import_time.main()
    assert read_record(path).name == "import_time"
    with pytest.raises(RunError, match=r"loader\.json: expected .*got that of 'import_time'"):
        page.read(tmp_path)
