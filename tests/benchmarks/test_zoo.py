"""The zoo of a third party's models.

- Every model of the list has a record, for which the claim holds; the page is made of the record.
- Measured anew, models of every kind of outcome give what is recorded.
- An error is seen where there is one, and the claim fails of it, of one that is no number, and of a
  model that is neither converted nor refused.
- Batch norm takes the statistics of the inputs; records survive writing and reading.
"""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
from torch import nn

from benchmarks import zoo

RECORDED = zoo.read()
CONVERTED = RECORDED["resnet20_cifar10"]

# Quick ones: plain, deep, grouped and depthwise, self-gated otherwise than ReLU; then refusals by
# operation, by product, by what torch.fx cannot follow, and by a difference between the modes.
FAST = [
    "resnet20_cifar10",
    "preresnet20_cifar10",
    "shufflenetv2_wd2",
    "mobilenetv2_wd4",
    "darknet_tiny",
    "seresnet20_cifar10",
    "mobilenetv3_small_w7d20",
    "dicenet_wd5",
    "shakedropresnet20_cifar10",
]


def test_every_model_is_recorded_once_and_the_claim_holds():
    listed = [
        path.split(".")[1]
        for families in (zoo.CIFAR_10, zoo.IMAGENET)
        for group in families.values()
        for path in group
    ]
    assert list(RECORDED) == list(zoo.MODELS) == listed
    assert [name for name, outcome in RECORDED.items() if not zoo.holds(outcome)] == []
    assert sum(not outcome.refusal for outcome in RECORDED.values()) >= 20


def test_the_committed_page_is_that_of_the_record():
    page = zoo.page(RECORDED.values())
    assert zoo.PAGE.read_text(encoding="utf-8") == page
    for name, outcome in RECORDED.items():
        assert len(re.findall(rf": `?{name}`?[ .]", page.replace("\\", ""))) == 1
        assert not re.search(r"(^|\s)/\w", outcome.refusal), "a path of one machine"


@pytest.mark.parametrize("name", FAST)
def test_measured_anew_it_is_as_recorded(name):
    got, recorded = zoo.measure(zoo.MODELS[name]), RECORDED[name]
    assert zoo.holds(got)
    assert replace(got, errors=recorded.errors, provenance=recorded.provenance) == recorded


def test_an_error_is_relative_to_the_largest_output():
    model, x = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), torch.randn(5, 3)
    halved = nn.Sequential(model, nn.Linear(2, 2, bias=False))
    nn.init.eye_(halved[1].weight).data.mul_(0.5)
    assert zoo.error_of(model, model, x) == 0
    assert zoo.error_of(halved, model, x) == pytest.approx(0.5)


@pytest.mark.parametrize(
    "outcome",
    [
        replace(CONVERTED, errors={"float32": 3e-5, "float64": 0.0}),
        replace(CONVERTED, errors={"float32": 0.0, "float64": float("nan")}),
        replace(CONVERTED, errors={"float32": 0.0}),
        replace(CONVERTED, errors={}),
        replace(CONVERTED, refusal="a reason"),
    ],
)
def test_the_claim_can_fail(outcome):
    assert zoo.holds(CONVERTED)
    assert not zoo.holds(outcome)


def test_batch_norm_takes_the_statistics_of_the_inputs():
    model = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3, momentum=0.2)).double().eval()
    x = torch.randn(4, 2, 5, 5, dtype=torch.float64)
    zoo.take_statistics(model, x)
    values = model[0](x).transpose(0, 1).flatten(1)  # (channels, examples and positions)
    torch.testing.assert_close(model[1].running_mean, values.mean(1))
    torch.testing.assert_close(model[1].running_var, values.var(1))
    assert not any(module.training for module in model.modules())
    assert model[1].momentum == 0.2


def test_records_survive_writing_and_reading(tmp_path):
    path = tmp_path / "zoo.json"
    zoo.write(RECORDED, path)
    assert zoo.read(path) == RECORDED
    assert zoo.read(tmp_path / "none.json") == {}
