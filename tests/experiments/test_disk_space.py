"""Properties proved here.

1. Finished jobs need no room; each other one needs its model and its other files, the largest two
   checkpoints beside.
2. A checkpoint and a model of a real run are no larger than what is reckoned for them.
3. Too little room is refused with what was expected, what was found, and the repair, also where the
   folder does not exist yet, and before anything is performed.
4. Sizes are written in the unit that suits them.
5. On a disk that really fills, finished runs and epochs stay readable, the error says how to go on,
   a further call trains nothing, and once there is room it ends with the numbers of any other.
"""

from __future__ import annotations

import shutil
import sys
from collections import namedtuple

import pytest

from dualview.errors import RunError
from dualview.experiments import disk_space
from dualview.experiments.jobs import Job
from dualview.experiments.run_folders import RECORD
from dualview.experiments.running import run_jobs
from dualview.training import CHECKPOINT, MODEL, TrainSettings, train
from tests.record_cases import run_record
from tests.small_disk import run_on_small_disk
from tests.training.tiny import tiny_data, tiny_net

Usage = namedtuple("Usage", "total used free")


def _job(folder, parameters):
    def perform(where, watcher):
        return run_record()

    return Job("dnn", 0, folder, {}, 1.0, "one", perform, parameters)


def test_what_is_reckoned(tmp_path):
    jobs = [_job(tmp_path / "a", 10**6), _job(tmp_path / "b", 2 * 10**6)]
    assert disk_space.needed(jobs) == 12 * 10**6 + 2 * 2**20 + 48 * 10**6
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / RECORD).touch()
    assert disk_space.needed(jobs) == 4 * 10**6 + 2**20 + 24 * 10**6
    assert disk_space.needed(jobs[1:]) == 0


def test_real_files_are_no_larger(tmp_path):
    net = tiny_net()
    train(net, tiny_data(), TrainSettings(epochs=1, tensorboard=False), tmp_path)
    parameters = sum(p.numel() for p in net.parameters())
    other = disk_space.OTHER_BYTES
    assert (tmp_path / MODEL).stat().st_size < 4 * parameters + other
    assert (tmp_path / CHECKPOINT).stat().st_size < 12 * parameters + other


def test_too_little_room(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 10**9, 5 * 2**20))
    job = _job(tmp_path / "deep" / "er" / "one", 10**6)
    with pytest.raises(RunError, match=r"expected 27\.7 MiB free .* got 5\.0 MiB; free some"):
        run_jobs([job], tmp_path / "deep" / "er")
    assert not job.folder.exists()
    disk_space.check([_job(tmp_path / "small", 10)], tmp_path / "not" / "there")


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (5 * 2**40, "5.0 TiB")],
)
def test_sizes(count, text):
    assert disk_space.size(count) == text


def test_a_disk_that_really_fills(tmp_path):
    disk = tmp_path / "disk"
    script = [sys.executable, "-m", "tests.experiments.full_disk", str(disk), str(tmp_path / "any")]
    first, second, last = run_on_small_disk(disk, "3m", script)
    assert first.startswith(f"{disk}/out: no space left on the disk (")
    assert first.endswith("give the same command again, which goes on from there")
    wanted = f"{disk}/out: expected 1.0 MiB free for models and checkpoints, got "
    assert second.startswith(wanted)
    assert second.removeprefix(wanted).startswith(("0 bytes", "4.0 KiB"))  # a page, of a lock
    assert last == "equal"
