"""Signals that end a job raise within the block alone, and what the caller handles stays his.

In a thread nothing is changed, since Python lets only the main one handle signals.
"""

import signal
import threading

import pytest

from dualview.training.interruption import ENDING, Terminated, terminable


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_ends_the_block(number):
    before = signal.getsignal(number)
    with pytest.raises(Terminated) as ended, terminable():
        signal.raise_signal(number)
    assert ended.value.code == 128 + number
    assert signal.getsignal(number) is before


def test_what_the_caller_handles_stays(monkeypatch):
    heard = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: heard.append(number))
    try:
        with terminable():
            signal.raise_signal(signal.SIGUSR1)
        assert heard == [signal.SIGUSR1]
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_other_threads():
    done = []

    def work():
        with terminable():
            done.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [signal.getsignal(signal.SIGTERM)]
