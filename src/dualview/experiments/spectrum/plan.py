"""The jobs of the experiment `spectrum`, from what was asked for."""

from __future__ import annotations

from pathlib import Path

from dualview.datasets import Dataset
from dualview.experiments.experiment import Request, chosen_kinds, is_small
from dualview.experiments.jobs import Job
from dualview.experiments.seeds import seed_numbers
from dualview.experiments.spectrum import functions as spectrum_functions
from dualview.experiments.spectrum import images as spectrum_images
from dualview.experiments.spectrum.scores import COMPARED_KINDS

ON_IMAGES = ("dnn", "dlgn")
"""What is trained on images unless kinds are asked for; functions take all."""


def plan(request: Request, data: Dataset, out: Path) -> list[Job]:
    """All jobs, seed by seed: first the functions, then the images.

    Raises:
        SettingsError: a kind is none of the experiment's.
    """
    paper = request.preset == "paper"
    functions = spectrum_functions.PAPER_PRESET if paper else spectrum_functions.CPU_PRESET
    small = spectrum_images.SMALL_PRESET if is_small(data) else spectrum_images.LARGE_PRESET
    images = spectrum_images.PAPER_PRESET if paper else small
    chosen = chosen_kinds(request, COMPARED_KINDS)
    on_images = chosen if request.kinds else ON_IMAGES
    jobs: list[Job] = []
    for seed in seed_numbers(request.seeds or functions.seeds):
        jobs += spectrum_functions.function_jobs(functions, chosen, seed, request, out)
    for seed in seed_numbers(request.seeds or images.seeds):
        jobs += spectrum_images.image_jobs(images, on_images, seed, request, data, out)
    return jobs
