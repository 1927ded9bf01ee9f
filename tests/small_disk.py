"""A disk that really is small, where root can mount one."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

_MOUNT = 'mount -t tmpfs -o size="$1" tmpfs "$0" || exit 77; shift; exec "$@"'


def run_on_small_disk(disk: Path, size: str, command: Sequence[str]) -> list[str]:
    """Run a command with a disk of that size at `disk`: the lines that it prints.

    In a namespace of its own, so that the disk is gone with the process. Skips the test where none
    can be mounted.
    """
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("only root can mount a small disk; the simulated one stands in for it")
    disk.mkdir()
    shell = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _MOUNT, str(disk), size]
    done = subprocess.run([*shell, *command], capture_output=True, text=True, timeout=100)
    if done.returncode == 77 or done.stderr.startswith("unshare:"):
        pytest.skip("cannot mount a small disk here; the simulated one stands in for it")
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
