"""`dualview kernel`.

- The store holds the kernel of the network that the options name, of the first examples of the
  split, normalised; so too for the trained network of a run, of every kind; the two lines of Python
  that it prints read it. How much there is to do, and how long it should take, is told first.
- Wrong options end with status 2; runs that cannot be used, other stores and a missing extra with
  status 1, each in one line.
- Called again it goes on; an interruption says how.
"""

import logging
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
import zarr
from safetensors.torch import load_model

import dualview as dv
from dualview.cli import main
from dualview.cli.kernel import examples
from dualview.experiments.comparison import compare
from dualview.experiments.data import load_settings
from dualview.experiments.networks import as_gated, build_network, example_input
from dualview.experiments.settings import ComparisonSettings
from dualview.training import TrainSettings
from tests.training.tiny import tiny_data

KINDS = ("dnn", "dgn", "dlgn-ones")
TRAINED = ComparisonSettings(
    kinds=KINDS,
    seeds=1,
    width=12,
    training=TrainSettings(epochs=1, batch_size=256, tensorboard=False),
)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "gram.zarr"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    compare(TRAINED, folder)
    return folder


def kernel(out, *options, n=6):
    return main(["kernel", "--out", str(out), "--n", str(n), "--block", "4", *map(str, options)])


def read(out):
    return torch.from_numpy(zarr.open_array(out / "gram", mode="r")[:])


def first(n, split="train", settings=TRAINED):
    """Written out: pixels to [0, 1], less the mean, by the deviation of each channel."""
    data = load_settings(settings.data)
    images = getattr(data, split).images[:n]
    if images.dtype == torch.uint8:
        images = images / 255
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (data.mean, data.std))
    return (images - mean) / std


def fresh(settings, kind, seed):
    data = load_settings(settings.data)
    return as_gated(build_network(settings, kind, seed, data), data)


@pytest.mark.parametrize("kind", ["dnn", "dlgn", "dgn-ones"])
def test_fresh_network(out, kind):
    assert kernel(out, "--kind", kind, "--width", 12, "--seed", 3, "--gates", "hard") == 0
    settings = replace(TRAINED, kinds=(kind,))
    net = fresh(settings, kind, 3)
    net = net.without_input_transform()
    torch.testing.assert_close(read(out), dv.npk(net, first(6), gates="hard"))


def test_biases_norms_and_type(out):
    options = ["--arch", "c4gap", "--width", 2, "--batch-norm", "--kind", "dnn", "--norms", "scale"]
    options += ["--biases", "--bias-variance", 0.25, "--dtype", "float64"]
    assert kernel(out, *options, n=3) == 0
    settings = replace(TRAINED, arch="c4gap", width=2, batch_norm=True, kinds=("dnn",))
    net = fresh(settings, "dnn", 0).without_input_transform().double()
    same = {"biases": True, "bias_variance": 0.25, "batch_norm": "scale"}
    expected = dv.npk(net.without_input_transform(), first(3).double(), **same)
    torch.testing.assert_close(read(out), expected, rtol=1e-5, atol=0)


def test_convolutional_network_and_split(out):
    assert kernel(out, "--arch", "c4gap", "--width", 2, "--split", "test", "--workers", 1, n=3) == 0
    settings = replace(TRAINED, arch="c4gap", width=2)
    net = fresh(settings, "dlgn", 0)
    torch.testing.assert_close(read(out), dv.npk(net.without_input_transform(), first(3, "test")))


@pytest.mark.parametrize("kind", KINDS)
def test_trained_network(out, runs, kind):
    folder = runs / f"{kind}-seed0"
    assert kernel(out, "--run", folder) == 0
    data = load_settings(TRAINED.data)
    net = build_network(TRAINED, kind, 0, data)
    fresh = {name: value.clone() for name, value in net.state_dict().items()}
    load_model(net, folder / "model.safetensors")
    assert any(not torch.equal(value, fresh[name]) for name, value in net.state_dict().items())
    if kind == "dnn":
        net = dv.disentangle(
            net.eval(),
            "dnn",
            example_input=example_input(data),
            input_transform=dv.InputTransform(data.mean, data.std),
        )
    torch.testing.assert_close(read(out), dv.npk(net.without_input_transform(), first(6)))


