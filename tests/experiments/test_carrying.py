"""Properties proved here.

1. Jobs carried by a cluster leave the records and parameters of a serial call, bit for bit but for
   times, and so they do after a worker was killed in the midst of one: another one resumes it, or
   the one that is started in its place, and no finished epoch is trained again.
2. Jobs wait for those that they need; those that belong together go to one worker; finished ones
   are read back, and a call with nothing left starts no cluster.
3. Experiments and architectures in files of the user's own are carried as well.
4. What happens on the workers is told here. An error there ends the call with its words, and what
   else is under way stops; finished epochs are kept.
5. Refused before anything is trained: schedulers that do not answer, workers with several threads
   or that see another folder, several devices, jobs that cannot travel, a folder that another call
   shares out. A cluster that loses everything is given up.
"""

import os
import signal
import socket
import threading
import time
from concurrent.futures import CancelledError
from dataclasses import replace

import pytest

from dualview.errors import RunError
from dualview.experiments import carried, carrying
from dualview.experiments.comparison import compare, plan_comparison
from dualview.experiments.experiment import Machine, Request
from dualview.experiments.jobs import Job, Silent
from dualview.experiments.records import load_records
from dualview.experiments.registry import find
from dualview.experiments.reproduction import reproduce
from dualview.experiments.run_folders import RECORD
from dualview.experiments.running import run_jobs
from dualview.experiments.selection import Sharing
from dualview.files.locking import LOCK, locked
from dualview.training import METRICS, SettingsError
from tests.experiments.small import exact, parameters, small
from tests.processes import two_workers
from tests.record_cases import run_record
from tests.training.tiny import tiny_data

DATA = tiny_data()
SLOWER = small(kinds=("dnn", "dlgn"), seeds="1-2", training={"epochs": 30, "flip": True, "crop": 1})


@pytest.fixture(scope="module")
def cluster():
    with two_workers() as cluster:
        yield cluster


@pytest.fixture
def by(cluster):
    return Sharing(scheduler=cluster.scheduler_address)


class Notes(Silent):
    """What is told, as (what, job)."""

    def __init__(self):
        self.told = []

    def skipped(self, job, record):
        self.told.append(("skipped", job.name))

    def watcher(self, job):
        watching = Noting()
        self.told.append(("begun", job.name, watching))
        return watching

    def done(self, job, record):
        self.told.append(("done", job.name))


class Noting:
    def __init__(self):
        self.first, self.epochs, self.steps = None, [], 0

    def started(self, epochs_done, epochs, steps_per_epoch):
        self.first = epochs_done

    def stepped(self):
        self.steps += 1

    def epoch_done(self, metrics):
        self.epochs.append(metrics.epoch)


def _epochs_kept(folder):
    path = folder / METRICS
    return len(path.read_text().splitlines()) - 1 if path.exists() else 0


def _kill_its_worker(folder, killed):
    """Kill the process that its lock names, once three epochs are safe: a checkpoint comes last."""
    while _epochs_kept(folder) < 4:
        time.sleep(0.002)
    number, host, _ = (folder / LOCK).read_text().split()
    assert host == socket.gethostname()
    os.kill(int(number), signal.SIGKILL)
    killed.append((int(number), (folder / RECORD).exists(), _epochs_kept(folder)))


def test_a_worker_is_killed_and_nothing_is_lost(tmp_path, by):
    whole = compare(SLOWER, tmp_path / "whole", data=DATA)
    killed, notes = [], Notes()
    killer = threading.Thread(
        target=_kill_its_worker, args=(tmp_path / "out" / "dlgn-seed1", killed)
    )
    killer.start()
    records = compare(SLOWER, tmp_path / "out", data=DATA, sharing=by, progress=notes)
    killer.join()
    ((number, done, kept),) = killed
    assert number != os.getpid()
    assert not done
    assert 4 <= kept < 30
    assert exact(records) == exact(whole)
    assert exact(load_records(tmp_path / "out")) == exact(load_records(tmp_path / "whole"))
    assert parameters(tmp_path / "out") == parameters(tmp_path / "whole")
    assert not list((tmp_path / "out").rglob(LOCK))
    again = [
        watching for what, job, *rest in notes.told for watching in rest if job == "dlgn-seed1"
    ]
    assert len(again) == 2
    assert again[0].first == 0
    assert again[1].first >= 3
    assert again[1].epochs == list(range(again[1].first, 30))
    assert again[1].steps == 5 * (30 - again[1].first)
    assert sorted(job for what, job, *_ in notes.told if what == "done") == [
        *("dlgn-seed1", "dlgn-seed2", "dnn-seed1", "dnn-seed2")
    ]


