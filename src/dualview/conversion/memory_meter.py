"""How much memory a computation takes, found on meta tensors, which take none."""

from __future__ import annotations

import weakref
from collections import Counter
from typing import Any

from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode


class MemoryMeter(TorchDispatchMode):
    """Counts the bytes of all tensors that are made and not yet gone, inside its block.

    What an operation needs for itself while it runs is not seen.

    Attributes:
        peak: most bytes at once.
        written: bytes of all that was made.

    >>> import torch
    >>> with MemoryMeter() as meter:
    ...     x = torch.zeros(1000, device="meta", dtype=torch.float64)
    ...     for _ in range(5):
    ...         x = x + 1
    >>> meter.peak, meter.written
    (16000, 48000)
    """

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self.written = 0
        self._now = 0
        self._readers: Counter[int] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in pytree.tree_leaves(out):
            if isinstance(leaf, Tensor):
                self._take(leaf)
        return out

    def _take(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if not self._readers[key]:
            self._now += size
            self.written += size
            self.peak = max(self.peak, self._now)
        self._readers[key] += 1
        weakref.finalize(tensor, self._drop, key, size).atexit = False

    def _drop(self, key: int, size: int) -> None:
        self._readers[key] -= 1
        if not self._readers[key]:
            del self._readers[key]
            self._now -= size
