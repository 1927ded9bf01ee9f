"""A network's steps as the page reads them: the numbers are the records', bit by bit."""

import base64

import numpy as np

from dualview.explorer.program_data import program_data
from tests.explorer.explanations.cases import explained


def test_numbers_are_the_records():
    program = explained("convolutional").program
    data = program_data(program)
    assert data["q"] == list(program.preactivations)
    assert data["bytes"] is True
    assert base64.b64decode(data["images"]) == program.images.tobytes()
    for steps, its in ((program.gating, data["gating"]), (program.weights, data["weights"])):
        for step, shown in zip(steps, its, strict=True):
            assert (shown["op"], shown["source"]) == (step.op, step.source)
            if step.weights is not None:
                values = np.frombuffer(base64.b64decode(shown["weights"]), "<f4")
                assert (values.reshape(shown["shape"]) == step.weights).all()
    assert program_data(None) is None
