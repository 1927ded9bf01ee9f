"""Properties proved here.

1. Where the output is no terminal: a line when a run begins, one when it ends, one a minute in
   between, and not a bar.
2. In a terminal: the run's bar counts its epochs; the bar of all runs ends full, resumed and
   skipped runs included, and a gated run weighs as two of the DNN's; the bars are gone at the end.
3. Of runs at once, the bar is that of the first, and all count; each line has its run's number.
4. A run that diverged says so, and one that goes on says after which epoch, with bars and without.
"""

import io
import re

import pytest

from dualview.experiments.comparison import compare
from dualview.experiments.jobs import Job, cost
from dualview.experiments.progress import TerminalProgress
from tests.experiments.small import small
from tests.record_cases import run_record
from tests.training.tiny import tiny_data

DATA = tiny_data()


def never(folder, watcher):
    raise AssertionError


class _Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def _redraw_always(monkeypatch):
    monkeypatch.setattr("dualview.experiments.progress.REDRAW_SECONDS", -1.0)


def test_lines_where_there_is_no_terminal(tmp_path):
    stream = io.StringIO()
    compare(small(), tmp_path, data=DATA, progress=TerminalProgress(stream))
    begins, ends, *second = stream.getvalue().splitlines()
    assert begins == "[1/2] DNN, seed 0: 2 epochs"
    assert re.fullmatch(r"\[1/2\] DNN, seed 0: test accuracy \d+\.\d\d % in \d+\.\d s", ends)
    assert [line.startswith("[2/2] DLGN, seed 0: ") for line in second] == [True, True]


def test_a_line_now_and_then_where_there_is_no_terminal(tmp_path, monkeypatch):
    monkeypatch.setattr("dualview.experiments.progress.LINE_SECONDS", -1.0)
    stream = io.StringIO()
    compare(small(kinds=("dnn",)), tmp_path, data=DATA, progress=TerminalProgress(stream))
    between = stream.getvalue().splitlines()[1:-1]
    assert len(between) == 10, "2 epochs of 5 steps"
    assert between[0] == "[1/1] DNN, seed 0: epoch 0/2"
    assert re.fullmatch(r"\[1/1\] DNN, seed 0: epoch 1/2, test .* %, loss .*", between[5])


def test_lines_of_runs_that_were_finished(tmp_path):
    compare(small(), tmp_path, data=DATA)
    stream = io.StringIO()
    compare(small(), tmp_path, data=DATA, progress=TerminalProgress(stream))
    assert [line.endswith("finished earlier") for line in stream.getvalue().splitlines()] == [
        True,
        True,
    ]


def test_diverged_runs_say_so(tmp_path):
    settings = small(kinds=("dnn",), training={"optimizer": "sgd", "learning_rate": 1e20})
    stream = io.StringIO()
    compare(settings, tmp_path, data=DATA, progress=TerminalProgress(stream))
    assert "DNN, seed 0: diverged: the train loss is" in stream.getvalue()


class _Recorded(TerminalProgress):
    """Notes how far the bars are after each run."""

    def __init__(self, stream):
        super().__init__(stream)
        self.all, self.run = [], []

    def done(self, run, record):
        super().done(run, record)
        self.all.append(self._all.n)
        self.run.append((self._run.n, self._run.total))


def test_bars_in_a_terminal(tmp_path):
    stream = _Terminal()
    progress = _Recorded(stream)
    compare(small(), tmp_path, data=DATA, progress=progress)
    assert progress.all == pytest.approx([1, 3])
    assert progress.run == [(10, 10), (10, 10)]  # 2 epochs of 5 steps
    shown = stream.getvalue()
    assert "epoch 1/2, test" in shown
    assert "all runs, 1 of 2" in shown
    assert " left" in shown
    assert shown.rpartition("\n")[2].strip("\r\x1b[A \n") == ""


def test_runs_at_once(tmp_path):
    jobs = [
        Job("dnn", 0, tmp_path / name, {}, 2.0, name, never) for name in ("one", "two", "three")
    ]
    stream = _Terminal()
    progress = TerminalProgress(stream)
    with progress.over(jobs):
        progress.skipped(jobs[2], run_record())
        first, second = (progress.watcher(job) for job in jobs[:2])
        first.started(0, 2, 5)
        second.started(1, 2, 5)
        assert progress._all.n == pytest.approx(2 + 0 + 1)
        assert progress._all.desc == "all runs, 1 of 3, 2 at once"
        first.stepped()
        second.stepped()
        assert (progress._run.n, progress._run.desc) == (1, "one")
        progress.done(jobs[0], run_record())
        second.stepped()
        assert (progress._run.n, progress._run.desc) == (7, "two")
        assert progress._all.n == pytest.approx(2 + 2 + 1.4)
    said = [line.split("[")[-1] for line in stream.getvalue().split("\n") if "] t" in line]
    assert said[0].startswith("3/3] three: test accuracy")
    assert said[1].startswith("2/3] two: goes on after epoch 1 of 2")


def test_bars_count_what_was_done_before(tmp_path):
    settings = small(kinds=("dnn", "dgn", "dlgn"))
    compare(small(kinds=("dnn",)), tmp_path, data=DATA)

    class Stops(_Recorded):
        def watcher(self, run):
            watcher = super().watcher(run)
            told = watcher.epoch_done

            def stop(metrics):
                told(metrics)
                raise KeyboardInterrupt

            watcher.epoch_done = stop
            return watcher

    with pytest.raises(KeyboardInterrupt):
        compare(settings, tmp_path, data=DATA, progress=Stops(_Terminal()))
    stream = _Terminal()
    progress = _Recorded(stream)
    compare(settings, tmp_path, data=DATA, progress=progress)
    assert progress.all == pytest.approx([3, 5])
    assert "[2/3] DGN, seed 0: goes on after epoch 1 of 2" in stream.getvalue()


def test_a_run_that_goes_on_says_so_where_there_is_no_terminal(tmp_path):
    class Stops(TerminalProgress):
        def watcher(self, job):
            watcher = super().watcher(job)
            watcher.epoch_done = self.stop
            return watcher

        def stop(self, metrics):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare(small(), tmp_path, data=DATA, progress=Stops(io.StringIO()))
    stream = io.StringIO()
    compare(small(), tmp_path, data=DATA, progress=TerminalProgress(stream))
    assert stream.getvalue().startswith("[1/2] DNN, seed 0: goes on after epoch 1 of 2\n")


def test_gated_networks_cost_two():
    assert [cost(kind) for kind in ("dnn", "dgn", "dlgn-ones")] == [1, 2, 2]
