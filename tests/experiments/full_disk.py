"""Run as a program: a comparison on a small disk that fills on the way, and goes on."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

import torch

from dualview.errors import RunError
from dualview.experiments.comparison import compare
from dualview.experiments.jobs import Silent
from dualview.experiments.records import load_record
from dualview.training import Unwatched
from tests.experiments.small import exact, parameters, small
from tests.training.tiny import tiny_data

SETTINGS = small(training={"epochs": 3})


class _Fills(Unwatched):
    """Fills the disk after an epoch."""

    def __init__(self, ballast: Path) -> None:
        self.ballast = ballast

    def epoch_done(self, metrics: object) -> None:
        with suppress(OSError), self.ballast.open("ab", buffering=0) as stream:
            while stream.write(bytes(512)):
                pass


class _Progress(Silent):
    """The disk is full from the first epoch of the second run on."""

    def __init__(self, ballast: Path) -> None:
        self.ballast = ballast

    def watcher(self, job):
        return _Fills(self.ballast) if job.kind == "dlgn" else Unwatched()


def _refusal(disk: Path) -> str:
    try:
        compare(SETTINGS, disk / "out", data=tiny_data(), progress=_Progress(disk / "ballast"))
    except RunError as error:
        return str(error)
    return "no error"


def main(disk: Path, elsewhere: Path) -> None:
    """Print the message of the full disk, then that of a call on it; check what is left."""
    print(_refusal(disk))
    print(_refusal(disk))  # refused before anything is trained
    first, second = disk / "out/dnn-seed0", disk / "out/dlgn-seed0"
    assert load_record(first / "record.json").status == "finished"
    assert len(torch.load(second / "last.ckpt", weights_only=True)["curve"]) == 1
    (disk / "ballast").unlink()
    resumed = compare(SETTINGS, disk / "out", data=tiny_data())
    whole = compare(SETTINGS, elsewhere, data=tiny_data())
    assert exact(resumed) == exact(whole)
    assert parameters(disk / "out") == parameters(elsewhere)
    print("equal")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
