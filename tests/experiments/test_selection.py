"""Properties proved here.

1. `only` takes names and patterns, and with them the unfinished jobs that these need, at any
   distance, and those that are done together with them, in the order of all jobs; what is of no job
   is refused with the nearest name.
2. Jobs that belong together and stand side by side are one unit; every other job is its own.
3. Schedulers that cannot be meant, and workers without processes, are refused by name.
"""

import pytest

from dualview.experiments.jobs import Job
from dualview.experiments.run_folders import RECORD
from dualview.experiments.selection import Sharing, chosen, is_done, units
from dualview.training import SettingsError


@pytest.fixture
def jobs(tmp_path):
    def job(name, **options):
        return Job("dnn", 0, tmp_path / name, {}, 1.0, name, lambda *_: None, **options)

    return [
        job("teacher"),
        job("a-seed0", together="a"),
        job("a-seed1", together="a"),
        job("pupil", needs=("teacher",)),
        job("heir", needs=("pupil",)),
        job("b-seed0"),
    ]


def names(jobs):
    return [job.name for job in jobs]


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        (None, ["teacher", "a-seed0", "a-seed1", "pupil", "heir", "b-seed0"]),
        (["b-seed0"], ["b-seed0"]),
        (["a-seed1"], ["a-seed0", "a-seed1"]),
        (["heir"], ["teacher", "pupil", "heir"]),
        (["*-seed0"], ["a-seed0", "a-seed1", "b-seed0"]),
        (["b*", "teacher"], ["teacher", "b-seed0"]),
    ],
)
def test_only(jobs, only, expected):
    assert names(chosen(jobs, only)) == expected


def test_only_and_what_is_done(jobs):
    for job in (jobs[1], jobs[3]):
        job.folder.mkdir()
        (job.folder / RECORD).touch()
        assert is_done(job)
    assert names(chosen(jobs, ["heir"])) == ["heir"]
    assert names(chosen(jobs, ["a-seed1"])) == ["a-seed1"]
    assert names(chosen(jobs, ["pupil"])) == ["pupil"]


def test_no_such_job(jobs):
    with pytest.raises(SettingsError, match=r"only: expected .* got 'pupl'; did you mean 'pupil'"):
        chosen(jobs, ["teacher", "pupl"])


def test_units(jobs):
    assert [names(unit) for unit in units(jobs)] == [
        *(["teacher"], ["a-seed0", "a-seed1"], ["pupil"], ["heir"], ["b-seed0"])
    ]
    assert list(units([])) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scheduler": "threads"}, "scheduler: expected 'processes' or an address"),
        ({"scheduler": "proceses"}, "did you mean 'processes'"),
        ({"workers": 2}, "workers: expected none but with scheduler='processes', got 2"),
        ({"scheduler": "tcp://h:1", "workers": 2}, "workers: expected none but"),
        ({"scheduler": "processes", "workers": 0}, "workers: expected a whole number from 1"),
        ({"only": ()}, "only: expected"),
        ({"only": "dnn"}, "only: expected"),
    ],
)
def test_refusals(options, message):
    with pytest.raises(SettingsError, match=message):
        Sharing(**options)
