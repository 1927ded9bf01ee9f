"""Properties proved here.

1. A job's folder is held while it is done, and let go, without the lock's file, whatever happens.
2. Of jobs that are done together all are held from the first to the last; where one is held by
   another process, nothing is done.
3. What another process finished meanwhile is read back.
"""

import pytest

from dualview.errors import RunError
from dualview.experiments.finishing import finish, held
from dualview.experiments.jobs import Job, Silent
from dualview.experiments.records import save_record
from dualview.experiments.run_folders import RECORD
from dualview.files.locking import LOCK, HeldError, holder
from tests.record_cases import run_record


def _job(folder, perform):
    return Job("dnn", 0, folder, {"experiment": "trial"}, 1.0, folder.name, perform)


def test_a_folder_is_held(tmp_path):
    seen = []

    def looks(folder, watcher):
        seen.append([bool(holder(tmp_path / name)) for name in ("one", "two")])
        return run_record()

    jobs = [_job(tmp_path / name, looks) for name in ("one", "two")]
    finish(jobs, Silent())
    assert seen == [[True, True], [True, True]]
    assert not list(tmp_path.rglob(LOCK))

    def breaks(folder, watcher):
        raise RunError("broken")

    with pytest.raises(RunError, match="broken"):
        finish([_job(tmp_path / "three", breaks)], Silent())
    assert not list(tmp_path.rglob(LOCK))


def test_nothing_is_done_where_one_is_held(tmp_path):
    jobs = [_job(tmp_path / name, lambda *_: pytest.fail("done")) for name in ("one", "two")]
    with held(jobs[1]), pytest.raises(HeldError, match=r"two: process .* is training here"):
        finish(jobs, Silent())
    assert not list(tmp_path.rglob(LOCK))


def test_what_another_finished_meanwhile(tmp_path):
    record = run_record()

    def finds_the_other_done(folder, watcher):
        save_record(record, folder.with_name("two") / RECORD)
        return record

    first = _job(tmp_path / "one", finds_the_other_done)
    second = _job(tmp_path / "two", lambda *_: pytest.fail("done again"))
    assert finish([first, second], Silent()) == [record, record]
