"""Every public function, with arguments that it takes.

`TARGETS` lists what is called: functions, constructors and methods of `dualview` and of what its
pages document. `good(target, name, folder)` is a value that a parameter takes, from one table by
the parameter's name; a public function with a parameter that is not in it fails by name.
"""

from __future__ import annotations

import atexit
import inspect
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import dualview as dv
from dualview import architectures, datasets, experiments, path_enumeration, training
from dualview.experiments import EXPERIMENTS, ComparisonSettings, DataSettings, Machine, Request
from dualview.path_attribution import figures as path_figures
from dualview.path_kernel import kernel, random_weights, ridge
from dualview.primal.figures import filters as filter_figures
from dualview.primal.figures import gates as gate_figures
from dualview.primal.figures import partition as partition_figures
from dualview.training.stacked import run as stacked
from tests.training.tiny import tiny_data

X = torch.tensor([[1.0, -2.0, 0.5, 0.25], [0.5, 1.5, -1.0, 2.0], [-1.0, 0.5, 2.0, 1.0]])
LABELS = np.array([0, 1, 1])


@cache
def gated_net(kind: str = "dlgn") -> dv.GatedNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    return dv.disentangle(model, kind, seed=0).eval()


def _onnx_model() -> Any:
    from onnx import TensorProto, helper

    def value(name: str) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4])

    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])], "g", [value("x")], [value("y")]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


@cache
def _residual() -> dv.GatedNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = architectures.ResNet(1, 2, (1, 4, 4), width=1, batch_norm=False)
    return dv.disentangle(model, "dlgn", seed=0).eval()


@cache
def _data() -> datasets.Dataset:
    return tiny_data(n_train=9, n_other=3)


@cache
def _shallow() -> dv.GatedNetwork:
    """A network that takes the data's images."""
    return dv.disentangle(architectures.fc(3, (1, 4, 4), width=4, depth=2), "dlgn", seed=0).eval()


@cache
def _trained() -> Path:
    """The folder of a comparison of one run, on `_data`."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    settings = ComparisonSettings(kinds=("dlgn",), seeds=1, width=4, training=one_epoch())
    experiments.compare(settings, folder, data=_data())
    return folder


def _classifier() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 3))


def _stackable() -> nn.Module:
    return architectures.fc(3, (1, 4, 4), width=4, depth=3)


def _table() -> Any:
    import pandas

    x = np.random.default_rng(0).normal(size=(30, 2))
    return pandas.DataFrame({"a": x[:, 0], "b": x[:, 1], "target": x.sum(1) > 0})


@cache
def table_classifier() -> dv.DLGNClassifier:
    return dv.DLGNClassifier(width=3, depth=3, max_iter=1).fit(X.numpy(), LABELS)


def table_tree() -> Any:
    return table_classifier().to_tree(X.numpy(), min_samples_leaf=1)


def _saved_table(folder: Path) -> Path:
    table_classifier().save(folder / "table")
    return folder / "table"


def one_epoch() -> training.TrainSettings:
    return training.TrainSettings(epochs=1, batch_size=9, threads=1, accelerator="cpu").resolved(9)


def _saved(folder: Path) -> Path:
    """A saved network whose model the package knows."""
    net = dv.disentangle(_stackable(), "dlgn", seed=0)
    net.save_pretrained(folder / "saved")
    return folder / "saved"


@dataclass(frozen=True)
class Target:
    """Something to call, and the names of its parameters."""

    name: str
    call: Callable[..., Any]
    parameters: Mapping[str, inspect.Parameter]


def _of(name: str, call: Callable[..., Any], made: Any = None) -> Target:
    """A target with the parameters of `made`, or of the call itself."""
    parameters = dict(inspect.signature(made or call).parameters)
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    named = {n: p for n, p in parameters.items() if p.kind not in kinds and n != "self"}
    return Target(name, call, named)


def _fitted(name: str) -> Target:
    options = inspect.signature(getattr(dv, name)).parameters
    kind = inspect.Parameter.KEYWORD_ONLY
    data = {n: inspect.Parameter(n, kind) for n in ("X", "y", "new")}

    def call(new: Any, **given: Any) -> Any:
        X, y = given.pop("X"), given.pop("y")
        return getattr(dv, name)(**given).fit(X, y).predict(new)

    return Target(name, call, {**options, **data})


def _on(name: str, method: str, make: Callable[[], Any]) -> Target:
    """A method of an object that is made anew for each call."""
    signature = inspect.signature(getattr(make(), method))
    return _of(f"{name}.{method}", lambda **o: getattr(make(), method)(**o), _Signed(signature))


class _Signed:
    """Something whose signature is known."""

    def __init__(self, signature: inspect.Signature) -> None:
        self.__signature__ = signature

    def __call__(self) -> None:
        """Never called."""


def _batches(**options: Any) -> Any:
    return next(iter(datasets.Batches(**options)))


RECORDS = {
    *("FilterSpectra", "GateRates", "PrimalFilters", "TrainingResult", "EpochMetrics"),
    *("Distilled", "FinishedRun", "TrainedNetwork", "GateCrossings", "PartitionSlice"),
    *("ExplanationScores", "TableComparison"),
    *("ExpectedJob", "Job", "RunRecord", "Table", "Variant"),
}
"""What functions return; nobody makes them by hand."""

PLAIN = {
    "as_multiplier",
    "DualviewError",
    "DualviewWarning",
    "SettingsError",
    "Terminated",
    "Watcher",
    "Unwatched",
}
"""A mark of whatever a forward computes; exceptions and protocols."""

ENGINE = {"classifier_jobs", "of_kind", "training_job", "setting", "chosen_kinds", "is_small"}
ENGINE |= {"summary_table", "comparison_figures", "outlook_table"}
"""What an experiment of one's own is made of: called by its plan with what `reproduce` checked."""