def test_what_is_printed_reads_the_store(out, capsys):
    assert kernel(out, "--width", 12) == 0
    text = capsys.readouterr().out
    assert text.startswith("Gram matrix of 6 examples in ")
    assert f" s: {out}\n" in text
    lines = [line.strip() for line in text.splitlines()[-2:]]
    script = "\n".join([*lines, "print(gram.shape)"])
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "(6, 6)\n", done.stderr


def test_size_and_time_are_told_and_the_log_is_left_as_it_was(out, capsys):
    log = logging.getLogger("dualview.path_kernel")
    before = log.level, list(log.handlers)
    assert kernel(out, "--width", 12) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith(f"{out}: 6 x 6 examples, 0.0 MB; 3 of 3 blocks of 4 x 4 to compute")
    assert " on 2 workers" in lines[0] or " on 1 worker" in lines[0] or " on 3 workers" in lines[0]
    assert lines[-1] == "Gram matrix: 3 of 3 blocks"
    assert (log.level, log.handlers) == before


def test_default_block(out):
    command = ["kernel", "--out", str(out), "--n", "40", "--width", "12", "--workers", "1"]
    assert main(command) == 0
    assert zarr.open_array(out / "gram", mode="r").chunks == (16, 16)


def test_again_and_other(out, capsys):
    assert kernel(out, "--width", 12) == 0
    assert kernel(out, "--width", 12) == 0
    assert kernel(out, "--width", 13) == 1
    told = capsys.readouterr().err.splitlines()
    assert "; 3 of 3 blocks of 4 x 4 to compute, " in told[0]
    assert told[-2].endswith("; 0 of 3 blocks of 4 x 4 to compute")
    assert "another gating network" in told[-1]
    assert "--overwrite" in told[-1]
    assert kernel(out, "--width", 13, "--overwrite") == 0


def test_interruption_says_how_to_go_on(out, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("dualview.path_kernel.gram.gram.npk_gram", interrupted)
    assert kernel(out, "--width", 12, "--overwrite") == 130
    error = capsys.readouterr().err
    assert f"To go on: dualview kernel --out {out} --n 6 --block 4 --width 12\n" in error


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--n", "0"], "n: expected"),
        (["--n", "5000"], "--n: expected at most"),
        (["--arch", "lenet"], "lenet"),
        (["--kind", "cnn"], "cnn"),
        (["--seed", "-1"], "seed: expected"),
        (["--run", "somewhere", "--width", "12"], "--width: expected no option of a network"),
        (["--gates", "soft"], "--gates: expected one of model, hard"),
    ],
)
def test_wrong_options(out, capsys, options, message):
    try:
        status = kernel(out, *options)
    except SystemExit as exit:
        status = exit.code
    assert status == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_runs_that_cannot_be_used(out, runs, tmp_path, capsys):
    assert kernel(out, "--run", tmp_path) == 1
    assert "found no record.json" in capsys.readouterr().err
    assert kernel(out, "--run", runs / "dgn-seed0", "--validation", 0.3) == 1
    assert "was trained on other data" in capsys.readouterr().err
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in (runs / "dgn-seed0").iterdir():
        if path.is_file():
            (broken / path.name).write_bytes(path.read_bytes())
    other = (runs / "dlgn-ones-seed0" / "model.safetensors").read_bytes()
    (broken / "model.safetensors").write_bytes(other[:100])
    assert kernel(out, "--run", broken) == 1
    assert "expected the parameters of the network" in capsys.readouterr().err
    (broken / "config.json").write_text("{")
    assert kernel(out, "--run", broken) == 1
    assert "expected JSON" in capsys.readouterr().err
    assert not out.exists()


def test_without_the_extra(out, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "zarr", None)
    assert kernel(out) == 1
    error = capsys.readouterr().err
    assert error.startswith("dualview kernel: error: ")
    assert "npk_gram needs 'zarr', which is not installed: pip install 'dualview[kernel]'" in error
    assert not out.exists()


def test_examples_are_the_first_in_order():
    data = load_settings(TRAINED.data)
    assert torch.equal(examples(data, "train", 9)[:4], examples(data, "train", 4))


def test_all_examples_where_there_are_fewer_than_the_default(monkeypatch):
    data = tiny_data()
    assert len(examples(data, "validation", None)) == len(data.validation)
    monkeypatch.setattr("dualview.cli.kernel.DEFAULT_EXAMPLES", 3)
    assert len(examples(data, "train", None)) == 3