def _job(out, name, perform, **options):
    config = {"experiment": "trial", "threads": 1}
    return Job("dnn", 0, out / name, config, 1.0, name, perform, **options)


def _pid(folder, watcher):
    time.sleep(0.2)
    return run_record(measurements={"pid": os.getpid(), "at": time.time()})


def test_needs_and_what_belongs_together(tmp_path, by):
    def reads(folder, watcher):
        assert (folder.with_name("first") / RECORD).exists()
        return _pid(folder, watcher)

    jobs = [
        _job(tmp_path, "first", _pid),
        *(_job(tmp_path, f"mate{k}", _pid, together="mates") for k in range(3)),
        _job(tmp_path, "second", reads, needs=("first", "elsewhere")),
    ]
    run_jobs(jobs[1:2], tmp_path)
    notes = Notes()
    records = run_jobs(jobs, tmp_path, sharing=by, progress=notes)
    assert notes.told[0] == ("skipped", "mate0")
    pids = [record.measurements["pid"] for record in records]
    assert pids[1] == os.getpid()
    assert pids[2] == pids[3] != os.getpid()
    assert records[4].measurements["at"] > records[0].measurements["at"]
    assert run_jobs(jobs, tmp_path, sharing=Sharing(scheduler="tcp://127.0.0.1:9")) == records


MINE = """
from dualview.experiments import Experiment, Variant, classifier_jobs, is_small, of_kind, setting

class Measured:
    def __call__(self, net):
        return {"by": __name__.rpartition("_")[0]}

def plan(request, data, out):
    one = setting("mine", "fc", request, data)
    variant = of_kind(one.comparison, "dlgn", one.data)
    mine = Variant("mine", "dlgn", "mine", variant.build, 1.0, measure=Measured())
    return classifier_jobs(one.comparison, [mine], out, one.data)

EXPERIMENT = Experiment(
    name="mine", title="Mine", question="Is it?", source="none", duration="a moment",
    default_data="digits", plan=plan, tables=lambda records: [], options=("width",),
)
"""
MAKER = """
import torch

def make(num_classes, input_shape):
    return torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(input_shape[0] * input_shape[1] * input_shape[2], 4),
        torch.nn.ReLU(), torch.nn.Linear(4, num_classes),
    )
"""


