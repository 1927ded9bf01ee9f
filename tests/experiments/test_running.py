"""Properties proved here.

1. Jobs are done in their order, each with its own folder; a job finds the files of earlier ones.
2. Finished jobs are read back, measurements included, and not performed again.
3. Every folder is checked before any job is performed, and whether anybody works on one: the
   message names who does, and since when. Other jobs of the folder go on meanwhile.
4. A full disk, whoever reports it, ends in one error that says how to go on; other errors pass.
5. `only` does a part, and what that needs; earlier runs alone of that part are overwritten.
"""

from __future__ import annotations

import os

import pytest

from dualview.errors import RunError
from dualview.experiments.finishing import held
from dualview.experiments.jobs import Job
from dualview.experiments.records import load_record
from dualview.experiments.run_folders import CONFIG, RECORD
from dualview.experiments.running import run_jobs
from dualview.experiments.selection import Sharing
from dualview.files.locking import LOCK
from tests.record_cases import run_record

CONFIG_OF_ALL = {"experiment": "trial", "epochs": 2}


def _job(out, name, perform, **config):
    return Job("dnn", 0, out / name, {**CONFIG_OF_ALL, **config}, 1.0, name, perform)


def _writes(folder, watcher):
    (folder / "note.txt").write_text(folder.name)
    return run_record("dnn", measurements={"notes": [1, 2.5, "x"]})


def test_in_order_with_earlier_files(tmp_path):
    def reads(folder, watcher):
        text = (folder.parent / "first" / "note.txt").read_text()
        return run_record("dlgn", measurements={"read": text})

    jobs = [_job(tmp_path, "first", _writes), _job(tmp_path, "second", reads)]
    first, second = run_jobs(jobs, tmp_path)
    assert first.measurements == {"notes": [1, 2.5, "x"]}
    assert second.measurements == {"read": "first"}
    assert load_record(tmp_path / "second" / RECORD) == second


def test_finished_jobs_are_read_back(tmp_path):
    records = run_jobs([_job(tmp_path, "one", _writes)], tmp_path)

    def never(folder, watcher):
        raise AssertionError("performed again")

    assert run_jobs([_job(tmp_path, "one", never)], tmp_path) == records


def test_all_folders_are_checked_first(tmp_path):
    run_jobs([_job(tmp_path, "second", _writes, beta=1)], tmp_path)
    performed = []

    def notes(folder, watcher):
        performed.append(folder.name)
        return run_record()

    jobs = [_job(tmp_path, "first", notes), _job(tmp_path, "second", notes, beta=2)]
    with pytest.raises(RunError, match="beta was 1, is now 2"):
        run_jobs(jobs, tmp_path)
    assert performed == []


class SafetensorError(Exception):
    """Named as the library's own."""


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        OSError(122, "Disk quota exceeded"),
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 98816 vs 98712"),
        SafetensorError("I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_says_how_to_go_on(tmp_path, error):
    def full(folder, watcher):
        raise error

    with pytest.raises(RunError, match=r"no space left on the disk .*same command again"):
        run_jobs([_job(tmp_path, "one", full)], tmp_path)
    assert [r.kind for r in run_jobs([_job(tmp_path, "one", _writes)], tmp_path)] == ["dnn"]


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), RuntimeError("of another")])
def test_other_errors_pass(tmp_path, error):
    def broken(folder, watcher):
        raise error

    with pytest.raises(type(error)) as caught:
        run_jobs([_job(tmp_path, "one", broken)], tmp_path)
    assert caught.value is error


def test_a_job_that_another_process_works_on(tmp_path):
    first, second, third = (_job(tmp_path, name, _writes) for name in ("one", "two", "three"))
    with held(second):
        who = rf"two: process {os.getpid()} on .*, since .*, is training here. Repair: wait for it"
        for overwrite in (False, True):
            with pytest.raises(RunError, match=who):
                run_jobs([first, second], tmp_path, overwrite=overwrite)
        assert not (tmp_path / "one").exists()
        run_jobs([first, third], tmp_path)
    run_jobs([first, second, third], tmp_path)
    assert not list(tmp_path.rglob(LOCK))


def test_what_a_killed_process_left_of_a_lock(tmp_path):
    job = _job(tmp_path, "one", _writes)
    job.folder.mkdir()
    (job.folder / LOCK).write_text("123 host 2026-01-01T00:00:00Z\n")
    run_jobs([job], tmp_path)
    (job.folder / LOCK).write_text("123 host 2026-01-01T00:00:00Z\n")
    run_jobs([job], tmp_path, overwrite=False)
    (job.folder / "note.txt").unlink()
    run_jobs([job], tmp_path, overwrite=True)
    assert {path.name for path in job.folder.iterdir()} == {"note.txt", CONFIG, RECORD}


def test_a_part_of_them(tmp_path):
    from dataclasses import replace

    done = []

    def notes(folder, watcher):
        done.append(folder.name)
        return run_record()

    jobs = [_job(tmp_path, name, notes) for name in ("teacher", "other", "pupil")]
    jobs[2] = replace(jobs[2], needs=("teacher",))
    assert len(run_jobs(jobs, tmp_path, sharing=Sharing(only=("pu*",)))) == 2
    assert done == ["teacher", "pupil"]
    run_jobs(jobs, tmp_path, sharing=Sharing(only=("pupil",)), overwrite=True)
    assert done == ["teacher", "pupil", "pupil"]
    assert not (tmp_path / "other").exists()
