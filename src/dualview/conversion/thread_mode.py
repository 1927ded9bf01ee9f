"""A mode that sees each operation on real tensors, in one thread alone."""

from __future__ import annotations

from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode, _pop_mode, _push_mode


class ThreadMode(TorchDispatchMode):
    """Base class of modes for a `with` block.

    The stack of modes belongs to a thread. PyTorch's own `with` also sets flags of the whole
    process, which two threads leave wrong, and imports its compiler.
    """

    def __enter__(self) -> ThreadMode:
        _push_mode(self)
        return self

    def __exit__(self, *error: Any) -> None:
        _pop_mode()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False