def test_experiments_and_architectures_of_files(tmp_path, by, monkeypatch):
    """Workers are in another folder, and cannot import the file of an experiment by its name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "maker.py").write_text(MAKER)
    request = Request(width=4, seeds=1, epochs=1, machine=Machine("cpu", threads=1))
    (one,) = reproduce(find("mine.py"), request, tmp_path / "mine", data=DATA, sharing=by)
    assert one.measurements == {"by": "dualview_own_mine"}
    own = small(arch="maker.py:make", width=None)
    carried_there = compare(own, tmp_path / "there", data=DATA, sharing=by)
    assert exact(carried_there) == exact(compare(own, tmp_path / "here", data=DATA))


def test_errors_come_back_and_the_rest_stops(tmp_path, by, monkeypatch):
    def breaks(folder, watcher):
        while not _epochs_kept(folder.with_name("dnn-seed0")):
            time.sleep(0.01)
        raise RunError("of this job alone")

    endless = small(kinds=("dnn",), training={"epochs": 100_000})
    jobs = [*plan_comparison(endless, tmp_path, data=DATA), _job(tmp_path, "other", breaks)]
    with pytest.raises(RunError, match=r"^of this job alone$"):
        run_jobs(jobs, tmp_path, sharing=by)
    kept = _epochs_kept(tmp_path / "dnn-seed0")
    assert kept
    assert not list(tmp_path.rglob(LOCK))
    time.sleep(0.3)
    assert _epochs_kept(tmp_path / "dnn-seed0") == kept, "it was to stop"


def test_workers_that_see_another_folder(tmp_path, by, monkeypatch):
    travelling = carrying.Travelling

    def elsewhere(token, out, threads):
        return travelling(token, out / "elsewhere", threads)

    monkeypatch.setattr(carrying, "Travelling", elsewhere)
    with pytest.raises(RunError, match="elsewhere: a worker finds no such folder of runs"):
        compare(small(), tmp_path, data=DATA, sharing=by)
    assert not list(tmp_path.rglob(RECORD))


def test_a_cluster_that_loses_everything_is_given_up(tmp_path, by, monkeypatch):
    def losing(self):
        raise CancelledError("lost dependencies")

    monkeypatch.setattr(carrying._Carrying, "_one_pass", losing)
    with pytest.raises(RunError, match=r"lost the data 3 times .* finished epochs are kept"):
        compare(small(), tmp_path, data=DATA, sharing=by)


def test_one_job_a_worker(tmp_path):
    from distributed import LocalCluster

    with (
        LocalCluster(
            n_workers=1,
            threads_per_worker=2,
            processes=False,
            dashboard_address=None,
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
        ) as cluster,
        pytest.raises(SettingsError, match=r"one thread each, got 2 at .* --nthreads 1"),
    ):
        compare(small(), tmp_path, data=DATA, sharing=Sharing(scheduler=cluster.scheduler_address))
    assert not list(tmp_path.glob("*/"))


@pytest.mark.parametrize("scheduler", ["processes", "tcp://127.0.0.1:9"])
def test_what_cannot_be_carried(tmp_path, scheduler):
    import dask

    sharing, lock = Sharing(scheduler=scheduler), threading.Lock()
    job = _job(tmp_path, "one", lambda folder, watcher: lock and run_record())
    with pytest.raises(SettingsError, match=r"jobs cannot be sent .*lock"):
        run_jobs([job], tmp_path, sharing=sharing)
    job = replace(job, config={**job.config, "devices": 2})
    with pytest.raises(SettingsError, match="devices: expected 1 with a scheduler, got 2 for one"):
        run_jobs([job], tmp_path, sharing=sharing)
    job = _job(tmp_path, "one", _pid)
    with locked(tmp_path, "shares out", "x"), pytest.raises(RunError, match=f"{os.getpid()} on .*"):
        run_jobs([job], tmp_path, sharing=sharing)
    if scheduler != "processes":
        with (
            dask.config.set({"distributed.comm.timeouts.connect": "200ms"}),
            pytest.raises(RunError, match=r"no dask scheduler answers at .*, or use no scheduler"),
        ):
            run_jobs([job], tmp_path, sharing=sharing)
    assert not (tmp_path / "one").exists()


def test_as_many_processes_as_their_threads_fill(tmp_path, monkeypatch):
    monkeypatch.setattr("dask.system.CPU_COUNT", 8)
    units = [[_job(tmp_path, str(k), _pid)] for k in range(20)]
    assert carrying.processes_for(units, None) == 8
    assert carrying.processes_for(units[:3], None) == 3
    assert carrying.processes_for(units, 5) == 5
    wide = [[replace(job, config={"threads": 4})] for ((job,),) in zip(units, strict=True)]
    assert carrying.processes_for(wide, None) == 2


def test_a_folder_that_is_held_is_waited_for(tmp_path, monkeypatch):
    """A worker that the scheduler took for dead may still be at it."""
    monkeypatch.setattr(carried, "HELD_SECONDS", 0.0)
    monkeypatch.setattr(carried.time, "sleep", lambda seconds: None)
    job = _job(tmp_path, "one", _pid)
    with (
        locked(job.folder, "is training here", "x"),
        pytest.raises(RunError, match="is training here"),
    ):
        carried._finish_when_free([job], Silent())
    monkeypatch.setattr(carried, "HELD_SECONDS", 60.0)
    holding = locked(job.folder, "is training here", "x")
    holding.__enter__()
    monkeypatch.setattr(carried.time, "sleep", lambda seconds: holding.__exit__(None, None, None))
    (record,) = carried._finish_when_free([job], Silent())
    assert record.measurements["pid"] == os.getpid()
