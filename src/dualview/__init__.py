"""dualview: the dual view of ReLU networks.

Takes a network apart into what decides its gates and what the gates multiply.

>>> import torch, dualview as dv
>>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
>>> net = dv.disentangle(model, kind="dnn")
>>> x = torch.randn(3, 4)
>>> bool(torch.allclose(net(x), model(x)))
True
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from dualview.errors import DualviewError, DualviewWarning

if TYPE_CHECKING:
    from dualview.conversion.disentangling import disentangle
    from dualview.conversion.gated_network import GatedNetwork
    from dualview.conversion.gates import Gate, HardGate, SoftGate
    from dualview.conversion.input_transform import InputTransform
    from dualview.conversion.onnx_files import from_onnx
    from dualview.conversion.products import as_multiplier
    from dualview.explorer.writing import explain_page, explorer_page
    from dualview.path_attribution.contributions import input_contributions, layer_contributions
    from dualview.path_attribution.ensemble import ensemble_contributions
    from dualview.path_attribution.faithfulness.evaluation import (
        ExplanationScores,
        evaluate_explanations,
    )
    from dualview.path_attribution.groups import top_path_groups
    from dualview.path_attribution.path_norm import path_magnitudes, path_norm
    from dualview.path_attribution.rescaling import rescaled
    from dualview.path_attribution.strongest_paths import PathSearch, top_paths
    from dualview.path_enumeration.bundles import path_features, path_values
    from dualview.path_kernel.attribution import kernel_attribution
    from dualview.path_kernel.concentration import needed_width, ntk_variance
    from dualview.path_kernel.empirical import empirical_ntk
    from dualview.path_kernel.features import npk_features
    from dualview.path_kernel.gram.gram import npk_gram
    from dualview.path_kernel.kernel import expected_ntk, npk
    from dualview.path_kernel.logit_sums import sum_of_logits_error
    from dualview.path_kernel.machines import NPKClassifier, NPKFeatureClassifier
    from dualview.path_kernel.ntk_draws import ntk_spread
    from dualview.path_kernel.ridge import kare
    from dualview.primal.crossings import GateCrossings, gate_crossings
    from dualview.primal.filters import PrimalFilters, gate_distances, primal_filters
    from dualview.primal.overlaps import initial_overlap
    from dualview.primal.partition import PartitionSlice, partition_slice
    from dualview.primal.rates import GateRates, gate_rates
    from dualview.primal.spectra import FilterSpectra, filter_spectra
    from dualview.tabular.comparing.comparison import compare_table
    from dualview.tabular.comparing.findings import TableComparison
    from dualview.tabular.comparing.settings import TableSettings
    from dualview.tabular.estimators import DLGNClassifier, DLGNRegressor
    from dualview.training.distil_settings import DistilSettings
    from dualview.training.distillation import Distilled, distil

__version__ = "0.1.0"

__all__ = [
    "DLGNClassifier",
    "DLGNRegressor",
    "DistilSettings",
    "Distilled",
    "DualviewError",
    "DualviewWarning",
    "ExplanationScores",
    "FilterSpectra",
    "Gate",
    "GateCrossings",
    "GateRates",
    "GatedNetwork",
    "HardGate",
    "InputTransform",
    "NPKClassifier",
    "NPKFeatureClassifier",
    "PartitionSlice",
    "PathSearch",
    "PrimalFilters",
    "SoftGate",
    "TableComparison",
    "TableSettings",
    "as_multiplier",
    "compare_table",
    "disentangle",
    "distil",
    "empirical_ntk",
    "ensemble_contributions",
    "evaluate_explanations",
    "expected_ntk",
    "explain_page",
    "explorer_page",
    "filter_spectra",
    "from_onnx",
    "gate_crossings",
    "gate_distances",
    "gate_rates",
    "initial_overlap",
    "input_contributions",
    "kare",
    "kernel_attribution",
    "layer_contributions",
    "needed_width",
    "npk",
    "npk_features",
    "npk_gram",
    "ntk_spread",
    "ntk_variance",
    "partition_slice",
    "path_features",
    "path_magnitudes",
    "path_norm",
    "path_values",
    "primal_filters",
    "rescaled",
    "sum_of_logits_error",
    "top_path_groups",
    "top_paths",
]

_ROOMS = {
    "as_multiplier": "conversion.products",
    "Gate": "conversion.gates",
    "HardGate": "conversion.gates",
    "SoftGate": "conversion.gates",
    "InputTransform": "conversion.input_transform",
    "GatedNetwork": "conversion.gated_network",
    "disentangle": "conversion.disentangling",
    "from_onnx": "conversion.onnx_files",
    "empirical_ntk": "path_kernel.empirical",
    "expected_ntk": "path_kernel.kernel",
    "kare": "path_kernel.ridge",
    "sum_of_logits_error": "path_kernel.logit_sums",
    "needed_width": "path_kernel.concentration",
    "ntk_spread": "path_kernel.ntk_draws",
    "ntk_variance": "path_kernel.concentration",
    "NPKClassifier": "path_kernel.machines",
    "NPKFeatureClassifier": "path_kernel.machines",
    "npk": "path_kernel.kernel",
    "npk_features": "path_kernel.features",
    "npk_gram": "path_kernel.gram.gram",
    "path_features": "path_enumeration.bundles",
    "path_values": "path_enumeration.bundles",
    "path_magnitudes": "path_attribution.path_norm",
    "path_norm": "path_attribution.path_norm",
    "rescaled": "path_attribution.rescaling",
    "top_path_groups": "path_attribution.groups",
    "top_paths": "path_attribution.strongest_paths",
    "PathSearch": "path_attribution.strongest_paths",
    "layer_contributions": "path_attribution.contributions",
    "input_contributions": "path_attribution.contributions",
    "ensemble_contributions": "path_attribution.ensemble",
    "evaluate_explanations": "path_attribution.faithfulness.evaluation",
    "ExplanationScores": "path_attribution.faithfulness.evaluation",
    "kernel_attribution": "path_kernel.attribution",
    "explain_page": "explorer.writing",
    "explorer_page": "explorer.writing",
    "primal_filters": "primal.filters",
    "PrimalFilters": "primal.filters",
    "gate_distances": "primal.filters",
    "gate_crossings": "primal.crossings",
    "GateCrossings": "primal.crossings",
    "partition_slice": "primal.partition",
    "PartitionSlice": "primal.partition",
    "filter_spectra": "primal.spectra",
    "FilterSpectra": "primal.spectra",
    "gate_rates": "primal.rates",
    "initial_overlap": "primal.overlaps",
    "GateRates": "primal.rates",
    "DLGNClassifier": "tabular.estimators",
    "DLGNRegressor": "tabular.estimators",
    "TableComparison": "tabular.comparing.findings",
    "TableSettings": "tabular.comparing.settings",
    "compare_table": "tabular.comparing.comparison",
    "DistilSettings": "training.distil_settings",
    "Distilled": "training.distillation",
    "distil": "training.distillation",
}
"""Public name -> the room it lives in, which is imported when the name is first used."""


_MOVED = {
    "example_attribution": "path_kernel.attribution",
    "filter_plots": "primal.figures.filters",
    "gate_plots": "primal.figures.gates",
    "operations": "conversion.operations",
    "path_plots": "path_attribution.figures",
    "vision_transformer": "architectures.vision_transformer",
}
"""Modules under the names that earlier documentation gave them -> where they are now."""


class _Moved(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports a module under an earlier name: a module that hands on what the new one has."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        package, _, module = name.partition(".")
        known = package == __name__ and module in _MOVED
        return importlib.machinery.ModuleSpec(name, self) if known else None

    def exec_module(self, module: ModuleType) -> None:
        now = importlib.import_module(f"{__name__}.{_MOVED[module.__name__.partition('.')[2]]}")
        module.__doc__ = now.__doc__
        vars(module)["__getattr__"] = now.__getattribute__


sys.meta_path.append(_Moved())


def __getattr__(name: str) -> Any:
    if name in _MOVED:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _ROOMS:
        raise AttributeError(f"module 'dualview' has no attribute {name!r}")
    return getattr(importlib.import_module(f"dualview.{_ROOMS[name]}"), name)


def __dir__() -> list[str]:
    return __all__
