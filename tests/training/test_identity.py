"""What a run is: structure, data, settings; not the numbers, and not what changes no number.

More epochs at a constant rate are the same run, gone on with; under another schedule another one.
"""

from dataclasses import replace

import torch
from torch import nn

from dualview.training import TrainSettings
from dualview.training.feeding import feed
from dualview.training.identity import job_identity, network_identity
from tests.training.tiny import tiny_data, tiny_net

DATA = tiny_data()
SETTINGS = TrainSettings(epochs=2).resolved(len(DATA.train))


def identity(settings=SETTINGS, data=DATA, net=None, **more):
    return job_identity("train", feed(net or tiny_net(), data), data, settings, **more)


def test_numbers_do_not_count_structure_does():
    torch.manual_seed(0)
    one, two = nn.Linear(3, 4), nn.Linear(3, 4)
    assert network_identity(one) == network_identity(two)
    others = [
        nn.Linear(4, 3),
        nn.Linear(3, 4, bias=False),
        nn.Linear(3, 4).double(),
        nn.Bilinear(3, 1, 4),
    ]
    assert len({network_identity(net) for net in (one, *others)}) == 5
    options = [nn.LeakyReLU(0.1), nn.LeakyReLU(0.2)]
    assert len({network_identity(net) for net in options}) == 2


def test_settings_and_data_count():
    assert identity() == identity()
    assert identity(replace(SETTINGS, tensorboard=False)) == identity()
    assert identity(replace(SETTINGS, seed=1)) != identity()
    assert identity(data=tiny_data(seed=1)) != identity()
    assert identity(validate=False) != identity(validate=True)


def test_more_epochs():
    longer = replace(SETTINGS, epochs=9)
    assert identity(longer) != identity()
    constant = [replace(one, schedule="constant") for one in (SETTINGS, longer)]
    assert identity(constant[0]) == identity(constant[1])
