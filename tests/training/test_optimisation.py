"""Properties proved here.

1. There is one schedule for each name in the settings.
2. one-cycle and cosine equal PyTorch's own schedulers at every step of runs of many lengths.
3. Every schedule spans the run: the same shape for any length, never above 1, and (but for the
   constant) low in the last step.
4. The scheduler sets the rate that `learning_rate` tells, in every step.
5. The optimiser has the settings' options, and its weight decay pulls parameters to 0.
6. Where weights alone are decayed, biases and factors of normalisation layers are not.
7. Nesterov's momentum takes the gradient and one more step of the velocity.
8. RMSprop is the running mean of squared gradients with decay 0.99, and no momentum.
"""

import pytest
import torch

from dualview.training import DECAYED, OPTIMIZERS, SCHEDULES, TrainSettings
from dualview.training.optimisation import (
    SCHEDULE_FUNCTIONS,
    cosine,
    learning_rate,
    one_cycle,
    optimiser,
    scheduler,
)

LENGTHS = (4, 7, 10, 100, 1001)


def _rates(make, total):
    """Rates of each step under one of PyTorch's schedulers, whose highest rate is 1."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    sgd = torch.optim.SGD([parameter], lr=1.0)
    schedule = make(sgd)
    rates = []
    for _ in range(total):
        rates.append(sgd.param_groups[0]["lr"])
        sgd.step()
        schedule.step()
    return rates


def test_every_name_has_a_schedule():
    assert set(SCHEDULE_FUNCTIONS) == set(SCHEDULES)


@pytest.mark.parametrize("total", LENGTHS)
def test_one_cycle_is_pytorchs(total):
    expected = _one_cycle_rates(total)
    assert [one_cycle(step, total) for step in range(total)] == pytest.approx(expected)


def _one_cycle_rates(total):
    """Of PyTorch's scheduler, which cannot step beyond its last rate."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    sgd = torch.optim.SGD([parameter], lr=1.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        sgd, max_lr=1.0, total_steps=total, cycle_momentum=False
    )
    rates = [sgd.param_groups[0]["lr"]]
    for _ in range(total - 1):
        sgd.step()
        schedule.step()
        rates.append(sgd.param_groups[0]["lr"])
    return rates


@pytest.mark.parametrize("total", LENGTHS)
def test_cosine_is_pytorchs(total):
    expected = _rates(
        lambda sgd: torch.optim.lr_scheduler.CosineAnnealingLR(sgd, T_max=total), total
    )
    assert [cosine(step, total) for step in range(total)] == pytest.approx(expected)


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_span_the_run(name):
    schedule = SCHEDULE_FUNCTIONS[name]
    for total in (1, 2, 3, *LENGTHS):
        factors = [schedule(step, total) for step in range(total)]
        assert all(0 < factor <= 1 for factor in factors)
    last = schedule(9_999, 10_000)
    assert last == 1.0 if name == "constant" else last <= 0.01
    for share in (0.1, 0.37, 0.6, 0.9):
        assert schedule(int(share * 1_000), 1_000) == pytest.approx(
            schedule(int(share * 100_000), 100_000), abs=0.01
        )


def test_a_run_of_one_step_trains_at_the_highest_rate():
    assert one_cycle(0, 1) == 1.0
    assert cosine(0, 1) == 1.0


@pytest.mark.parametrize("name", SCHEDULES)
def test_scheduler_sets_the_rate_that_is_told(name):
    settings = TrainSettings(schedule=name, optimizer="sgd", learning_rate=0.3)
    rates = _rates_under(settings, total=23)
    assert rates == pytest.approx([learning_rate(settings, step, 23) for step in range(23)])


def _rates_under(settings, total):
    sgd = optimiser(settings, [torch.nn.Parameter(torch.zeros(1))])
    schedule = scheduler(settings, sgd, total)
    rates = []
    for _ in range(total):
        rates.append(sgd.param_groups[0]["lr"])
        sgd.step()
        schedule.step()
    return rates


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimiser_has_the_options(name):
    settings = TrainSettings(optimizer=name, learning_rate=0.1, momentum=0.7, weight_decay=0.2)
    parameter = torch.nn.Parameter(torch.ones(1))
    made = optimiser(settings, [parameter])
    assert type(made).__name__.lower() == name
    assert made.param_groups[0]["lr"] == 0.1
    assert made.param_groups[0].get("momentum", 0.0) == (0.7 if name == "sgd" else 0.0)
    parameter.grad = torch.zeros(1)
    made.step()
    assert parameter.item() < 1.0


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("decayed", DECAYED)
def test_what_is_decayed(name, decayed):
    settings = TrainSettings(
        optimizer=name, learning_rate=0.1, weight_decay=0.2, decayed=decayed, schedule="constant"
    )
    net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    for parameter in net.parameters():
        torch.nn.init.ones_(parameter)
        parameter.grad = torch.zeros_like(parameter)
    made = optimiser(settings, net.parameters())
    made.step()
    pulled = {name: bool((p < 1).all()) for name, p in net.named_parameters()}
    assert pulled == {name: decayed == "all" or name == "0.weight" for name in pulled}
    assert len(scheduler(settings, made, 3).base_lrs) == (1 if decayed == "all" else 2)


def test_weights_alone_may_be_all_there_is_or_nothing():
    settings = TrainSettings(decayed="weights", weight_decay=1.0, learning_rate=0.1)
    for parameter, decay in ((torch.zeros(2, 2), 1.0), (torch.zeros(2), 0.0)):
        (group,) = optimiser(settings, [torch.nn.Parameter(parameter)]).param_groups
        assert group["weight_decay"] == decay


def test_nesterov_written_out():
    settings = TrainSettings(optimizer="sgd", learning_rate=0.1, momentum=0.5, nesterov=True)
    parameter = torch.nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
    made, expected, velocity = optimiser(settings, [parameter]), 1.0, 0.0
    for gradient in (0.3, -4.0, 2.0):
        parameter.grad = torch.full_like(parameter, gradient)
        made.step()
        velocity = 0.5 * velocity + gradient
        expected -= 0.1 * (gradient + 0.5 * velocity)
        assert parameter.item() == pytest.approx(expected)


def test_rmsprop_written_out():
    settings = TrainSettings(optimizer="rmsprop", learning_rate=0.1)
    parameter = torch.nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    made = optimiser(settings, [parameter])
    expected, mean = parameter.detach().clone(), torch.zeros(2, dtype=torch.float64)
    for gradient in torch.tensor([[0.3, -4.0], [1.0, 0.5], [-2.0, 0.0]], dtype=torch.float64):
        parameter.grad = gradient.clone()
        made.step()
        mean = 0.99 * mean + 0.01 * gradient**2
        expected -= 0.1 * gradient / (mean.sqrt() + 1e-8)
    torch.testing.assert_close(parameter.detach(), expected, rtol=1e-12, atol=1e-12)
