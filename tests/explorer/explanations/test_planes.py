"""Planes through examples and training images.

- Each goes through an example, the nearest training image of the class to compare with, and the
  nearest of the predicted one, and is `partition_slice` of the three; the least sure come first.
- What has none says why: other kinds, many gates, classes without a training image.
"""

import dataclasses

import numpy as np
import pytest
import torch

import dualview as dv
from dualview.explorer.explanations import planes as made
from dualview.explorer.explanations.planes import planes_of
from dualview.progress import Unseen

from .cases import ROWS, exact, explained, inputs_of, network, small_data

X = torch.cat([inputs_of(row) for row in ROWS])


def planes(kind="dlgn", most=3, n_gates=9, data=None):
    examples = explained("dense", kind).examples
    net = exact(network("dense", kind))
    return planes_of(net, data or small_data(), X, examples, n_gates, most, Unseen())


def test_three_images_and_their_plane():
    found, why = planes()
    assert why == ""
    leads = [np.diff(np.sort(explained("dense").examples[p.example].logits)[-2:]) for p in found]
    assert leads == sorted(leads)
    labels = small_data().train.labels.numpy()
    for plane in found:
        example = explained("dense").examples[plane.example]
        x = inputs_of(example.row)
        for row, output in zip(plane.rows, example.outputs[1::-1], strict=True):
            others = np.flatnonzero(labels == output.output)
            far = [float((inputs_of(i, "train") - x).norm()) for i in others.tolist()]
            assert row == others[np.argmin(far)]
        points = [x, *(inputs_of(row, "train") for row in plane.rows)]
        want = dv.partition_slice(exact(network("dense")), *points, gates="hard")
        assert len(plane.found.cells) == len(want.cells)
        assert plane.found.lines == pytest.approx(want.lines, rel=1e-5, abs=1e-6)
        assert plane.labels == tuple(labels[list(plane.rows)].tolist())
        assert (plane.images == small_data().train.images[list(plane.rows)].numpy()).all()


def test_no_more_than_asked_for():
    assert len(planes(most=1)[0]) == 1
    assert explained("dense", n_train=0, planes=0).why_no_planes == "none was asked for"


def test_what_has_none(monkeypatch):
    assert planes("dgn") == ((), "only in a DLGN is every gate a straight line there")
    assert "2,001 gates" in planes(n_gates=2001)[1]
    monkeypatch.setattr(made, "MOST_CELLS", 2)
    found, why = planes()
    assert found == ()
    assert why == "gates cut those tried into more than 2 cells, too many to be seen"
    monkeypatch.undo()
    data = small_data()
    same = type(data.train)(data.test.images[list(ROWS)], torch.tensor([0, 1, 2]))
    same.images[:] = data.test.images[ROWS[0]]
    found, why = planes(data=dataclasses.replace(data, train=same))
    assert found == ()
    assert why == "the images tried lie on one line"
    keep = data.train.labels == 0
    few = type(data.train)(data.train.images[keep], data.train.labels[keep])
    assert "neighbours of two classes" in planes(data=dataclasses.replace(data, train=few))[1]
