"""One file that is whole by itself.

- Killed at any step of saving over an earlier save, the old network loads or the new one, bit for
  bit, and saving again goes on.
- Two processes that save at once, killed at random moments: at any time one of the networks loads,
  whole. However the steps of two savers mix, the parameters decide.
- A first save that was killed does not bar the next one.
- A parameter file of which any bit is altered does not pass for whole, nor one with another
  network's config, nor one whose description was altered.
- The files keep their usual names, and other readers of safetensors read the same tensors.
"""

import fcntl
import json
import os
import random
import time
from contextlib import suppress

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

import dualview as dv
from dualview.conversion.parameters import MODEL
from dualview.conversion.sharing.config import CONFIG
from dualview.conversion.sharing.describing import saved_config
from dualview.conversion.sharing.saving import check_target, write_files
from dualview.conversion.sharing.self_description import own_config, save_described
from dualview.errors import SavedNetworkError
from tests.damage import damaged
from tests.processes import kill, start

from .saved import small_fc

STEPS = ("mkdir", "open", "chmod", "fsync", "rename", "replace", "rmdir", "unlink")


def network(value):
    """A network whose parameters are all this number."""
    net = small_fc()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(value)
    return net


def save(net, folder):
    config = saved_config(net)
    check_target(folder, config)
    write_files(net, config, folder)


def value_of(folder):
    """The one number of all parameters of the network that loads."""
    net = dv.GatedNetwork.from_pretrained(folder)
    (value,) = {number for p in net.parameters() for number in p.flatten().tolist()}
    return value


class Killed(BaseException):
    """The process ends here."""


def test_killed_at_any_step(tmp_path, monkeypatch):
    nets, seen = {value: network(value) for value in (1.0, 2.0, 3.0)}, set()
    for n in range(100):
        folder, left, dead = tmp_path / str(n), n, False
        folder.mkdir()
        save(nets[1.0], folder)

        def dies(real):
            def call(*arguments, **options):
                nonlocal left, dead
                left -= 1
                if left < 0:
                    dead = True
                    raise Killed
                return real(*arguments, **options)

            return call

        with monkeypatch.context() as patch:
            for owner, step in [*((os, step) for step in STEPS), (fcntl, "flock")]:
                patch.setattr(owner, step, dies(getattr(owner, step)))
            with suppress(Killed):
                save(nets[2.0], folder)
        seen.add(value_of(folder))
        if not dead:
            break
        assert value_of(folder) in (1.0, 2.0)
        save(nets[3.0], folder)
        assert value_of(folder) == 3.0
        assert sorted(path.name for path in folder.iterdir()) == [CONFIG, MODEL]
    assert n >= 10
    assert value_of(folder) == 2.0
    assert seen == {1.0, 2.0}


def _saves(folder, begun, value):
    net = network(value)
    begun.touch()
    while True:
        save(net, folder)


def test_two_savers_and_kill_9(tmp_path):
    folder, when = tmp_path / "net", random.Random(0)
    folder.mkdir()
    save(network(1.0), folder)
    for n in range(4):
        begun = [tmp_path / f"{n}-{value}" for value in (2.0, 3.0)]
        savers = [start(_saves, folder, path, 2.0 + k) for k, path in enumerate(begun)]
        while not all(path.exists() for path in begun):
            assert all(saver.is_alive() for saver in savers)
            time.sleep(0.005)
        for saver in savers:
            time.sleep(when.uniform(0, 0.1))
            assert value_of(folder) in (1.0, 2.0, 3.0)
            kill(saver)
        assert value_of(folder) in (1.0, 2.0, 3.0)
    save(network(4.0), folder)
    assert value_of(folder) == 4.0
    assert sorted(path.name for path in folder.iterdir()) == [CONFIG, MODEL]


def test_steps_of_two_savers_in_any_order(tmp_path):
    files = {}
    for value in (1.0, 2.0):
        folder = tmp_path / str(value)
        folder.mkdir()
        save(network(value), folder)
        files[value] = {name: (folder / name).read_bytes() for name in (CONFIG, MODEL)}
    for model in files:
        for config in files:
            mixed = tmp_path / f"{model}-{config}"
            mixed.mkdir()
            (mixed / MODEL).write_bytes(files[model][MODEL])
            (mixed / CONFIG).write_bytes(files[config][CONFIG])
            assert value_of(mixed) == model


def test_a_first_save_that_was_killed(tmp_path):
    save_described(network(1.0), saved_config(network(1.0)), tmp_path / MODEL)
    save(network(2.0), tmp_path)
    assert value_of(tmp_path) == 2.0
    (tmp_path / CONFIG).unlink()
    with pytest.raises(SavedNetworkError, match="not known what it is"):
        save(small_fc("dgn"), tmp_path)


@pytest.fixture(scope="module")
def described(tmp_path_factory):
    """A parameter file that says what it is, and its content."""
    path, net = tmp_path_factory.mktemp("net") / MODEL, network(1.0)
    save_described(net, saved_config(net), path)
    assert own_config(path) is not None
    return path, path.read_bytes()


@given(data=st.data())
def test_damage_is_seen(described, data):
    path, content = described
    path.write_bytes(data.draw(damaged(content)))
    assert own_config(path) is None


def test_another_networks_config_is_refused(tmp_path):
    for name, net in (("a", small_fc()), ("b", small_fc("dgn"))):
        (tmp_path / name).mkdir()
        save(net, tmp_path / name)
    (tmp_path / "a" / CONFIG).write_bytes((tmp_path / "b" / CONFIG).read_bytes())
    with pytest.raises(SavedNetworkError, match="expected the file with the SHA-256 in config"):
        dv.GatedNetwork.from_pretrained(tmp_path / "a")


def test_usual_names_and_readers(tmp_path):
    net = network(1.0)
    dv.GatedNetwork.save_pretrained(net, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", CONFIG, MODEL]
    stored = load_file(tmp_path / MODEL)
    assert stored
    assert all(bool((tensor == 1.0).all()) for tensor in stored.values())
    assert json.loads((tmp_path / CONFIG).read_text())["kind"] == "dlgn"
