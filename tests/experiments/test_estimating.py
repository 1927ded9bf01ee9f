"""Properties proved here.

1. Each job stands there once, with what is done of it, who works on it and what it needs; its
   folder and those of its mates stay as they were.
2. Time is that of a few steps, stretched to all epochs: steps and ends of epochs of known length
   give it exactly; another seed takes as long; of a job under way the rest counts.
3. Jobs that cannot be tried, or for which there was no time, go by their costs beside the others,
   first those of the same architecture; where nothing was measured, nobody knows.
4. A real job is tried, and its outlook is of the size of what it takes.
"""

import time
from dataclasses import replace

import pytest

from dualview.errors import RunError
from dualview.experiments import estimating as room
from dualview.experiments.comparison import compare, plan_comparison
from dualview.experiments.estimating import in_words, outlook, outlook_table, total_seconds
from dualview.experiments.finishing import held
from dualview.experiments.jobs import Job
from dualview.experiments.regimes.jobs import regime_jobs
from dualview.experiments.run_folders import RECORD
from dualview.experiments.running import run_jobs
from dualview.experiments.tables import to_text
from dualview.training import METRICS
from tests.experiments.regimes.test_jobs import setting
from tests.experiments.small import exact, small
from tests.record_cases import run_record
from tests.training.tiny import tiny_data

DATA = tiny_data()


class Clock:
    """Time that passes when it is told to."""

    now = 0.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(room, "time", clock)
    return clock


def _job(out, name, clock, *, seed=0, step=0.0, cost=1.0, end=0.0, **options):
    def perform(folder, watcher):
        clock.now += 7
        watcher.started(0, 10, 100)
        clock.now += 50  # the first step makes what the others find there
        for _epoch in range(10):
            for _ in range(100):
                watcher.stepped()
                clock.now += step
            clock.now += end - step
            watcher.epoch_done(None)
            clock.now += step
        raise AssertionError("never so far")

    config = {"n_train": 300, "n_validation": 30, "n_test": 60, "epochs": 10, "name": name}
    config |= options.pop("config", {})
    return Job("dnn", seed, out / name, config, cost, name, perform, 5, **options)


def test_steps_are_stretched(tmp_path, clock):
    (one,) = outlook([_job(tmp_path, "one", clock, step=0.5)])
    assert one.seconds == pytest.approx(7 + 10 * 100 * 0.5 * (1 + 0.3 / 3))
    assert (one.basis, one.state, one.parameters) == ("steps", "", 5)
    assert not (tmp_path / "one").exists()


def test_ends_of_epochs_are_measured_where_they_come(tmp_path, clock):
    (one,) = outlook([_job(tmp_path, "one", clock, step=0.004, end=3.0)])
    assert one.seconds == pytest.approx(7 + 10 * 100 * 0.004 + 10 * 3.0, rel=0.02)


def test_costs_and_seeds(tmp_path, clock):
    jobs = [
        _job(tmp_path, "quick", clock, step=0.5, cost=2.0),
        _job(tmp_path, "again", clock, cost=2.0, config={"name": "quick", "seed": 1}),
        _job(tmp_path, "waits", clock, cost=4.0, needs=("quick",)),
        _job(tmp_path, "mate", clock, cost=0.0),
        _job(tmp_path, "late", clock, cost=3.0),
    ]
    jobs[0] = replace(jobs[0], config={**jobs[0].config, "seed": 0})
    quick, again, waits, mate, late = outlook(jobs, budget=20)
    assert again.seconds == quick.seconds > 500
    assert waits.seconds == pytest.approx(2 * quick.seconds)
    assert late.seconds == pytest.approx(1.5 * quick.seconds)
    assert mate.seconds == 0
    assert [job.basis for job in (quick, again, waits, mate, late)] == [
        *("steps", "steps", "cost", "", "cost")
    ]
    assert total_seconds([quick, again, late]) == pytest.approx(3.5 * quick.seconds)
    assert total_seconds([quick, again, late], 100) == late.seconds
    nothing = outlook(jobs, budget=0)
    assert {job.seconds for job in nothing} == {None, 0.0}
    assert total_seconds(nothing) is None
    text = to_text(outlook_table([quick, waits], "Jobs here"))
    assert "waits           5  quick" in text
    assert f"~{waits.seconds / 3600:.2f}" in text
    assert "2 jobs, 2 left to do: about 28 min." in text
    assert "nobody knows for how long" in to_text(outlook_table(nothing))


