"""The files of a saved network -> the network.

- It gives what the saved one gave, to the last bit, for kinds, gates and models of all sorts; and
  what NumPy computes from the file's bytes alone.
- Files that are missing, damaged, exchanged, links out of the folder, pipes or pickles; tensors
  that are missing, extra, mis-shaped, of another type or not finite: one error each. So are files
  made to harm, with a checksum that fits. Nothing in them is run.
"""

import json
import os
import pickle
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import dualview as dv
from dualview.conversion.promises import Kind
from dualview.conversion.sharing.config import CONFIG, config_to_json
from dualview.conversion.sharing.describing import saved_config
from dualview.conversion.sharing.loading import file_digest, folder_files, load_files
from dualview.conversion.sharing.saving import write_files
from dualview.errors import SavedNetworkError
from dualview.training import MODEL

from .saved import Net, change_config, change_tensors, own_net, small_c4gap, small_fc


def load(folder, model=None):
    return load_files(*folder_files(folder), model)


def round_trip(net, folder, model=None):
    write_files(net, saved_config(net), folder)
    return load(folder, model)


@pytest.mark.parametrize("kind", Kind.__args__)
def test_architectures(tmp_path, kind):
    net, x = small_c4gap(kind), torch.randn(3, 2, 6, 6, dtype=torch.float64)
    found = round_trip(net, tmp_path)
    assert torch.equal(found(x), net(x))
    assert all(map(torch.equal, found.preactivations(x), net.preactivations(x)))
    assert not found.training


@pytest.mark.parametrize(
    ("kind", "gate"),
    [("dnn", "own"), ("dgn", "own"), ("dgn", "hard"), ("dlgn", "own"), ("dlgn", "hard")],
)
def test_a_users_model(tmp_path, kind, gate):
    net, x = own_net(kind, gate=gate), torch.randn(3, 2, 5, 6, dtype=torch.float64)
    assert torch.equal(round_trip(net, tmp_path, Net())(x), net(x))


def test_shared_parameters_stay_shared(tmp_path):
    found = round_trip(small_fc("dnn"), tmp_path)
    names = {name for name, _ in found.named_parameters()}
    assert names == {name for name, _ in small_fc("dnn").named_parameters()}


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    net, folder = small_fc(), tmp_path_factory.mktemp("saved")
    write_files(net, saved_config(net), folder)
    return folder


@pytest.fixture
def folder(tmp_path, original):
    return shutil.copytree(original, tmp_path / "copy")


def tensors_by_hand(path):
    """The format, read by its description: a length, a JSON header, numbers."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header.pop("__metadata__", None)
    return {
        name: np.frombuffer(content[start:], dtype=np.float64)[
            entry["data_offsets"][0] // 8 : entry["data_offsets"][1] // 8
        ].reshape(entry["shape"])
        for name, entry in header.items()
    }


def test_against_numpy(folder):
    x = np.random.default_rng(0).normal(size=(6, 4))
    t = tensors_by_hand(folder / MODEL)
    q, z = x, x
    for layer in ("1", "3"):
        gating, weights = f"gating_network.{layer}", f"weights_network.{layer}"
        q = q @ t[f"{gating}.weight"].T + t[f"{gating}.bias"]
        z = (z @ t[f"{weights}.weight"].T + t[f"{weights}.bias"]) / (1 + np.exp(-4 * q))
    expected = z @ t["weights_network.5.weight"].T + t["weights_network.5.bias"]
    got = load(folder)(torch.from_numpy(x.reshape(6, 1, 2, 2))).detach().numpy()
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-13)


def refused(folder, match, model=None):
    with pytest.raises(SavedNetworkError, match=match):
        load(folder, model)


@pytest.mark.parametrize("name", [CONFIG, MODEL])
def test_missing_files(folder, name):
    (folder / name).unlink()
    refused(folder, f"found no {name}")
    (folder / name).mkdir()
    refused(folder, "expected a file, got a folder")
    (folder / name).rmdir()
    os.mkfifo(folder / name)  # reading it would wait for ever
    refused(folder, "expected a file, got a folder or device")


@pytest.mark.parametrize("name", [CONFIG, MODEL])
@pytest.mark.parametrize("target", ["../elsewhere", "/etc/hostname", "loop"])
def test_links_out_of_the_folder(folder, name, target):
    inside = folder / "inside"
    inside.mkdir()
    for path in (CONFIG, MODEL):
        shutil.copy(folder / path, inside)
    shutil.copy(folder / name, folder / "elsewhere")
    (inside / name).unlink()
    (inside / name).symlink_to(name if target == "loop" else target)
    refused(inside, "link to|found no")


def test_links_inside_the_folder(folder):
    (folder / MODEL).rename(folder / "weights")
    (folder / MODEL).symlink_to("weights")
    load(folder)


@pytest.mark.parametrize("position", [0, 3, 9, 60, -1])
def test_damage(folder, position):
    content = bytearray((folder / MODEL).read_bytes())
    content[position] ^= 4
    (folder / MODEL).write_bytes(content)
    refused(folder, "is damaged or belongs to another config")
    (folder / MODEL).write_bytes(content[:-1])
    refused(folder, "is damaged or belongs to another config")


def pickled(path):
    path.write_bytes(pickle.dumps(Harmful(path)))


def torch_pickled(path):
    torch.save(Harmful(path), path)


class Harmful:
    """Unpickled, it would leave a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path.parent / "harm"),)


