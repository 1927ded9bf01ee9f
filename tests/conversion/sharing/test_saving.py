"""A network -> its files.

- Two files, whole; saving again replaces an earlier state.
- A folder with something else in it stays as it is: a run, another network, parameters of unknown
  origin; a file; a folder that cannot be written to.
"""

import json

import pytest
import torch

from dualview.conversion.sharing.config import CONFIG, read_config
from dualview.conversion.sharing.describing import saved_config
from dualview.conversion.sharing.loading import file_digest
from dualview.conversion.sharing.saving import check_target, write_files
from dualview.errors import SavedNetworkError
from dualview.training import MODEL

from .saved import small_fc


def save(net, folder):
    config = saved_config(net)
    check_target(folder, config)
    write_files(net, config, folder)


def test_files(tmp_path):
    net = small_fc()
    save(net, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [CONFIG, MODEL]
    assert read_config(tmp_path / CONFIG).sha256 == file_digest(tmp_path / MODEL)


def test_an_earlier_state_is_replaced(tmp_path):
    net = small_fc()
    save(net, tmp_path)
    before = read_config(tmp_path / CONFIG)
    with torch.no_grad():
        net.weights_network.get_submodule("1").weight += 1
    save(net, tmp_path)
    after = read_config(tmp_path / CONFIG)
    assert after.sha256 != before.sha256
    assert after.graph == before.graph


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def refused(folder, match):
    before = content(folder)
    with pytest.raises(SavedNetworkError, match=match):
        save(small_fc(), folder)
    assert content(folder) == before


@pytest.mark.parametrize("other", [small_fc("dgn"), small_fc("dlgn", gate="hard")])
def test_another_network(tmp_path, other):
    save(other, tmp_path)
    refused(tmp_path, "holds another network, a d")


def test_a_run(tmp_path):
    (tmp_path / CONFIG).write_text(json.dumps({"arch": "fc", "seed": 0}))
    (tmp_path / MODEL).write_bytes(b"trained")
    refused(tmp_path, "something else, which stays")


def test_parameters_of_unknown_origin(tmp_path):
    (tmp_path / MODEL).write_bytes(b"trained")
    refused(tmp_path, f"holds {MODEL} without {CONFIG}")


def test_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SavedNetworkError, match="expected a folder to write to, got a file"):
        save(small_fc(), tmp_path / "file")


def test_no_folder(tmp_path):
    net = small_fc()
    with pytest.raises(SavedNetworkError, match="expected a folder to write to"):
        write_files(net, saved_config(net), tmp_path / "none")
