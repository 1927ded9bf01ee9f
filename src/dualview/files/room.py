"""How much memory the process may still take: asked before something large is read."""

from __future__ import annotations

import os
import sys
from pathlib import Path

GROUP = Path("/sys/fs/cgroup")
"""Where Linux tells the limit of the container, or session, that the process is in."""


def room() -> int:
    """Bytes that this process may take: what the machine has left, less where a limit is lower.

    Limits are those of the process (`ulimit -v`, `prlimit --as`) and of its container. On systems
    that tell nothing, a number beyond any memory.

    >>> room() > 2**20
    True
    """
    return max(0, min(_of_machine(), _of_process(), _of_container()))


def said(size: float) -> str:
    """A size in a message.

    >>> said(3 * 2**30), said(2**20)
    ('3.0 GiB', '1 MiB')
    """
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


def _of_machine() -> int:
    for line in _lines(Path("/proc/meminfo")):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return sys.maxsize


def _of_process() -> int:
    try:
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        pages = _lines(Path("/proc/self/statm"))
        if limit == resource.RLIM_INFINITY or not pages:
            return sys.maxsize
        return limit - int(pages[0].split()[0]) * resource.getpagesize()
    except (ImportError, OSError, ValueError):
        return sys.maxsize


def _of_container() -> int:
    try:
        limit, used = (_lines(GROUP / f"memory.{name}")[0] for name in ("max", "current"))
        kept = dict(line.split() for line in _lines(GROUP / "memory.stat"))
        cache = int(kept["active_file"]) + int(kept["inactive_file"])  # given up when needed
        return int(limit) - int(used) + cache
    except (IndexError, KeyError, ValueError):  # no such files, or "max": no limit
        return sys.maxsize


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return []