DRAWN = {"filter_grid", "spectrum_grid", "spectrum_curves", "kernel_map", "gate_maps"}
DRAWN |= {"class_overlap", "gate_overlap", "gate_training", "path_graph", "layer_bars"}
DRAWN |= {"partition_map"}
"""Figures; what else their modules hold, they share with each other."""

CHECKS = {"at_least", "at_most", "choose", "positive"}
"""Checks of a value, whose other arguments are the caller's own."""


def _filters() -> dv.PrimalFilters:
    return dv.primal_filters(gated_net(), 0)


def _attribution() -> Any:
    return dv.kernel_attribution(gated_net(), X[0], X, LABELS, ridge=1.0)


METHODS: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    "GatedNetwork": (
        gated_net,
        ("preactivations", "gates", "gates_and_switches", "save_pretrained", "from_pretrained"),
    ),
    "PathSearch": (lambda: dv.PathSearch(gated_net(), X[0]), ("top",)),
    "PrimalFilters": (_filters, ("filters", "preactivations", "distances")),
    "LayerContributions": (lambda: dv.layer_contributions(gated_net(), X[0], 0, 0), ("top",)),
    "KernelAttribution": (_attribution, ("top_for", "top_against", "by_class")),
    "TrainSettings": (training.TrainSettings, ("resolved",)),
    "ComparisonSettings": (ComparisonSettings, ("seeded",)),
    "TableEstimator": (table_classifier, ("hyperplanes", "contributions", "partition", "to_tree")),
    "TableFile": (table_classifier, ("save", "load")),
    "Hyperplanes": (lambda: table_classifier().hyperplanes(), ("in_words",)),
    "Contributions": (lambda: table_classifier().contributions(X.numpy()), ("to_frame",)),
    "ObliqueTree": (table_tree, ("predict", "score", "rules", "export_text", "plot")),
    "Batches": (lambda: datasets.Batches(_data().train, 2, normalise=False), ("set_epoch",)),
}


@cache
def targets() -> tuple[Target, ...]:
    """Everything that is called."""
    return tuple(_targets())