def test_each_architecture_is_measured_and_counts_for_its_own(tmp_path, clock):
    """Costs of two architectures need not be in the same unit."""

    def job(name, arch, step, cost):
        return _job(tmp_path, name, clock, step=step, cost=cost, config={"arch": arch})

    jobs = [
        job("a1", "a", 1.0, 1.0),
        job("a2", "a", 2.0, 2.0),
        job("b1", "b", 0.1, 10.0),
        job("b2", "b", 0.2, 20.0),
        job("c", "c", 1.0, 3.0),
    ]
    for budget in (1, 150):  # time for three of them, which are measured whatever the budget
        found = outlook(jobs, budget=budget)
        assert [one.basis for one in found] == ["steps", "cost", "steps", "cost", "steps"]
    assert found[1].seconds == pytest.approx(2 * found[0].seconds)
    assert found[3].seconds == pytest.approx(2 * found[2].seconds)


def test_what_is_there_already(tmp_path, clock):
    jobs = [_job(tmp_path, name, clock, step=0.5) for name in ("done", "begun", "held")]
    run_jobs([replace(jobs[0], perform=lambda *_: run_record(status="diverged"))], tmp_path)
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / METRICS).write_text("epoch,loss\n" + "0,1\n" * 4)
    with held(jobs[2]):
        done, begun, busy = outlook(jobs)
    assert (done.state, done.seconds, done.basis) == ("diverged", 0.0, "")
    assert begun.state == "4 of 10 epochs"
    assert begun.seconds == pytest.approx(0.6 * busy.seconds)
    assert busy.state.startswith("process ")
    assert busy.state.endswith(", works on it")
    assert total_seconds([done]) == 0
    assert "1 job, 0 left to do." in to_text(outlook_table([done]))


def test_what_a_job_refuses_is_told(tmp_path):
    def refuses(folder, watcher):
        raise RunError("no")

    with pytest.raises(RunError, match="no"):
        outlook([Job("dnn", 0, tmp_path / "one", {}, 1.0, "one", refuses)])
    silent = Job("dnn", 0, tmp_path / "one", {}, 1.0, "one", lambda *_: run_record())
    assert outlook([silent])[0].seconds is None


def test_a_real_comparison(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "TRIAL_SECONDS", 0.05)
    settings = small(kinds=("dnn",), training={"epochs": 40})
    (one,) = outlook(plan_comparison(settings, tmp_path, data=DATA))
    assert not list(tmp_path.iterdir())
    began = time.monotonic()
    compare(settings, tmp_path, data=DATA)
    assert one.basis == "steps"
    assert 0.1 < one.seconds / (time.monotonic() - began) < 10
    assert outlook(plan_comparison(settings, tmp_path, data=DATA))[0].state == "finished"


def test_seeds_in_one_pass_are_tried_elsewhere(tmp_path):
    """Jobs that were tried, to their end even, train as if they had not been."""
    jobs = regime_jobs(setting(), ["dlnpf"], tmp_path / "one")
    first, *others = outlook(jobs)
    assert first.seconds > 0
    assert {other.seconds for other in others} == {0.0}
    assert not (tmp_path / "one").exists()
    tried = run_jobs(jobs, tmp_path / "one")
    anew = run_jobs(regime_jobs(setting(), ["dlnpf"], tmp_path / "two"), tmp_path / "two")
    assert exact(tried) == exact(anew)
    assert all((job.folder / RECORD).exists() for job in jobs)


def test_times_in_words():
    assert [in_words(s) for s in (0.4, 89, 90, 5399, 5400, 86400 * 2)] == [
        *("about 0 s", "about 89 s", "about 2 min", "about 90 min", "about 1.5 h", "about 2.0 days")
    ]
