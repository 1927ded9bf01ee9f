"""Runs the notebooks beside this file, or those named, and stores their outputs in them.

python docs/tutorials/run.py [NOTEBOOK ...]
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

SECONDS = 300
"""A cell that takes longer is an error."""


def executed(path: Path) -> nbformat.NotebookNode:
    """The notebook with the outputs of a run in a fresh kernel, on one thread.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell ended in an error.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=SECONDS,
        kernel_name="python3",
        record_timing=False,  # so that a second run changes nothing
        coalesce_streams=True,
        resources={"metadata": {"path": str(path.parent)}},
    )
    # Sums in another order, on more threads, would differ in their last bits.
    return client.execute(env={**os.environ, "OMP_NUM_THREADS": "1"})


if __name__ == "__main__":
    here = Path(__file__).parent
    for name in map(Path, sys.argv[1:] or sorted(here.glob("*.ipynb"))):
        nbformat.write(executed(name), name)
