"""Lightning's own processes for several devices, whatever launcher started the first."""

from __future__ import annotations

from dualview.training.environment import has_started_others, is_main_process
from dualview.training.lightning import LightningEnvironment


class OwnProcesses(LightningEnvironment):
    """The processes of a run are those that its first one starts.

    Lightning takes a launcher's LOCAL_RANK for a sign that all processes are there already.
    """

    @property
    def creates_processes_externally(self) -> bool:
        """Whether the others are there."""
        return has_started_others() or not is_main_process()
