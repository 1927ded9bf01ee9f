"""A run as a network.

- A run of any kind becomes the network that was trained: its logits are those of the parameters
  kept, with permuted gates too; data may be named, described or given.
- Refused, in one line that says how to mend it: no run, a folder of runs, an unfinished or diverged
  run, a kind that cannot be told, a damaged config, other data.
"""

import dataclasses
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from dualview.datasets import load
from dualview.errors import RunError
from dualview.experiments.finished import load_run
from dualview.experiments.records import load_record, save_record
from dualview.experiments.run_folders import CONFIG, RECORD
from dualview.experiments.settings import DataSettings
from dualview.primal.filters import primal_filters
from dualview.training import SettingsError
from dualview.training.accuracy import accuracy
from tests.cli.explored import train

KINDS = ("dnn", "dgn", "dlgn", "dlgn-ones", "dlgn-sf")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return train(tmp_path_factory.mktemp("runs"), *KINDS)


@pytest.fixture
def run(runs, tmp_path):
    """A copy of one run, to be spoilt."""
    return shutil.copytree(runs / "dlgn-seed0", tmp_path / "run")


@pytest.mark.parametrize("kind", KINDS)
def test_the_network_that_was_trained(runs, kind):
    loaded = load_run(runs / f"{kind}-seed0")
    assert accuracy(loaded.net, loaded.data) == loaded.record.test_accuracy
    assert not loaded.net.training
    assert loaded.net.kind == kind.removesuffix("-ones")
    if kind.startswith("dlgn"):
        assert primal_filters(loaded.net, 0).input_shape == loaded.data.input_shape


def test_parameters_are_those_kept(run):
    kept = load_file(run / "model.safetensors")
    state = load_run(run).net.state_dict()
    assert kept
    assert all(state[name].equal(values) for name, values in kept.items())


def test_permuted_gates(run):
    config = json.loads((run / CONFIG).read_text())
    order = [1, 0, 2, 4, 3]
    (run / CONFIG).write_text(json.dumps({**config, "gate_order": order}))
    permuted, plain = load_run(run).net, load_run(run).net
    plain.gate_order = tuple(range(5))
    x = torch.randn(1, 1, 8, 8)
    assert permuted.gate_order == tuple(order)
    assert permuted.gates(x)[0].equal(plain.gates(x)[1])


def test_no_run(tmp_path):
    with pytest.raises(RunError, match=r"expected the folder of a finished run.*no record.json"):
        load_run(tmp_path)


def test_folder_of_runs(runs):
    with pytest.raises(RunError, match=r"give one of the runs in it, such as .*/dlgn-seed0"):
        load_run(runs)


def test_diverged(run):
    record = load_record(run / RECORD)
    save_record(dataclasses.replace(record, status="diverged", message="loss nan"), run / RECORD)
    with pytest.raises(RunError, match=r"the run diverged \(loss nan\).*give a run that finished"):
        load_run(run)


def test_without_parameters(run):
    (run / "model.safetensors").unlink()
    with pytest.raises(RunError, match=r"no model.safetensors"):
        load_run(run)


def test_unknown_kind(run):
    config = json.loads((run / CONFIG).read_text())
    (run / CONFIG).write_text(json.dumps({**config, "kind": "dnn-wide"}))
    with pytest.raises(SettingsError, match="dnn-wide"):
        load_run(run)


def test_other_data(run):
    with pytest.raises(RunError, match=r"trained on other data \(digits\).*--validation"):
        load_run(run, DataSettings(test=0.3))


@pytest.mark.parametrize("data", [None, "digits", DataSettings(), load("digits")], ids=type)
def test_data_as_it_may_be_given(runs, data):
    loaded = load_run(str(runs / "dlgn-seed0"), data)
    assert accuracy(loaded.net, load("digits")) == loaded.record.test_accuracy


@pytest.mark.parametrize(
    ("text", "message"),
    [("[]", "expected JSON, cannot read it"), ("{}", "expected arch, width, .*found none")],
)
def test_damaged_config(run, text, message):
    (run / CONFIG).write_text(text)
    with pytest.raises(RunError, match=message):
        load_run(run)
