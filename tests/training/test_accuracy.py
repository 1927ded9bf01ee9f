"""The share of right answers, counted one by one; in evaluation mode, which is put back."""

import pytest
import torch
from torch import nn

import dualview as dv
from dualview.datasets import Batches
from dualview.training.accuracy import accuracy
from tests.training.tiny import tiny_data, tiny_net

DATA = tiny_data()


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("batch_size", [3, 512])
def test_counted_one_by_one(split, batch_size):
    torch.manual_seed(0)
    net, part = tiny_net().eval(), getattr(DATA, split)
    images, labels = next(iter(Batches(part, len(part), mean=DATA.mean, std=DATA.std)))
    with torch.no_grad():
        right = sum(
            int(net(x[None]).argmax()) == int(y) for x, y in zip(images, labels, strict=True)
        )
    assert accuracy(net, DATA, split, batch_size) == right / len(part)


def test_evaluation_mode():
    net = nn.Sequential(nn.Flatten(), nn.Dropout(0.9), nn.Linear(16, 3)).train()
    assert accuracy(net, DATA) == accuracy(net, DATA)
    assert net.training


def test_images_as_they_are_where_a_transform_is_carried():
    torch.manual_seed(0)
    model, (mean,), (std,) = tiny_net().eval(), DATA.mean, DATA.std
    net = dv.disentangle(model, "dnn", input_transform=dv.InputTransform(mean, std))
    assert accuracy(net, DATA) == accuracy(model, DATA)
