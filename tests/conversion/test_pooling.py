"""Max pooling taken apart.

- Replaying a pool's own switch gives the pool, for every registered module and function.
- The average covers the same windows: it equals the pool's sum of one-hot choices, averaged.
- Of a network's switches each is that of its own pool.
"""

import pytest
import torch
from torch import nn

from dualview.conversion.disentangling import disentangle
from dualview.conversion.pooling import (
    MAX_POOL_FUNCTIONS,
    MAX_POOL_MODULES,
    max_pool_of_function,
    max_pool_of_module,
    max_pool_switch,
    replay_switch,
    switched_pools,
)

OPTIONS = [(2,), (3, 2), (3, 1, 1), (3, 2, 1, 1, True), (2, 2, 0, 2)]


def value(dims):
    return torch.randn(2, 3, *[7, 6, 5][:dims], dtype=torch.float64)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_replayed_switch_is_the_pool(dims, options):
    names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
    module = getattr(nn, f"MaxPool{dims}d")(**dict(zip(names, options, strict=False)))
    pool = max_pool_of_module(module)
    x = value(dims)
    switch = max_pool_switch(x, pool.dims, pool.adaptive, **pool.options)
    torch.testing.assert_close(replay_switch(x, switch, dims), module(x), rtol=0, atol=0)


@pytest.mark.parametrize("kind", MAX_POOL_MODULES, ids=lambda k: k.__name__)
def test_every_module(kind):
    module = kind(2)
    pool = max_pool_of_module(module)
    x = value(pool.dims)
    switch = max_pool_switch(x, pool.dims, pool.adaptive, **pool.options)
    torch.testing.assert_close(replay_switch(x, switch, pool.dims), module(x))
    assert pool.average_function(x, **pool.average_options).shape == module(x).shape


@pytest.mark.parametrize("function", MAX_POOL_FUNCTIONS)
def test_every_function(function):
    pool = max_pool_of_function(function, (2,), {})
    x = value(pool.dims)
    switch = max_pool_switch(x, pool.dims, pool.adaptive, **pool.options)
    torch.testing.assert_close(replay_switch(x, switch, pool.dims), function(x, 2))


def test_average_covers_the_same_windows():
    module = nn.MaxPool2d(3, 2, 1)
    pool = max_pool_of_module(module)
    average = pool.average_function(torch.ones(1, 1, 6, 6), **pool.average_options)
    assert average.shape == module(torch.ones(1, 1, 6, 6)).shape
    assert average[0, 0, 0, 0] == pytest.approx(4 / 9)
    assert average[0, 0, 1, 1] == pytest.approx(1)


def test_one_row_is_spread_over_the_batch():
    x = value(2)
    switch = max_pool_switch(x, 2, False, kernel_size=2)
    row = torch.randn(1, 3, 7, 6, dtype=torch.float64)
    expected = replay_switch(row.expand(2, 3, 7, 6), switch, 2)
    torch.testing.assert_close(replay_switch(row, switch, 2), expected)


def test_indices_are_refused():
    with pytest.raises(ValueError, match="return_indices"):
        max_pool_of_module(nn.MaxPool2d(2, return_indices=True))


def test_pools_of_switches():
    first, second = nn.MaxPool2d(3, 1, padding=1), nn.AdaptiveMaxPool2d(2)
    model = nn.Sequential(
        nn.Conv2d(1, 2, 1), nn.ReLU(), first, nn.Conv2d(2, 2, 1), nn.ReLU(), second, nn.Flatten()
    )
    net = disentangle(model, "dgn", max_pool="switch", seed=0)
    assert switched_pools(net.gating_network.graph) == {
        "switch_1": max_pool_of_module(first),
        "switch_2": max_pool_of_module(second),
    }
