"""Properties proved here.

1. The demo compares the four kinds that it promises, three seeds each, on data that is built in.
2. It depends on neither the number of cores nor the size of the data: all is set.
3. One epoch of it trains each kind.
"""

import dataclasses

from dualview.experiments.comparison import compare
from dualview.experiments.demo import DEMO


def test_what_the_demo_promises():
    assert DEMO.kinds == ("dnn", "dgn", "dlgn", "dlgn-ones")
    assert DEMO.seeds == 3
    assert DEMO.data.source == "digits"
    assert DEMO.training.threads == 1
    assert DEMO.training == DEMO.training.resolved(1_000_000)


def test_one_epoch_of_the_demo(tmp_path):
    training = dataclasses.replace(DEMO.training, epochs=1)
    short = dataclasses.replace(DEMO, training=training, seeds=1)
    records = compare(short, tmp_path)
    assert [record.kind for record in records] == list(DEMO.kinds)
    assert {record.experiment for record in records} == {"demo"}
    assert all(record.test_accuracy > 0.2 for record in records)
