"""The jobs of the experiment `architectures`, from what was asked for."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from dualview.architectures import WITHOUT_DLGN
from dualview.datasets import Dataset
from dualview.experiments.architectures.tables import COMPARED_KINDS, OF_ALL, WIDE
from dualview.experiments.classifiers import Variant, of_kind, setting_jobs
from dualview.experiments.experiment import Request, chosen_kinds, preset_of
from dualview.experiments.jobs import Job
from dualview.experiments.networks import (
    build_network,
    count_parameters,
    has_width,
    parameters_of_width,
    width_of_size,
)
from dualview.experiments.recipes import Setting, setting
from dualview.experiments.summary import kind_name
from dualview.training import SettingsError

NAME = "architectures"

ON_SMALL = ("c4gap", "vgg16", "resnet20")
ON_LARGE = ("c4gap",)
IN_PAPER = ("c4gap", "vgg16", "resnet20", "resnet110")


def plan(request: Request, data: Dataset, out: Path) -> list[Job]:
    """Every kind of every architecture with every seed, seed by seed over all architectures."""
    jobs: list[Job] = []
    for arch in _architectures(request, data):
        one = setting(NAME, arch, request, data)
        variants = [
            _widened(one) if kind == WIDE else of_kind(one.comparison, kind, one.data)
            for kind in _kinds(request, one)
        ]
        jobs += setting_jobs(one, variants, out, titled=True)
    return sorted(jobs, key=lambda job: job.seed)


def _architectures(request: Request, data: Dataset) -> tuple[str, ...]:
    if request.arch is not None:
        return (request.arch,)
    return preset_of(request, data, IN_PAPER, ON_SMALL, ON_LARGE)


def _kinds(request: Request, one: Setting) -> tuple[str, ...]:
    """The kinds asked for, else all there are of the architecture."""
    kinds = chosen_kinds(request, COMPARED_KINDS)
    arch, sized = one.comparison.arch, has_width(one.comparison)
    if request.kinds is None:
        kinds = tuple(kind for kind in kinds if kind in OF_ALL or arch not in WITHOUT_DLGN)
        return kinds if sized else tuple(kind for kind in kinds if kind != WIDE)
    if WIDE in kinds and not sized:
        raise SettingsError(
            f"kinds: expected no {WIDE!r}, since {arch} takes no width to be widened by. Repair: "
            f"leave it out, or give the factory an option 'width'"
        )
    return kinds


def _widened(one: Setting) -> Variant:
    """The DNN whose number of parameters is closest to the DLGN's."""
    settings, data = one.comparison, one.data
    size = count_parameters(build_network(settings, "dlgn", 0, data))
    width = width_of_size(settings, data, size)
    build = partial(build_network, replace(settings, width=width), "dnn", data=data)
    plain = count_parameters(build_network(settings, "dnn", 0, data))
    growth = parameters_of_width(settings, data, width) / plain
    return Variant(WIDE, WIDE, kind_name(WIDE), build, growth, {"own_width": width})
