"""Properties proved here.

1. The plan has functions and images, seed by seed, each job in a folder of its own; what was asked
   for takes the preset's place; unknown kinds are refused.
2. The presets give every kind the same settings, and targets that the grid can tell apart.
3. A whole run, with two epochs, ends in tables.
"""

import dataclasses

import pytest

from dualview.datasets import load
from dualview.errors import RunError
from dualview.experiments.experiment import Machine, Request
from dualview.experiments.running import run_jobs
from dualview.experiments.spectrum import EXPERIMENT
from dualview.experiments.spectrum import functions as spectrum_functions
from dualview.experiments.spectrum import images as spectrum_images
from dualview.experiments.spectrum import plan as spectrum
from dualview.training import SettingsError
from tests.training.tiny import tiny_data

DIGITS = load("digits")
CPU = Machine(accelerator="cpu", threads=1)


def test_plan(tmp_path):
    jobs = spectrum.plan(Request(machine=CPU), DIGITS, tmp_path)
    assert len(jobs) == 3 * (2 * 3 + 3 * 2)
    assert len({job.folder for job in jobs}) == len(jobs)
    parts = [job.config["part"] for job in jobs]
    assert parts == sorted(parts)
    functions = [job.seed for job in jobs if job.config["part"] == "functions"]
    assert functions == sorted(functions)
    assert all(job.config["experiment"] == EXPERIMENT.name for job in jobs)


def test_requests(tmp_path):
    request = Request(seeds=1, kinds=("dlgn",), width=7, epochs=3, machine=CPU)
    jobs = spectrum.plan(request, DIGITS, tmp_path)
    assert [job.config["part"] for job in jobs] == ["functions"] * 2 + ["images"] * 3
    for job in jobs:
        assert (job.kind, job.seed) == ("dlgn", 0)
        assert (job.config["width"], job.config["epochs"]) == (7, 3)
    with pytest.raises(SettingsError, match="kinds: expected one of dnn, dgn, dlgn"):
        spectrum.plan(Request(kinds=("dlgn-ones",)), DIGITS, tmp_path)


def test_paper_preset_is_larger(tmp_path):
    request = Request(preset="paper", machine=CPU)
    jobs = spectrum.plan(request, tiny_data(), tmp_path)
    images = [job.config for job in jobs if job.config["part"] == "images"]
    assert {(c["width"], c["epochs"], c["learning_rate"]) for c in images} == {(128, 32, 3e-4)}
    assert {job.seed for job in jobs} == set(range(5))


@pytest.mark.parametrize("preset", [spectrum_functions.CPU_PRESET, spectrum_functions.PAPER_PRESET])
def test_grids_tell_the_frequencies_apart(preset):
    for line in preset.lines.values():
        assert max(line.frequencies) < line.side / 4


def test_image_presets_differ_in_size_only():
    small, large = spectrum_images.SMALL_PRESET, spectrum_images.LARGE_PRESET
    assert (small.width, small.beta) == (large.width, large.beta)


def test_whole_run(tmp_path):
    data = tiny_data(n_train=30, n_other=9)
    request = Request(seeds=1, epochs=1, width=3, kinds=("dnn", "dlgn"), machine=CPU)
    records = run_jobs(spectrum.plan(request, data, tmp_path), tmp_path)
    assert [record.status for record in records] == ["finished"] * 10
    tables = EXPERIMENT.tables(records)
    assert len(tables) == 8
    again = run_jobs(spectrum.plan(request, data, tmp_path), tmp_path)
    assert again == records
    changed = dataclasses.replace(request, epochs=2)
    with pytest.raises(RunError, match="other settings"):
        run_jobs(spectrum.plan(changed, data, tmp_path), tmp_path)
