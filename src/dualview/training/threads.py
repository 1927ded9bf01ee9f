"""How many CPU threads PyTorch uses, for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def use_threads(count: int | None) -> Iterator[None]:
    """Let PyTorch use so many CPU threads; None changes nothing.

    >>> import torch
    >>> with use_threads(1):
    ...     torch.get_num_threads()
    1
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
