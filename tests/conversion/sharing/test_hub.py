"""A folder or the hub, without a connection.

- Folder: network, card and what it returns; a card of the user's own stays.
- Hub name: what the hub's library has kept is loaded, its size checked before it is parsed; pushing
  uploads the three files. Names that are neither, a hub that does not answer, damaged downloads,
  and a library that is missing give one clear error within seconds.
- Importing the package imports nothing of the hub.
"""

import importlib
import json
import sys
import time

import huggingface_hub
import pytest
import torch
from huggingface_hub import ModelCard

import dualview as dv
from dualview.conversion.sharing.config import MOST_BYTES
from dualview.conversion.sharing.hub import shared_network_class
from dualview.errors import MissingExtraError, SavedNetworkError
from dualview.training import MODEL

from .saved import Net, own_net, small_fc

NAME = "organisation/network"


def same(a, b):
    x = torch.randn(3, 1, 2, 2, dtype=torch.float64)
    return torch.equal(a(x), b(x))


def test_folder(tmp_path):
    net = small_fc()
    assert net.save_pretrained(tmp_path / "deep" / "folder") is None
    found = sorted(path.name for path in (tmp_path / "deep" / "folder").iterdir())
    assert found == ["README.md", "config.json", MODEL]
    assert same(dv.GatedNetwork.from_pretrained(tmp_path / "deep" / "folder"), net)
    assert same(dv.GatedNetwork.from_pretrained(str(tmp_path / "deep" / "folder")), net)


def test_card(tmp_path):
    small_fc().save_pretrained(tmp_path)
    card = ModelCard.load(tmp_path / "README.md")
    assert card.data.library_name == "dualview"
    assert {"dualview", "model_hub_mixin"} <= set(card.data.tags)
    assert "# fc, taken apart (dlgn)" in card.text
    (tmp_path / "README.md").write_text("mine")
    small_fc().save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"


def test_a_save_that_fails_leaves_the_earlier_state(tmp_path, monkeypatch):
    net = small_fc()
    net.save_pretrained(tmp_path)

    def full(*options):
        raise OSError("No space left on device")

    monkeypatch.setattr("dualview.conversion.sharing.saving.save_described", full)
    with pytest.raises(SavedNetworkError, match="No space left"):
        small_fc().save_pretrained(tmp_path)
    assert same(dv.GatedNetwork.from_pretrained(tmp_path), net)


def test_a_users_model(tmp_path):
    net = own_net()
    net.save_pretrained(tmp_path)
    found = dv.GatedNetwork.from_pretrained(tmp_path, model=Net())
    x = torch.randn(2, 2, 4, 4, dtype=torch.float64)
    assert torch.equal(found(x), net(x))
    found.save_pretrained(tmp_path)  # what was loaded is saved again, over itself
    with pytest.raises(SavedNetworkError, match="model="):
        dv.GatedNetwork.from_pretrained(tmp_path)


def kept(tmp_path, net):
    """A network as the hub's library keeps its downloads."""
    repo = tmp_path / f"models--{NAME.replace('/', '--')}"
    net.save_pretrained(repo / "snapshots" / "abc")
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("abc")
    return {"cache_dir": tmp_path, "local_files_only": True}, repo / "snapshots" / "abc"


def test_hub_name(tmp_path):
    net = small_fc()
    options, snapshot = kept(tmp_path, net)
    blob = tmp_path / "blob"
    (snapshot / MODEL).rename(blob)
    (snapshot / MODEL).symlink_to(blob)  # as the library links what it keeps
    assert same(dv.GatedNetwork.from_pretrained(NAME, **options), net)


@pytest.mark.parametrize("text", ["{", "[]", '{"net": 1, "model": 2}', "[" * 100_000])
def test_damaged_downloads(tmp_path, text):
    options, snapshot = kept(tmp_path, small_fc())
    (snapshot / "config.json").write_text(text)
    with pytest.raises(SavedNetworkError):
        dv.GatedNetwork.from_pretrained(NAME, **options)