def _targets() -> Iterator[Target]:
    for name in dv.__all__:
        if name in RECORDS | PLAIN:
            continue
        kind = getattr(dv, name)
        yield _fitted(name) if hasattr(kind, "fit") else _of(name, kind)
    for name in training.__all__:
        value = getattr(training, name)
        if callable(value) and name not in RECORDS | PLAIN | CHECKS:
            yield _of(name, value)
    for name in datasets.__all__:
        yield _of(
            name,
            _batches if name == "Batches" else getattr(datasets, name),
            getattr(datasets, name),
        )
    for factory in architectures.ARCHITECTURES.values():
        yield _of(factory.__name__, factory)
    for name, classes in METHODS.items():
        make, methods = classes
        for method in methods:
            yield _on(name, method, make)
    for function in (
        architectures.build,
        kernel.weight_layers,
        random_weights.draw_weights,
        ridge.fit_kernel_regression,
        ridge.kernel_regression_path,
        stacked.train_stacked,
    ):
        yield _of(function.__name__, function)
    for name in experiments.__all__:
        value = getattr(experiments, name)
        if callable(value) and name not in RECORDS | ENGINE:
            yield _of(name, value)
    for module in (filter_figures, gate_figures, partition_figures, path_figures):
        for name, value in vars(module).items():
            if inspect.isfunction(value) and value.__module__ == module.__name__ and name in DRAWN:
                yield _of(name, value)
    for name in path_enumeration.__all__:
        if name.islower() and name not in dv.__all__:
            yield _of(name, getattr(path_enumeration, name))


Maker = Callable[[Path], Any]

GOOD: dict[str, Maker] = {
    "net": lambda _: gated_net(),
    "initial": lambda _: gated_net(),
    "model": lambda _: nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)),
    "x": lambda _: X,
    "x1": lambda _: X,
    "output": lambda _: 1,
    "layer": lambda _: 0,
    "data": lambda _: X,
    "filters": lambda _: torch.ones(2, 1, 3, 3),
    "out": lambda folder: folder / "out",
    "folder": lambda folder: folder / "folder",
    "name": lambda _: "fc",
    "x_shape": lambda _: (4,),
    "X": lambda _: X.numpy(),
    "y": lambda _: LABELS,
    "new": lambda _: X.numpy(),
    "n_train": lambda _: 9,
    "seed": lambda _: 0,
    "epoch": lambda _: 1,
    "settings": lambda _: one_epoch(),
    "nets": lambda _: [_stackable()],
    "folders": lambda folder: [folder / "0"],
    "split": lambda _: _data().train,
    "batch_size": lambda _: 2,
    "images": lambda _: torch.zeros(3, 1, 2, 2, dtype=torch.uint8),
    "labels": lambda _: torch.tensor([0, 1, 1]),
    "name_or_path": lambda _: "digits",
    "num_classes": lambda _: 3,
    "input_shape": lambda _: (1, 16, 16),
    "gram": lambda _: np.eye(3) + 1,
    "targets": lambda _: np.eye(3),
    "ridge": lambda _: 1.0,
    "network": lambda _: gated_net().weights_network,
    "experiment": lambda _: EXPERIMENTS["shallow"],
    "request": lambda _: Request(
        arch="fc", kinds=("dlgn",), width=4, seeds=1, epochs=1, machine=Machine("cpu", threads=1)
    ),
    "gating_network": lambda _: gated_net().gating_network,
    "weights_network": lambda _: gated_net().weights_network,
    "gate_functions": lambda _: [dv.HardGate()],
    "kind": lambda _: "dlgn",
    "weights_input": lambda _: "data",
    "gate_order": lambda _: (0,),
    "train": lambda _: _data().train,
    "validation": lambda _: _data().validation,
    "test": lambda _: _data().test,
    "class_names": lambda _: ("a", "b", "c"),
    "mean": lambda _: (0.5,),
    "std": lambda _: (0.25,),
    "description": lambda _: "stripes",
    "ridges": lambda _: (1.0,),
    "rows": lambda _: [0],
    "power": lambda _: np.ones((2, 3, 3)),
    "curves": lambda _: [filter_figures.SpectrumCurve("a", np.arange(3) / 6, np.ones((2, 3)))],
    "kernel": lambda _: np.eye(3) + 1,
    "gates": lambda _: np.ones((3, 4)),
    "overlaps": lambda _: np.ones((2, 2)),
    "classes": lambda _: ["a", "b"],
    "top": lambda _: dv.top_paths(gated_net(), X[0], 1, k=2),
    "layers": lambda _: [dv.layer_contributions(gated_net(), X[0], 0, 0)],
    "label": lambda _: "a",
    "frequencies": lambda _: np.arange(3) / 6,
    "where": lambda _: "shallow",
    "title": lambda _: "Thin",
    "question": lambda _: "Is it?",
    "source": lambda _: "none",
    "duration": lambda _: "a minute",
    "default_data": lambda _: "digits",
    "plan": lambda _: lambda request, data, out: [],
    "tables": lambda _: lambda records: [],
}
"""By the parameter's name, and where functions differ by `function.parameter`."""

