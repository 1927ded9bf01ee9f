"""What `explain` and `explore` share: a run as a network, and the page about it.

- A run of any kind becomes the network that was trained: its logits are those of the parameters
  kept, with permuted gates too.
- Refused, in one line that says how to mend it: no run, a folder of runs, an unfinished or diverged
  run, a kind that cannot be told, other data, a page that is a folder.
- The page says where it is from; what is missing is said on standard error too.
"""

import dataclasses
import json
import re
import shutil
import types

import pytest
import torch
from safetensors.torch import load_file

from dualview.cli.explaining import TerminalWatcher, load_run, page_facts, page_path, write_page
from dualview.errors import RunError
from dualview.experiments import records
from dualview.experiments.networks import accuracy
from dualview.experiments.records import load_record, save_record
from dualview.experiments.run_folders import CONFIG, RECORD
from dualview.explorer.explanations.explain import explain
from dualview.primal.filters import primal_filters
from dualview.training import SettingsError

from .explored import train

KINDS = ("dnn", "dgn", "dlgn", "dlgn-ones", "dlgn-sf")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return train(tmp_path_factory.mktemp("runs"), *KINDS)


@pytest.fixture
def run(runs, tmp_path):
    """A copy of one run, to be spoilt."""
    return shutil.copytree(runs / "dlgn-seed0", tmp_path / "run")


def options(folder, **changes):
    chosen = {
        "run_folder": str(folder),
        "data": "digits",
        "validation": 0.1,
        "test": 0.2,
        "image_column": None,
        "label_column": None,
        "subset": None,
        "cache": True,
        "train": 0,
        "split": "test",
        "machine_gates": None,
        **changes,
    }
    return types.SimpleNamespace(**chosen)


@pytest.mark.parametrize("kind", KINDS)
def test_the_network_that_was_trained(runs, kind):
    loaded = load_run(options(runs / f"{kind}-seed0"))
    assert accuracy(loaded.net, loaded.data) == loaded.record.test_accuracy
    assert not loaded.net.training
    assert loaded.net.kind == kind.removesuffix("-ones")
    if kind.startswith("dlgn"):
        assert primal_filters(loaded.net, 0).input_shape == loaded.data.input_shape


def test_parameters_are_those_kept(run):
    kept = load_file(run / "model.safetensors")
    state = load_run(options(run)).net.state_dict()
    assert kept
    assert all(state[name].equal(values) for name, values in kept.items())


def test_permuted_gates(run):
    config = json.loads((run / CONFIG).read_text())
    order = [1, 0, 2, 4, 3]
    (run / CONFIG).write_text(json.dumps({**config, "gate_order": order}))
    permuted, plain = load_run(options(run)).net, load_run(options(run)).net
    plain.gate_order = tuple(range(5))
    x = torch.randn(1, 1, 8, 8)
    assert permuted.gate_order == tuple(order)
    assert permuted.gates(x)[0].equal(plain.gates(x)[1])


def test_no_run(tmp_path):
    with pytest.raises(RunError, match=r"expected the folder of a finished run.*no record.json"):
        load_run(options(tmp_path))


def test_folder_of_runs(runs):
    with pytest.raises(RunError, match=r"give one of the runs in it, such as .*/dlgn-seed0"):
        load_run(options(runs))


def test_diverged(run):
    record = load_record(run / RECORD)
    save_record(dataclasses.replace(record, status="diverged", message="loss nan"), run / RECORD)
    with pytest.raises(RunError, match=r"the run diverged \(loss nan\).*give a run that finished"):
        load_run(options(run))


def test_without_parameters(run):
    (run / "model.safetensors").unlink()
    with pytest.raises(RunError, match=r"no model.safetensors"):
        load_run(options(run))


def test_unknown_kind(run):
    config = json.loads((run / CONFIG).read_text())
    (run / CONFIG).write_text(json.dumps({**config, "kind": "dnn-wide"}))
    with pytest.raises(SettingsError, match="dnn-wide"):
        load_run(options(run))


def test_other_data(run):
    with pytest.raises(RunError, match=r"trained on other data \(digits\).*--validation"):
        load_run(options(run, test=0.3))


def test_negative_train(run):
    with pytest.raises(SettingsError, match="train"):
        load_run(options(run, train=-1))


@pytest.mark.parametrize("out", [".", "page.json", "page"])
def test_no_page(out):
    with pytest.raises(SettingsError, match=re.escape(f"got {out}")):
        page_path(out)


def test_the_page_says_where_it_is_from(runs, tmp_path, capsys, monkeypatch):
    made = records.provenance("cpu")  # the time is told to the second
    monkeypatch.setattr(records, "provenance", lambda device: made)
    loaded = load_run(options(runs / "dgn-seed0"))
    found = explain(loaded.net, loaded.data, [1, 4], n_train=0)
    assert write_page(loaded, found, "dualview explain …", tmp_path / "page.html") == 0
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    out, err = capsys.readouterr()
    assert re.fullmatch(r"Page: .*/page.html \(0\.\d MB\)\n", out)
    assert err.count("dualview: note: ") == len(found.notes) == 2
    facts = dict(page_facts(loaded, found, "dualview explain …").facts)
    for value in facts.values():
        assert value.split('"')[0] in html
    assert facts["Examples"] == "2 of the 359 of the test split: rows 1, 4"
    assert facts["Command"] == "dualview explain …"
    assert loaded.record.config["data_fingerprint"] in facts["Data"]
    assert "2 of 359 test examples" in html


def test_too_large_a_page_is_named(runs, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("dualview.cli.explaining.MOST_BYTES", 10)
    loaded = load_run(options(runs / "dlgn-seed0"))
    write_page(loaded, explain(loaded.net, loaded.data, [1], n_train=0), "", tmp_path / "a.html")
    assert "slow to open" in capsys.readouterr().err


@pytest.mark.parametrize("terminal", [True, False])
def test_watcher(terminal, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal, raising=False)
    assert list(TerminalWatcher().over([1, 2, 3], "examples")) == [1, 2, 3]
    assert "examples" in capsys.readouterr().err
