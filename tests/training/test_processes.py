"""A launcher's LOCAL_RANK alone says nothing of processes: a run starts its own."""

import pytest

from dualview.training import processes
from dualview.training.processes import OwnProcesses


@pytest.mark.parametrize(("started", "main", "external"), [(0, 1, 0), (1, 1, 1), (0, 0, 1)])
def test_whether_the_others_are_there(monkeypatch, started, main, external):
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setattr(processes, "has_started_others", lambda: bool(started))
    monkeypatch.setattr(processes, "is_main_process", lambda: bool(main))
    assert OwnProcesses().creates_processes_externally is bool(external)
