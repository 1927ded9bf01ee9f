"""Networks of the user's own, through every command.

- `compare`, `reproduce architectures` and `kernel` take `--arch mine.py:make`. Records and folders
  name it without its place, the same command goes on after an interruption, and not with another
  network in the file. `results --collect` takes the records.
- `explain`, `explore` and `kernel --run` open such a run with `--model` (`--arch`) given again, and
  a folder that `save_pretrained` or `train` wrote; without it the message names that repair.
- Code is imported because the command line names it, never because a file does.
- Runs on enlarged images are opened, too.
"""

import json
import sys
from pathlib import Path

import pytest
import torch

import dualview as dv
from dualview.cli import main
from dualview.datasets import load
from dualview.errors import RunError
from dualview.experiments import (
    EXPERIMENTS,
    Request,
    load_network,
    load_records,
    load_run,
    reproduce,
)
from dualview.training import TrainSettings, train
from dualview.training.accuracy import accuracy

from .explored import data_of

TEXT = """
from torch import nn
import pathlib
pathlib.Path(__file__).with_name("imported").touch()

def make(num_classes, input_shape, width=3):
    return nn.Sequential(
        nn.Conv2d(input_shape[0], width, 3), ACT, nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        nn.Linear(4 * width, num_classes))

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(64, 6), nn.Linear(6, 10)

    def forward(self, x):
        return self.b(self.a(x.flatten(1)).relu())
"""
SHORT = ("--epochs", "1", "--seeds", "1", "--batch-size", "256", "--threads", "1")
QUICK = TrainSettings(epochs=1, batch_size=256, tensorboard=False, threads=1)