@pytest.mark.parametrize("disguise", [pickled, torch_pickled])
def test_pickles_in_disguise(folder, disguise):
    disguise(folder / MODEL)
    change_config(folder, sha256=file_digest(folder / MODEL))
    refused(folder, "files of another format, such as pickles, are never loaded")
    assert not (folder / "harm").exists()


def without(tensors):
    del tensors["gating_network.1.bias"]


def with_more(tensors):
    tensors["weights_network.9.weight"] = torch.zeros(2, dtype=torch.float64)


def with_other_shape(tensors):
    tensors["gating_network.3.weight"] = torch.zeros(5, 6, dtype=torch.float64)


def with_other_type(tensors):
    tensors["gating_network.3.bias"] = torch.zeros(5)


def with_nan(tensors):
    tensors["weights_network.5.bias"][1] = torch.nan


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (without, "missing: gating_network.1.bias"),
        (with_more, "not in the network: weights_network.9.weight"),
        (with_other_shape, r"is \(5, 5\) in the network and \(5, 6\) in the file"),
        (with_other_type, "expected float64, as the config says, got F32"),
        (with_nan, "weights_network.5.bias: expected finite numbers"),
    ],
)
def test_unfit_tensors(folder, change, match):
    change_tensors(folder, change)
    refused(folder, match)


def test_another_architecture(folder):
    other = config_to_json(saved_config(small_c4gap()))
    change_config(folder, architecture=other["architecture"], example_shape=[2, 6, 6])
    refused(folder, "the parameter file holds|differs first in operation")
    change_config(folder, graph=other["graph"])
    refused(folder, "the parameter file holds|missing")


@pytest.mark.parametrize(
    ("entries", "match"),
    [
        ({"architecture": {"name": "os.system", "options": {}}}, "expected one of fc"),
        ({"architecture": {"name": "../../fc", "options": {}}}, "expected one of fc"),
        ({"architecture": {"name": "fc", "options": {"width": 10**12}}}, "cannot be made"),
        ({"gate": {"name": "builtins.eval"}}, "gate: expected 'own' or one of"),
        ({"gate": {"name": "own"}}, "differs first in operation"),
        ({"kind": "dgn"}, "differs first in operation"),
        ({"model": "system", "architecture": None}, "files never bring code"),
        ({"model": "os.system", "architecture": None}, "model: expected the name of a class"),
        ({"weights_file": "../../model.bin"}, "got 'weights_file' too"),
        ({"auto_map": {"AutoModel": "evil.Net"}}, "got 'auto_map' too"),
        ({"dtype": "float32"}, "expected float32, as the config says, got F64"),
        ({"dtype": "__class__"}, "dtype: expected one of float64"),
        ({"example_shape": [10**6, 10**6]}, "example_shape"),
        ({"gate_order": [1, 1]}, "permutation"),
        ({"sha256": ...}, "sha256: expected a checksum"),
    ],
)
def test_configs_made_to_harm(folder, entries, match):
    change_config(folder, **entries)
    refused(folder, match)


def test_declared_sizes(folder):
    save_file({"a": torch.zeros(2)}, folder / MODEL)
    content = (folder / MODEL).read_bytes().replace(b"[2]", b"[9]")
    (folder / MODEL).write_bytes(content)
    change_config(folder, sha256=file_digest(folder / MODEL))
    refused(folder, "expected a safetensors file")


def test_another_model(tmp_path):
    write_files(own_net(), saved_config(own_net()), tmp_path)
    refused(tmp_path, r"from_pretrained\(\.\.\., model=")
    refused(tmp_path, "differs first in operation", Net(kernel=1))
    load(tmp_path, Net())


def test_a_model_may_stand_for_an_architecture(folder):
    model = dv.architectures.fc(3, (1, 2, 2), width=5, depth=3)
    x = torch.randn(2, 1, 2, 2, dtype=torch.float64)
    assert torch.equal(load(folder, model)(x), load(folder)(x))
