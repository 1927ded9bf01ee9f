"""Properties proved here.

1. A run interrupted after any of its epochs and started again ends with exactly the numbers,
   parameters, buffers and files of an uninterrupted one: all optimisers, dropout, batch norm,
   augmentation; also when it is interrupted several times.
2. So does a run interrupted in the middle of an epoch: it goes on from the last finished epoch.
3. A run that has nothing left to train reads its numbers back.
4. What a run measured on the way is the same, each epoch once, however it was interrupted.
5. Checkpoints hold tensors and plain values only: one that would run code is refused, and so is a
   damaged one, by name: cut short or altered anywhere, it is refused or reads as it was.
"""

import dataclasses
import io
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dualview.errors import RunError
from dualview.training import CHECKPOINT, METRICS, MODEL, OPTIMIZERS, TrainSettings, train
from dualview.training.checkpoints import JOB, read_checkpoint
from tests.damage import damaged
from tests.training.tiny import tiny_data, tiny_net

SETTINGS = TrainSettings(
    epochs=4, batch_size=16, learning_rate=0.01, flip=True, crop=1, seed=3, threads=1
)


class _Stop(BaseException):
    """Like a signal: nothing that catches Exception sees it."""


class _Interrupts:
    """Watches a run, and ends it after some steps and epochs of this call."""

    def __init__(self, epochs=None, steps=None):
        self.epochs, self.steps = epochs, steps

    def started(self, epochs_done, epochs, steps_per_epoch):
        pass

    def stepped(self):
        if self.steps is not None:
            self.steps -= 1
            if self.steps == 0:
                raise _Stop

    def epoch_done(self, metrics):
        if self.epochs is not None:
            self.epochs -= 1
            if self.epochs == 0:
                raise _Stop


def _exact(result):
    """All numbers of a run but its times."""
    return [dataclasses.replace(epoch, seconds=0) for epoch in result.curve]


def _train(folder, settings=SETTINGS, watcher=None):
    net = tiny_net()
    return train(net, tiny_data(), settings, folder, watcher=watcher)


def _interrupt(folder, settings=SETTINGS, **when):
    with pytest.raises(_Stop):
        _train(folder, settings, _Interrupts(**when))


def _expect_same(folder, whole_folder, settings=SETTINGS):
    whole = _train(whole_folder, settings)
    resumed = _train(folder, settings)
    assert _exact(resumed) == _exact(whole)
    assert (folder / MODEL).read_bytes() == (whole_folder / MODEL).read_bytes()
    assert len((folder / METRICS).read_text().splitlines()) == settings.epochs + 1


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("epochs", range(1, 5))
def test_interrupted_after_an_epoch(tmp_path, optimizer, epochs):
    settings = dataclasses.replace(SETTINGS, optimizer=optimizer)
    _interrupt(tmp_path / "a", settings, epochs=epochs)
    _expect_same(tmp_path / "a", tmp_path / "b", settings)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 8])
def test_interrupted_within_an_epoch(tmp_path, steps):
    _interrupt(tmp_path / "a", steps=steps)
    _expect_same(tmp_path / "a", tmp_path / "b")


def test_interrupted_again_and_again(tmp_path):
    for steps in (5, 2, 4, 1):
        _interrupt(tmp_path / "a", steps=steps)
    _expect_same(tmp_path / "a", tmp_path / "b")


def test_epochs_change_the_random_numbers(tmp_path):
    """Else the tests above would pass for a run that repeats one epoch."""
    settings = dataclasses.replace(SETTINGS, learning_rate=1e-30, crop=0, flip=False)
    losses = [epoch.train_loss for epoch in _train(tmp_path, settings).curve]
    assert len(set(losses)) == len(losses)


def test_nothing_left_to_train(tmp_path):
    first = _train(tmp_path)
    untouched = tiny_net()
    again = train(untouched, tiny_data(), SETTINGS, tmp_path)
    assert again.curve == first.curve
    assert again.status == "finished"


