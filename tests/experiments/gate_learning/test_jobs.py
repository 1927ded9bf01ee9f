"""Properties:
- the stages are one uncut training run: the last stage ends, to the bit, where `train` for as many
  epochs ends;
- a weights network has its stage's gates, hard, and the same fresh weights at every stage;
- the kernel machine's accuracy is that of ridge regression on those gates' kernel on the subset;
- the recorded overlap with the initial gates is that of the models' own activations on the kernel
  machine's test examples, layer by layer, and 1 at stage 0;
- what was interrupted goes on to the same numbers;
- where the gates' training diverged, later stages are recorded as diverged, and stage 0 is there.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import dualview as dv
from dualview.experiments.gate_learning.jobs import (
    Kernel,
    Stages,
    kernel_accuracy,
    stage_jobs,
    weights_network,
)
from dualview.experiments.jobs import Job
from dualview.experiments.npk_paper import RegimeSetting, drawn, load_trained, unnormalised
from dualview.experiments.records import RunRecord
from dualview.experiments.running import run_jobs
from dualview.training import MODEL, TrainSettings, train
from tests.experiments.regimes.test_jobs import StopAt
from tests.experiments.small import exact, parameters
from tests.training.tiny import tiny_data

DATA = unnormalised(tiny_data())
TRAINING = TrainSettings(
    epochs=2,
    batch_size=8,
    learning_rate=0.02,
    schedule="constant",
    accelerator="cpu",
    threads=1,
    tensorboard=False,
)
KERNEL = Kernel(n_train=20, n_test=10)


def training(seed: int) -> TrainSettings:
    return dataclasses.replace(TRAINING, seed=seed)


SETTING = RegimeSetting("gate-learning", "gconv", 2, DATA, True, training, 1)


def jobs(out: Path, count: int = 2) -> list[Job]:
    return stage_jobs(SETTING, Stages(count, training), KERNEL, out)


Records = dict[tuple[str, int], RunRecord]


def done(out: Path) -> Records:
    records = run_jobs(jobs(out), out)
    return {(record.kind, record.config["stage"]): record for record in records}


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Records]:
    """Two stages, done without interruption: where, and the records."""
    out = tmp_path_factory.mktemp("stages")
    return out, done(out)


def test_stages_are_one_training_run(stages: tuple[Path, Records], tmp_path: Path) -> None:
    out, records = stages
    net = drawn(SETTING.draw, 0)
    whole = train(net, DATA, dataclasses.replace(TRAINING, epochs=4), tmp_path / "whole")
    last = records["gates", 2]
    assert [e.train_loss for e in last.curve] == [e.train_loss for e in whole.curve]
    stage = drawn(SETTING.draw, 0)
    load_trained(stage, out / "gconv-gates-stage2-seed0" / MODEL)
    assert all(torch.equal(v, net.state_dict()[n]) for n, v in stage.state_dict().items())
    assert last.curve[:2] == records["gates", 1].curve
    assert records["gates", 1].measurements == {"stage": 1}


def test_gates_and_weights_of_the_stages(stages: tuple[Path, Records]) -> None:
    out, _ = stages
    paths = [None, *(out / f"gconv-gates-stage{k}-seed0" / MODEL for k in (1, 2))]
    nets = [weights_network(SETTING, 0, path) for path in paths]
    for net, path in zip(nets, paths, strict=True):
        model = drawn(SETTING.draw, 0)
        if path is not None:
            load_trained(model, path)
        own = dv.disentangle(model.double().eval(), "dnn")
        x = DATA.test.images.double() / 255
        for mine, theirs in zip(net.double().gates(x), own.gates(x), strict=True):
            assert torch.equal(mine, theirs)
    for name, value in nets[0].weights_network.state_dict().items():
        assert all(torch.equal(value, net.weights_network.state_dict()[name]) for net in nets)
    gating = [net.gating_network.state_dict()["0.weight"] for net in nets]
    assert not torch.equal(gating[0], gating[1])
    assert not torch.equal(gating[1], gating[2])


def test_kernel_accuracy_is_that_of_ridge_regression(tmp_path: Path) -> None:
    from dualview.path_kernel.kernel import npk

    net = weights_network(SETTING, 0, None).double()
    found = kernel_accuracy(net, DATA, KERNEL, seed=3)
    rows, others = (
        torch.randperm(len(split), generator=torch.Generator().manual_seed(3))
        for split in (DATA.train, DATA.test)
    )
    rows, others = rows[:20], others[:10]
    x, y = DATA.train.images[rows].double() / 255, DATA.train.labels[rows]
    gram = npk(net, x).numpy()
    targets = np.eye(3)[y]
    mean = targets.mean(0)
    penalty = found["kernel_ridge"] * gram.trace() / len(gram)
    alpha = np.linalg.solve(gram + penalty * np.eye(20), targets - mean)
    test = DATA.test.images[others].double() / 255
    scores = mean + npk(net, test, x).numpy() @ alpha
    accuracy = (scores.argmax(1) == DATA.test.labels[others].numpy()).mean()
    assert found["kernel_accuracy"] == pytest.approx(accuracy)
    assert (found["kernel_n_train"], found["kernel_n_test"]) == (20, 10)


def test_overlap_with_the_initial_gates(stages: tuple[Path, Records]) -> None:
    out, records = stages
    assert records["weights", 0].measurements["initial_overlap"] == [1.0] * 6
    rows = torch.randperm(len(DATA.test), generator=torch.Generator().manual_seed(0))[:10]
    x = DATA.test.images[rows] / 255
    models = [drawn(SETTING.draw, 0) for _ in range(2)]
    load_trained(models[1], out / "gconv-gates-stage2-seed0" / MODEL)
    found = records["weights", 2].measurements["initial_overlap"]
    expected = []
    for before, now in zip(*(dv.disentangle(m, "dnn").gates(x) for m in models), strict=True):
        cosines = [
            float(g @ h) / (float(g @ g) * float(h @ h)) ** 0.5
            if g.any() and h.any()
            else float(bool(g.any()) == bool(h.any()))
            for g, h in zip(before.flatten(1), now.flatten(1), strict=True)
        ]
        expected.append(sum(cosines) / len(cosines))
    assert found == pytest.approx(expected)
    assert min(found) < 1


def test_small_data_bounds_the_subset() -> None:
    found = kernel_accuracy(weights_network(SETTING, 0, None), DATA, Kernel(10**6, 10**6), 0)
    assert (found["kernel_n_train"], found["kernel_n_test"]) == (40, 12)


@pytest.mark.parametrize(("what", "number"), [("step", 18), ("step", 36), ("record", 2)])
def test_interrupted_and_gone_on(
    what: str, number: int, stages: tuple[Path, Records], tmp_path: Path
) -> None:
    out, whole = stages
    cut = tmp_path / "cut"
    with pytest.raises(KeyboardInterrupt):
        run_jobs(jobs(cut), cut, progress=StopAt(what, number))
    assert exact(list(done(cut).values())) == exact(list(whole.values()))
    assert parameters(cut) == parameters(out)


def test_after_a_divergence(tmp_path: Path) -> None:
    def broken(where: Path, watcher: Any) -> RunRecord:
        record = planned[1].perform(where, watcher)
        for path in (*where.glob("*.ckpt"), where / MODEL):
            path.unlink()
        return dataclasses.replace(record, status="diverged", test_accuracy=None)

    planned = jobs(tmp_path)
    assert (planned[1].kind, planned[1].config["stage"]) == ("gates", 1)
    changed = [planned[0], dataclasses.replace(planned[1], perform=broken), *planned[2:]]
    records = run_jobs(changed, tmp_path)
    assert [record.status for record in records] == ["finished", *["diverged"] * 4]
    assert "stage1-seed0 left no gates to copy" in records[2].message
    assert "stage1-seed0 left no network to go on from" in records[3].message
