"""Properties proved here.

1. The curve, the parameters and the buffers equal those of a plain training loop written out here,
   without Lightning: order, augmentation, dropout, batch norm, schedule, losses and accuracies.
2. In every epoch, each training step meets the network in training mode and each evaluation batch
   meets it in evaluation mode, whatever mode it came in.
3. The rate rises and falls over the whole run, whatever its length.
4. The tally's means are means over examples, not over batches.
"""

import pytest
import torch
from torch import nn

from dualview.datasets import Batches
from dualview.datasets.batches import mixed_seed
from dualview.training import TrainSettings, train
from dualview.training.module import Tally
from dualview.training.optimisation import learning_rate
from dualview.training.threads import use_threads
from tests.training.tiny import tiny_data, tiny_net

SETTINGS = TrainSettings(
    epochs=4, batch_size=16, learning_rate=0.01, flip=True, crop=1, seed=3, threads=1
)


def _plain_loop(net, data, settings):
    """What `train` promises, written out: rows of (losses and accuracies) per epoch."""
    options = {"mean": data.mean, "std": data.std}
    train_batches = Batches(
        data.train,
        settings.batch_size,
        shuffle=True,
        seed=settings.seed,
        crop=settings.crop,
        flip=settings.flip,
        **options,
    )
    total = settings.epochs * len(train_batches)
    adam = torch.optim.Adam(net.parameters(), fused=True)
    net.to(memory_format=torch.channels_last)  # else rounding differs, and Adam enlarges it
    step, rows = 0, []
    for epoch in range(settings.epochs):
        torch.manual_seed(mixed_seed(settings.seed, epoch, 0))
        train_batches.set_epoch(epoch)
        net.train()
        seen = []
        for images, labels in train_batches:
            for group in adam.param_groups:
                group["lr"] = learning_rate(settings, step, total)
            logits = net(images.contiguous(memory_format=torch.channels_last))
            loss = nn.functional.cross_entropy(logits, labels)
            adam.zero_grad()
            loss.backward()
            adam.step()
            seen += list(zip(logits.detach(), labels, strict=True))
            step += 1
        row = [_scores(seen)]
        net.eval()
        for split in (data.validation, data.test):
            with torch.no_grad():
                batches = Batches(split, 5, **options)
                seen = [pair for x, y in batches for pair in zip(net(x), y, strict=True)]
            row.append(_scores(seen))
        rows.append(row)
    return rows


def _scores(seen):
    """Mean loss and accuracy, example by example, in float64."""
    losses = [-logits.double().log_softmax(0)[label].item() for logits, label in seen]
    hits = [float(logits.argmax() == label) for logits, label in seen]
    return sum(losses) / len(losses), sum(hits) / len(hits)


def test_training_equals_a_plain_loop(tmp_path):
    data, plain, trained = tiny_data(), tiny_net(), tiny_net()
    with use_threads(SETTINGS.threads):  # sums of other threads round otherwise
        rows = _plain_loop(plain, data, SETTINGS)
    result = train(trained, data, SETTINGS, tmp_path)
    for epoch, (on_train, on_validation, on_test) in zip(result.curve, rows, strict=True):
        assert (epoch.train_loss, epoch.train_accuracy) == pytest.approx(on_train, rel=1e-5)
        assert (epoch.validation_loss, epoch.validation_accuracy) == pytest.approx(
            on_validation, rel=1e-5
        )
        assert (epoch.test_loss, epoch.test_accuracy) == pytest.approx(on_test, rel=1e-5)
    for name, tensor in plain.state_dict().items():
        torch.testing.assert_close(trained.state_dict()[name], tensor, rtol=1e-5, atol=1e-6)


class _Modes(nn.Module):
    """Notes the mode and the number of examples of every call."""

    def __init__(self):
        super().__init__()
        self.net = tiny_net()
        self.calls = []

    def forward(self, x):
        inner = {module.training for module in self.net.modules()}
        assert inner == {self.training}
        self.calls.append((self.training, torch.is_grad_enabled(), len(x)))
        return self.net(x)


@pytest.mark.parametrize("mode", [True, False])
def test_modes_are_right_in_every_epoch(tmp_path, mode):
    net = _Modes().train(mode)
    train(net, tiny_data(n_train=40, n_other=12), SETTINGS, tmp_path)
    training = [(True, True, 16), (True, True, 16), (True, True, 8)]
    evaluation = [(False, False, 12)] * 2
    trial = [(False, False, 2)]
    assert net.calls == trial + (training + evaluation) * SETTINGS.epochs
    assert not net.training


@pytest.mark.parametrize("epochs", [1, 3, 10])
def test_the_rate_spans_the_run(tmp_path, epochs):
    settings = TrainSettings(epochs=epochs, batch_size=10, learning_rate=0.02)
    curve = train(tiny_net(), tiny_data(), settings, tmp_path).curve
    assert curve[-1].learning_rate == pytest.approx(0.02 * 4e-6)
    assert max(epoch.learning_rate for epoch in curve[:-1] or curve) <= 0.02
    expected = [learning_rate(settings, 4 * (epoch + 1) - 1, 4 * epochs) for epoch in range(epochs)]
    assert [epoch.learning_rate for epoch in curve] == pytest.approx(expected)


def test_tally_weighs_examples_alike():
    tally = Tally()
    tally.add(torch.tensor(1.0), torch.tensor([[0.0, 1.0]] * 3), torch.tensor([1, 1, 0]))
    tally.add(torch.tensor(5.0), torch.tensor([[0.0, 1.0]]), torch.tensor([0]))
    assert tally.means(lambda sums: sums) == (2.0, 0.5)
