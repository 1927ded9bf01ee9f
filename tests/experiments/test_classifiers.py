"""Properties proved here.

1. Every variant has every seed, seed by seed, in folders named by prefix, variant and seed.
2. Configs hold the variant's options, and options of gates for gated kinds only; two variants of a
   kind differ in their configs.
3. What cannot be built is refused when planned.
4. A trained variant is measured, and its record says so.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from dualview.experiments.classifiers import classifier_jobs, of_kind
from dualview.experiments.running import run_jobs
from dualview.training import SettingsError
from tests.experiments.small import small
from tests.training.tiny import tiny_data

DATA = tiny_data()
SETTINGS = small(seeds=2)


def _variants():
    plain = of_kind(SETTINGS, "dlgn", DATA)
    other = replace(plain, name="other", options={"trick": 1}, measure=lambda net: {"seen": 1})
    return [of_kind(SETTINGS, "dnn", DATA), plain, other]


def test_folders_and_order(tmp_path):
    jobs = classifier_jobs(SETTINGS, _variants(), tmp_path, DATA, prefix="fc-", scale=3.0)
    assert [job.name for job in jobs] == [
        f"fc-{name}-seed{seed}" for seed in (0, 1) for name in ("dnn", "dlgn", "other")
    ]
    assert [job.cost for job in jobs] == [3.0, 6.0, 6.0] * 2
    (only,) = classifier_jobs(SETTINGS, _variants()[:1], tmp_path, DATA, seeds=[4])
    assert (only.name, only.seed, only.config["seed"]) == ("dnn-seed4", 4, 4)


def test_configs(tmp_path):
    dnn, dlgn, other = classifier_jobs(SETTINGS, _variants(), tmp_path, DATA, seeds=[0])
    assert (dnn.config["beta"], dlgn.config["beta"]) == (None, 4.0)
    assert {**dlgn.config, "trick": 1} == other.config
    assert dlgn.parameters == other.parameters > dnn.parameters


def test_what_cannot_be_built(tmp_path):
    settings = small(arch="vgg16")
    with pytest.raises(SettingsError, match="at least 16x16"):
        classifier_jobs(settings, [of_kind(settings, "dnn", DATA)], tmp_path, DATA)


def test_measured(tmp_path):
    jobs = classifier_jobs(SETTINGS, _variants(), tmp_path, DATA, seeds=[0])
    records = run_jobs(jobs, tmp_path)
    assert [record.measurements for record in records] == [{}, {}, {"seen": 1}]