def write(folder, activation="nn.ReLU()"):
    (folder / "mine.py").write_text(TEXT.replace("ACT", activation))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with mine.py and a comparison of it."""
    folder = tmp_path_factory.mktemp("home")
    write(folder)
    arch = f"{folder}/mine.py:make"
    out = folder / "runs"
    options = [*SHORT, "--arch", arch, "--kinds", "dnn", "dlgn", "--out", str(out)]
    path = list(sys.path)
    assert main(["compare", *options]) == 0
    sys.path[:] = path
    return folder


@pytest.fixture(autouse=True)
def _here(home, monkeypatch):
    monkeypatch.chdir(home)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (home / "imported").unlink(missing_ok=True)
    for name in [name for name in sys.modules if name.startswith("dualview_own_mine")]:
        monkeypatch.delitem(sys.modules, name)


def has_run(home):
    return (home / "imported").exists()


def test_records_name_it_without_its_place(home):
    for record in load_records(home / "runs"):
        assert record.architecture == record.config["arch"] == "mine.py:make"
        assert str(home) not in json.dumps(record.config)


def test_the_same_command_goes_on(home, capsys):
    options = ["--kinds", "dnn", "dlgn", "--out", "runs", *SHORT]
    assert main(["compare", "--arch", "./mine.py:make", *options]) == 0
    assert "mine.py:make, 1 epochs" in capsys.readouterr().out


def test_not_with_another_network(home, capsys):
    write(home, "nn.GELU()")
    try:
        options = ["--kinds", "dnn", "dlgn", "--out", "runs", *SHORT]
        assert main(["compare", "--arch", "mine.py:make", *options]) == 1
        assert "other settings: structure" in capsys.readouterr().err
        with pytest.raises(RunError, match=r"another one than the run's, mine\.py:make"):
            load_run("runs/dnn-seed0", model="mine.py:make")
    finally:
        write(home)


@pytest.mark.parametrize("kind", ["dnn", "dlgn"])
def test_a_run_is_opened(home, kind):
    run = load_run(home / "runs" / f"{kind}-seed0", model="mine.py:make")
    assert accuracy(run.net, run.data) == run.record.test_accuracy
    with pytest.raises(RunError, match=r"another one than the run's"):
        load_run(home / "runs" / f"{kind}-seed0", model="mine.py:Net")


def test_files_never_bring_code(home, tmp_path, capsys):
    run = str(home / "runs" / "dlgn-seed0")
    for command in (["explain", run, "--index", "1"], ["explore", run], ["kernel", "--run", run]):
        assert main(command) == 1
        message = capsys.readouterr().err
        assert "files never bring code. Repair: name what makes it, --model mine.py:make" in message
    (tmp_path / "options.yaml").write_text(f"arch: {home}/mine.py:make\n")
    assert main(["compare", "--config", str(tmp_path / "options.yaml"), *SHORT]) == 2
    assert "files never bring code" in capsys.readouterr().err
    assert not has_run(home)


def test_a_file_of_options_beside_the_command_line(home, tmp_path):
    (tmp_path / "options.yaml").write_text("epochs: 1\nseeds: 1\nkinds: [dlgn]\nbatch_size: 256\n")
    options = ["--config", str(tmp_path / "options.yaml"), "--out", str(tmp_path / "out")]
    assert main(["compare", *options, "--arch", "mine.py:Net", "--threads", "1"]) == 0
    assert has_run(home)


def test_pages_and_kernel_of_a_run(home, tmp_path):
    page, run = tmp_path / "page.html", str(home / "runs" / "dlgn-seed0")
    options = ["--model", "mine.py:make", "--train", "0", "--out", str(page)]
    assert main(["explain", run, "--index", "3", *options]) == 0
    assert "mine.py:make" in page.read_text()
    assert main(["explore", run, "--examples", "2", *options]) == 0
    assert len(data_of(page)["examples"]) == 2
    pytest.importorskip("zarr")
    gram = ["--n", "4", "--out", str(tmp_path / "gram.zarr")]
    assert main(["kernel", "--run", run, "--arch", "mine.py:make", *gram]) == 0
    assert main(["kernel", "--arch", "mine.py:make", "--width", "2", "--overwrite", *gram]) == 0


def test_ours_need_no_model(home, tmp_path, capsys):
    out = str(tmp_path / "runs")
    assert main(["compare", "--width", "8", "--kinds", "dlgn", "--out", out, *SHORT]) == 0
    run = ["explain", f"{out}/dlgn-seed0", "--index", "1", "--out", str(tmp_path / "a.html")]
    assert main([*run, "--model", "mine.py:make"]) == 1
    assert "leave --model out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (["--arch", "mine.py:mak"], 2, "did you mean 'make'"),
        (["--arch", "none.py:make"], 2, "FileNotFoundError"),
        (["--arch", "mine.py:Net", "--width", "3"], 2, "width: expected none"),
        (["--arch", "mine.py"], 2, "a file or module and a name in it"),
    ],
)
def test_wrong_architectures(options, status, message, capsys):
    assert main(["compare", *options, *SHORT]) == status
    assert message in capsys.readouterr().err
    assert main(["kernel", *options]) == status
    assert message in capsys.readouterr().err


def test_reproduce_and_collect(home, tmp_path, capsys):
    out = tmp_path / "runs"
    options = ["--out", str(out), "--epochs", "1", "--seeds", "1", "--threads", "1"]
    arch = ["--arch", f"{home}/mine.py:make"]
    assert main(["reproduce", "architectures", *arch, *options]) == 0
    text = capsys.readouterr().out
    assert "mine.py:make, DLGN" in text
    assert "mine.py:make, DNN, wide" in text
    assert "None" not in text
    assert (out / "mine.py-make-dlgn-seed0" / "record.json").exists()
    assert (out / "figures" / "mine.py-make-curves.svg").exists()
    collect = ["results", "--collect", str(out), "--suffix", "mine"]
    places = ["--records", str(tmp_path / "results"), "--docs", str(tmp_path / "docs")]
    assert main([*collect, *places]) == 0
    assert "mine.py:make, DLGN" in (tmp_path / "docs" / "results.md").read_text()
    loaded = load_run(out / "mine.py-make-dlgn-seed0", model="mine.py:make")
    assert accuracy(loaded.net, loaded.data) == loaded.record.test_accuracy


def test_reproduce_without_a_width(tmp_path, capsys):
    options = ["--out", str(tmp_path), "--epochs", "1", "--seeds", "1", "--threads", "1"]
    command = ["reproduce", "architectures", "--arch", "mine.py:Net", *options, "--kinds"]
    assert main([*command, "dnn", "dlgn"]) == 0
    assert main([*command, "dnn-wide"]) == 2
    assert "takes no width" in capsys.readouterr().err


def saved(folder):
    net = dv.disentangle(own_class()(), "dlgn", seed=0).eval()
    net.save_pretrained(folder)
    return net


def own_class():
    names = {"__name__": "mine", "__file__": str(Path.cwd() / "mine.py")}
    exec(compile(TEXT.replace("ACT", "nn.ReLU()"), "mine.py", "exec"), names)
    return names["Net"]


def trained_gated(folder):
    net = dv.disentangle(own_class()(), "dlgn", gate="hard", seed=0)
    train(net, load("digits"), QUICK, folder)
    return net


def trained_plain(folder):
    return train(own_class()(), load("digits"), QUICK, folder).network


@pytest.mark.parametrize("write_network", [saved, trained_gated, trained_plain])
def test_folders_of_networks(write_network, home, tmp_path, capsys):
    folder, page = tmp_path / "net", tmp_path / "page.html"
    net = write_network(folder)
    (home / "imported").unlink()
    command = ["explain", str(folder), "--index", "3", "--train", "0", "--out", str(page)]
    assert main(command) == 1
    assert "files never bring code. Repair: name what makes it, --model" in capsys.readouterr().err
    assert not has_run(home)
    assert main([*command, "--model", "mine.py:Net"]) == 0
    shown = data_of(page)["examples"][0]["logits"]
    x = load("digits").test.pixels[3:4]
    if write_network is saved:  # it carries no transform, so the data's is taken
        data = load("digits")
        x = dv.InputTransform(data.mean, data.std)(x)
    torch.testing.assert_close(torch.tensor(shown), net(x)[0], atol=1e-4, rtol=1e-4)
    assert main([*command, "--model", "mine.py:make"]) == 1
    assert "Repair" in capsys.readouterr().err


def test_a_network_of_ours_needs_none(tmp_path):
    from dualview.architectures import fc

    net = dv.disentangle(fc(10, (1, 8, 8), width=6, depth=3), "dgn", seed=0)
    train(net, load("digits"), QUICK, tmp_path)
    found = load_network(tmp_path)
    x = load("digits").test.pixels[:5]
    assert torch.equal(found.net(x), net(x))
    assert found.run is None


@pytest.mark.parametrize(
    ("experiment", "arch"), [("architectures", "vgg16"), ("shallow", "c6white")]
)
def test_enlarged_images(experiment, arch, tmp_path):
    request = Request(arch=arch, kinds=("dlgn",), width=2, seeds=1, epochs=1)
    (record,) = reproduce(EXPERIMENTS[experiment], request, tmp_path)
    assert record.config["enlarged"] == 2
    folder = tmp_path / f"{arch}-dlgn-seed0"
    run = load_run(folder)
    assert run.data.input_shape == (1, 16, 16)
    assert accuracy(run.net, run.data) == record.test_accuracy
    page = tmp_path / "page.html"
    command = ["explain", str(folder), "--index", "3", "--train", "4", "--out", str(page)]
    assert main(command) == 0
    assert data_of(page)["examples"][0]["row"] == 3