def test_a_large_config_is_not_parsed(tmp_path, monkeypatch):
    options, snapshot = kept(tmp_path, small_fc())
    (snapshot / "config.json").write_text('"' + "a" * MOST_BYTES + '"')

    def parsed(*arguments, **more):
        raise AssertionError("parsed before its size was checked")

    for name in ("load", "loads"):
        monkeypatch.setattr(json, name, parsed)
    with pytest.raises(SavedNetworkError, match=f"at most {MOST_BYTES:,} bytes"):
        dv.GatedNetwork.from_pretrained(NAME, **options)


def test_offline(tmp_path, monkeypatch):
    with pytest.raises(SavedNetworkError, match="no such folder here, and the network cannot be"):
        dv.GatedNetwork.from_pretrained(NAME, cache_dir=tmp_path, local_files_only=True)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:1")
    start = time.monotonic()
    with pytest.raises(SavedNetworkError, match=r"no answer from the hub http://127\.0\.0\.1:1"):
        dv.GatedNetwork.from_pretrained(NAME, cache_dir=tmp_path)
    with pytest.raises(SavedNetworkError, match="no answer from the hub"):
        small_fc().save_pretrained(tmp_path / "net", repo_id=NAME, push_to_hub=True)
    assert time.monotonic() - start < 5
    assert not (tmp_path / "net").exists()


@pytest.mark.parametrize("name", ["no-such-folder", "../a/b", "/no/such/folder", "a/b/c", "a\0b"])
def test_neither_folder_nor_name(name):
    with pytest.raises(SavedNetworkError, match=r"or a hub name such as|name: expected a path"):
        dv.GatedNetwork.from_pretrained(name)


def test_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SavedNetworkError, match="got a file"):
        dv.GatedNetwork.from_pretrained(tmp_path / "file")


class Api:
    """Stands for the hub: keeps what is uploaded."""

    uploads: list

    def __init__(self, token=None):
        self.token = token

    def create_repo(self, repo_id, **options):
        return type("Repo", (), {"repo_id": repo_id})

    def upload_folder(self, *, repo_id, folder_path, **options):
        names = sorted(path.name for path in folder_path.iterdir())
        self.uploads.append((repo_id, names, self.token))
        return f"https://hub/{repo_id}"


def test_push(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.hub_mixin.HfApi", Api)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(Api, "uploads", [], raising=False)
    url = small_fc().save_pretrained(tmp_path, repo_id=NAME, push_to_hub=True, token="t")
    assert url == f"https://hub/{NAME}"
    assert Api.uploads == [(NAME, ["README.md", "config.json", MODEL], "t")]


def test_a_failed_push(tmp_path, monkeypatch):
    def fails(self, **options):
        raise OSError("full")

    monkeypatch.setattr("huggingface_hub.hub_mixin.HfApi", Api)
    monkeypatch.setattr(Api, "create_repo", fails)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(SavedNetworkError, match=f"{NAME}: the network cannot be saved there: OSE"):
        small_fc().save_pretrained(tmp_path, repo_id=NAME, push_to_hub=True)


@pytest.mark.parametrize("library", ["huggingface_hub", "safetensors"])
def test_missing_library(tmp_path, monkeypatch, library):
    real = importlib.import_module

    def without(name, *args):
        if name == library:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *args)

    shared_network_class.cache_clear()
    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(MissingExtraError, match=rf"saving a network.*needs '{library}'.*\[hub\]"):
        small_fc().save_pretrained(tmp_path / "net")
    assert not (tmp_path / "net").exists()


def test_a_folder_is_loaded_without_the_hubs_library(tmp_path, monkeypatch):
    net = small_fc()
    net.save_pretrained(tmp_path)
    shared_network_class.cache_clear()
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert same(dv.GatedNetwork.from_pretrained(tmp_path), net)
