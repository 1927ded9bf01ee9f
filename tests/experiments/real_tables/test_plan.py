"""What is planned; that it is measured, `test_registry` shows with every experiment."""

from unittest import mock

from dualview.experiments.experiment import Request
from dualview.experiments.real_tables import keel
from dualview.experiments.real_tables.plan import plan
from tests.experiments.reproduced import few_tables


def test_jobs(tmp_path):
    with mock.patch.object(keel, "keel_tables", few_tables):
        jobs = plan(Request(seeds=2, width=5), None, tmp_path)
    assert [job.name for job in jobs] == ["sevens-seed0", "sevens-seed1"]
    assert {job.config["width"] for job in jobs} == {5}