def _measure(net, epochs_done):
    """Numbers that any change of the parameters changes, every other epoch."""
    if epochs_done % 2:
        return None
    assert not net.training
    assert not torch.is_grad_enabled()
    return {"epoch": epochs_done, "sums": [float(p.double().sum()) for p in net.parameters()]}


@pytest.mark.parametrize("steps", [1, 3, 4, 7, 8, 11])
def test_measurements_survive(tmp_path, steps):
    data, watcher = tiny_data(), _Interrupts(steps=steps)
    with pytest.raises(_Stop):
        train(tiny_net(), data, SETTINGS, tmp_path / "a", watcher=watcher, measure=_measure)
    resumed = train(tiny_net(), data, SETTINGS, tmp_path / "a", measure=_measure)
    whole = train(tiny_net(), data, SETTINGS, tmp_path / "b", measure=_measure)
    assert resumed.measurements == whole.measurements
    assert [taken["epoch"] for taken in whole.measurements] == [0, 2, 4]
    with torch.no_grad():
        assert whole.measurements[0] == _measure(tiny_net().eval(), 0)
    again = train(tiny_net(seed=9), data, SETTINGS, tmp_path / "a", measure=_measure)
    assert again.measurements == whole.measurements


def test_measuring_changes_nothing(tmp_path):
    measured = train(tiny_net(), tiny_data(), SETTINGS, tmp_path / "a", measure=_measure)
    assert _exact(measured) == _exact(_train(tmp_path / "b"))
    assert (tmp_path / "a" / MODEL).read_bytes() == (tmp_path / "b" / MODEL).read_bytes()


class _Code:
    def __reduce__(self):
        return (print, ("this must not run",))


def test_code_in_a_checkpoint_does_not_run(tmp_path, capsys):
    torch.save({"curve": _Code()}, tmp_path / CHECKPOINT)
    with pytest.raises(RunError, match=r"last\.ckpt: expected a checkpoint"):
        _train(tmp_path)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", pickle.dumps([1, 2]), "truncated"])
def test_damaged_checkpoints_are_refused(tmp_path, content):
    path = tmp_path / CHECKPOINT
    if content == "truncated":
        _interrupt(tmp_path, epochs=1)
        content = path.read_bytes()[:-500]
    path.write_bytes(content)
    with pytest.raises(RunError, match="delete the file"):
        read_checkpoint(path, {})


def _saved(checkpoint):
    """Everything in a checkpoint, to the bit."""
    stream = io.BytesIO()
    torch.save(checkpoint, stream)
    return stream.getvalue()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The bytes of a checkpoint, and what is read from them."""
    folder = tmp_path_factory.mktemp("written")
    _interrupt(folder, epochs=1)
    job = torch.load(folder / CHECKPOINT, weights_only=True)[JOB]
    return (
        (folder / CHECKPOINT).read_bytes(),
        _saved(read_checkpoint(folder / CHECKPOINT, job)),
        job,
    )


def _outcome(path, job):
    """What is read, or the message of the error."""
    try:
        return _saved(read_checkpoint(path, job)), None
    except RunError as error:
        return None, str(error)


@given(data=st.data())
def test_damage_is_refused_or_harmless(tmp_path_factory, written, data):
    content, expected, job = written
    path = tmp_path_factory.mktemp("damaged") / CHECKPOINT
    path.write_bytes(data.draw(damaged(content)))
    found, message = _outcome(path, job)
    if message is None:
        assert found == expected
    else:
        assert message.startswith(f"{path}: expected a checkpoint")
        assert "delete the file" in message


def test_another_programs_checkpoint_is_refused(tmp_path):
    torch.save({"epoch": 3}, tmp_path / CHECKPOINT)
    with pytest.raises(RunError, match="expected a checkpoint"):
        _train(tmp_path)
