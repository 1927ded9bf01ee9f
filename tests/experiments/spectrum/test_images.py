"""Properties proved here.

1. Every kind is trained on every band, with the same options; the config names band and radius.
2. What is trained on is the filtered data: the accuracy of the saved network on images filtered
   here is the recorded one.
3. The spectra are those of the network before training and of the saved one after it; only a DLGN
   has them.
"""

import pytest
import torch
from safetensors.torch import load_model

from dualview.datasets import Batches
from dualview.experiments.experiment import Machine, Request
from dualview.experiments.running import run_jobs
from dualview.experiments.spectrum.bands import energy_share, in_band
from dualview.experiments.spectrum.filters import filter_spectra
from dualview.experiments.spectrum.images import ImagePreset, image_jobs
from dualview.experiments.spectrum.networks import circular_c4gap
from dualview.experiments.spectrum.scores import BAND_NAMES
from dualview.training import MODEL, TrainSettings
from tests.training.tiny import tiny_data

DATA = tiny_data(n_train=48, n_other=30)
PRESET = ImagePreset(
    3, TrainSettings(epochs=2, batch_size=16, learning_rate=0.01, threads=1, tensorboard=False)
)
REQUEST = Request(machine=Machine(accelerator="cpu"))
KINDS = ("dnn", "dlgn")


def _jobs(out, request=REQUEST):
    return image_jobs(PRESET, KINDS, 1, request, DATA, out)


def test_jobs(tmp_path):
    jobs = _jobs(tmp_path)
    assert [(job.config["band"], job.kind) for job in jobs] == [
        (band, kind) for band in BAND_NAMES for kind in KINDS
    ]
    changing = {"kind", "beta", "band", "data"}
    options = [{k: v for k, v in job.config.items() if k not in changing} for job in jobs]
    assert all(option == options[0] for option in options)
    assert (options[0]["radius"], options[0]["seed"], options[0]["width"]) == (2.0, 1, 3)
    assert len({job.config["data"] for job in jobs}) == 3


def _net(kind):
    return circular_c4gap(kind, 1, num_classes=3, input_shape=(1, 4, 4), width=3, beta=4.0)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    jobs = _jobs(out)
    return list(zip(jobs, run_jobs(jobs, out), strict=True))


def test_trained_on_the_band(runs):
    for job, record in runs:
        net = _net(job.kind).eval()
        load_model(net, job.folder / MODEL)
        data = in_band(DATA, job.config["band"], 2.0)
        ((images, labels),) = Batches(data.test, 99, mean=data.mean, std=data.std)
        if job.kind != "dnn":
            net = net.without_input_transform()
        with torch.no_grad():
            hits = (net(images).argmax(1) == labels).float().mean().item()
        assert record.test_accuracy == pytest.approx(hits)
        assert record.data == data.description


def test_measurements(runs):
    for job, record in runs:
        taken = record.measurements
        assert (taken["band"], taken["radius"]) == (job.config["band"], 2.0)
        assert taken["disc_energy"] == pytest.approx(energy_share(DATA, 2.0))
        assert ("spectra" in taken) == (job.kind == "dlgn")
        if job.kind == "dlgn":
            net = _net("dlgn")
            assert taken["spectra_initial"] == filter_spectra(net, (1, 4, 4))
            load_model(net, job.folder / MODEL)
            assert taken["spectra"] == filter_spectra(net, (1, 4, 4))
            assert taken["spectra"] != taken["spectra_initial"]
