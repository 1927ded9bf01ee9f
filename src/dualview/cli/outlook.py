"""What `compare` and `reproduce` say of their jobs before they do them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dualview.experiments.jobs import Job
    from dualview.experiments.selection import Sharing


def outlook_text(jobs: Sequence[Job], sharing: Sharing, title: str) -> str:
    """The jobs that would be done, as a table with notes; some steps of each sort are taken.

    Args:
        jobs: all there are.
        sharing: which of them, and who does them.
        title: of the table.

    Raises:
        SettingsError: a name is of no job.
    """
    from dualview.cluster import PROCESSES
    from dualview.experiments.carrying import processes_for
    from dualview.experiments.estimating import in_words, outlook, outlook_table, total_seconds
    from dualview.experiments.selection import chosen, is_done, units
    from dualview.experiments.tables import to_text
    from dualview.progress import Terminal

    jobs = chosen(jobs, sharing.only)
    expected = outlook(jobs, progress=Terminal())
    text = to_text(outlook_table(expected, title))
    left = [job for job in jobs if not is_done(job)]
    if sharing.scheduler == PROCESSES and left:
        workers = processes_for(list(units(left)), sharing.workers)
        seconds = total_seconds(expected, workers)
        if seconds is not None:
            text += f"\n\nOn {workers} processes, which share this machine's cores, the least is "
            text += f"{in_words(seconds)}."
    return text
