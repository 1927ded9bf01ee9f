"""Experiment `spectrum`: is the DLGN a universal spectral approximator?

[DLGN] (arXiv 2110.03403) ends on this question and leaves it open. Three things are measured, with
the same sizes and settings for every kind of network:

- functions: sin(2 pi k x), and sin(2 pi k x_1) sin(2 pi k x_2), of growing frequency k: what is
  reached of each, and when (`functions`, `regression`);
- images: classification of their low frequencies, of all the others, and of both
  (`images`, `bands`);
- filters: the spectra of the composed filters of the DLGN's gating networks (`filters`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dualview.experiments.experiment import Experiment, Request, chosen_kinds, is_small
from dualview.experiments.jobs import Job
from dualview.experiments.published import DLGN_PAPER
from dualview.experiments.spectrum import functions as spectrum_functions
from dualview.experiments.spectrum import images as spectrum_images
from dualview.experiments.spectrum.scores import KINDS
from dualview.experiments.spectrum.tables import tables

if TYPE_CHECKING:
    from dualview.datasets import Dataset

ON_IMAGES = ("dnn", "dlgn")
"""What is trained on images unless kinds are asked for; functions take all."""


def plan(request: Request, data: Dataset, out: Path) -> list[Job]:
    """All jobs, seed by seed: first the functions, then the images.

    Raises:
        SettingsError: a kind is none of the experiment's.
    """
    paper = request.preset == "paper"
    functions = spectrum_functions.PAPER if paper else spectrum_functions.CPU
    small = spectrum_images.SMALL if is_small(data) else spectrum_images.LARGE
    images = spectrum_images.PAPER if paper else small
    chosen = chosen_kinds(request, KINDS)
    on_images = chosen if request.kinds else ON_IMAGES
    jobs: list[Job] = []
    for seed in range(request.seeds or functions.seeds):
        jobs += spectrum_functions.function_jobs(functions, chosen, seed, request, out)
    for seed in range(request.seeds or images.seeds):
        jobs += spectrum_images.image_jobs(images, on_images, seed, request, data, out)
    return jobs


EXPERIMENT = Experiment(
    name="spectrum",
    title="Frequencies that are learnt",
    question="Is the DLGN a universal spectral approximator? Which frequencies of a function, and "
    "which of an image, do DNN, DGN and DLGN learn, and what do the DLGN’s filters let through?",
    source=f"{DLGN_PAPER}, the question it ends on; no numbers are published",
    duration="digits: 6 minutes; CIFAR-10: 60 minutes",
    default_data="digits",
    plan=plan,
    tables=tables,
    options=("width", "kinds"),
)
