"""Modes of one thread.

- A mode sees each operation of its own thread inside the block, and none of others.
- Flags of the whole process stay, in whatever order threads leave their blocks.
"""

import threading

import torch
from torch.utils import _python_dispatch

from dualview.conversion.thread_mode import ThreadMode


class Seen(ThreadMode):
    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


def flags():
    return {k: v for k, v in vars(_python_dispatch).items() if k.startswith("_is_in")}


def test_two_threads_that_leave_in_the_order_in_which_they_came():
    before, seen = flags(), [Seen(), Seen()]
    first_is_in, second_is_in, first_is_out = (threading.Event() for _ in range(3))

    def first():
        with seen[0]:
            first_is_in.set()
            assert second_is_in.wait(10)
            torch.ones(2).exp()
        first_is_out.set()

    thread = threading.Thread(target=first)
    thread.start()
    assert first_is_in.wait(10)
    with seen[1]:
        second_is_in.set()
        assert first_is_out.wait(10)
        torch.ones(2).sin()
    thread.join()
    torch.ones(2).cos()
    assert [mode.names for mode in seen] == [
        ["aten.ones.default", "aten.exp.default"],
        ["aten.ones.default", "aten.sin.default"],
    ]
    assert flags() == before