GOOD_IN: dict[str, Maker] = {
    "from_onnx.model": lambda _: _onnx_model(),
    "ensemble_contributions.net": lambda _: _residual(),
    "ensemble_contributions.x": lambda _: torch.ones(1, 4, 4),
    "input_contributions.x": lambda _: X[0],
    "layer_contributions.x": lambda _: X[0],
    "path_norm.x": lambda _: X[0],
    "path_magnitudes.x": lambda _: X[0],
    "rescaled.sweeps": lambda _: 2,
    "evaluate_explanations.methods": lambda _: ["random"],
    "evaluate_explanations.model": lambda _: None,
    "evaluate_explanations.steps": lambda _: 2,
    "evaluate_explanations.sets": lambda _: 3,
    "top_path_groups.x": lambda _: X[0],
    "top_path_groups.width": lambda _: 4,
    "top_paths.x": lambda _: X[0],
    "top_paths.k": lambda _: 2,
    "PathSearch.top.k": lambda _: 2,
    "PathSearch.x": lambda _: X[0],
    "partition_map.found": lambda _: dv.partition_slice(gated_net(), *X, gates="hard"),
    "partition_map.names": lambda _: ["one", "two"],
    "partition_map.example_names": lambda _: ["a", "b", "c"],
    "gate_crossings.a": lambda _: X[0],
    "gate_crossings.b": lambda _: X[1],
    "gate_crossings.most": lambda _: 1000,
    "partition_slice.net": lambda _: gated_net("dlgn"),
    "partition_slice.a": lambda _: X[0],
    "partition_slice.b": lambda _: X[1],
    "partition_slice.c": lambda _: X[2],
    "partition_slice.gates": lambda _: "hard",
    "partition_slice.margin": lambda _: 0.1,
    "partition_slice.most": lambda _: 20_000,
    "kernel_attribution.x": lambda _: X[0],
    "kernel_attribution.train_x": lambda _: X,
    "kernel_attribution.train_labels": lambda _: LABELS,
    "DLGNClassifier.max_iter": lambda _: 1,
    "DLGNRegressor.max_iter": lambda _: 1,
    "DLGNClassifier.kind": lambda _: "dlgn",
    "DLGNRegressor.kind": lambda _: "dlgn",
    "TableEstimator.partition.first": lambda _: 0,
    "TableEstimator.partition.second": lambda _: "x2",
    "compare_table.data": lambda _: _table(),
    "compare_table.target": lambda _: "target",
    "compare_table.settings": lambda _: dv.TableSettings(
        others=("linear",), folds=2, width=2, depth=2
    ),
    "TableSettings.test": lambda _: 0.2,
    "TableSettings.seed": lambda _: 3,
    "TableFile.save.path": lambda folder: folder / "table",
    "TableFile.load.path": _saved_table,
    "Hyperplanes.in_words.gate": lambda _: 2,
    "NPKClassifier.net": lambda _: gated_net(),
    "NPKFeatureClassifier.net": lambda _: gated_net(),
    "NPKFeatureClassifier.n_features": lambda _: 8,
    "npk_features.n_features": lambda _: 8,
    "ntk_spread.draws": lambda _: 3,
    "npk_gram.out": lambda folder: folder / "gram.zarr",
    "npk_gram.progress": lambda _: False,
    "npk_gram.workers": lambda _: 1,
    "explain_page.net": lambda _: _shallow(),
    "explain_page.data": lambda _: _data(),
    "explain_page.out": lambda folder: folder / "page.html",
    "explain_page.n_train": lambda _: 0,
    "explorer_page.net": lambda _: _shallow(),
    "explorer_page.data": lambda _: _data(),
    "explorer_page.out": lambda folder: folder / "page.html",
    "explorer_page.examples": lambda _: 1,
    "explorer_page.n_train": lambda _: 0,
    "from_arrays.x": lambda _: torch.rand(9, 1, 4, 4),
    "from_arrays.y": lambda _: torch.arange(9) % 3,
    "load_network.folder": lambda _: _trained() / "dlgn-seed0",
    "load_network.data": lambda _: _data(),
    "load_run.folder": lambda _: _trained() / "dlgn-seed0",
    "load_run.data": lambda _: _data(),
    "load_records.folder": lambda _: _trained(),
    "write_report.records": lambda _: experiments.load_records(_trained()),
    "write_report.path": lambda folder: folder / "report.html",
    "filter_grid.filters": lambda _: np.ones((2, 1, 3, 3)),
    "gate_maps.gates": lambda _: [np.ones(4)],
    "gate_overlap.overlaps": lambda _: [np.ones((2, 2))],
    "SpectrumCurve.power": lambda _: np.ones((2, 3)),
    "kernel_map.labels": lambda _: [0, 1, 1],
    "class_overlap.labels": lambda _: [0, 0, 0],
    "train.net": lambda _: _classifier(),
    "train.data": lambda _: _data(),
    "train.teacher": lambda _: None,
    "distil.model": lambda _: _stackable(),
    "distil.data": lambda _: _data(),
    "distil.settings": lambda _: one_epoch(),
    "distil.teaching": lambda _: dv.DistilSettings(),
    "train_stacked.data": lambda _: _data(),
    "train_stacked.settings": lambda _: [one_epoch()],
    "load.validation": lambda _: 0.1,
    "load.test": lambda _: 0.2,
    "Batches.normalise": lambda _: False,
    "GatedNetwork.from_pretrained.name": _saved,
    "ComparisonSettings.seeded.seed": lambda _: 3,
    "compare.settings": lambda _: ComparisonSettings(
        kinds=("dlgn",), seeds=1, width=4, training=one_epoch()
    ),
    "compare.data": lambda _: _data(),
    "reproduce.data": lambda _: _data(),
    "plan_comparison.settings": lambda _: ComparisonSettings(
        kinds=("dlgn",), seeds=1, width=4, training=one_epoch()
    ),
    "plan_comparison.data": lambda _: _data(),
    "plan_experiment.data": lambda _: _data(),
    "outlook.budget": lambda _: 0.0,
    "outlook.jobs": lambda _: experiments.plan_comparison(
        ComparisonSettings(kinds=("dnn",), seeds=1, width=4, training=one_epoch()),
        Path("runs"),
        data=_data(),
    ),
    "build.width": lambda _: 4,
    "fc.width": lambda _: 4,
    "fc.depth": lambda _: 3,
    "vconv.width": lambda _: 4,
    "gconv.width": lambda _: 4,
    "c4gap.width": lambda _: 4,
    "vgg16.width": lambda _: 1,
    "resnet20.width": lambda _: 1,
    "resnet32.width": lambda _: 1,
    "resnet56.width": lambda _: 1,
    "resnet110.width": lambda _: 1,
    "vit.width": lambda _: 4,
    "vit.depth": lambda _: 1,
    "ComparisonSettings.data": lambda _: DataSettings(),
    "Request.data": lambda _: DataSettings(),
}


def good(target: Target, name: str, folder: Path) -> Any:
    """A value that the parameter takes.

    Raises:
        KeyError: the table has none.
    """
    special = GOOD_IN.get(f"{target.name}.{name}")
    return (special or GOOD[name])(folder)


def good_arguments(target: Target, folder: Path) -> dict[str, Any]:
    """What the target needs, and what makes it quick."""
    needed = [
        name
        for name, parameter in target.parameters.items()
        if parameter.default is parameter.empty or f"{target.name}.{name}" in GOOD_IN
    ]
    return {name: good(target, name, folder) for name in needed}
