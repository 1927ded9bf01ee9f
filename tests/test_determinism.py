"""Properties proved here.

1. The same seed gives the same numbers and parameters, to the bit, on the CPU, in this process and
   in a fresh one whose hashes and global random state are others: comparisons, experiments, random
   features and Gram matrices.
"""

import os
import subprocess
import sys

import torch

from tests.determinism import WORK, digests


def test_twice_the_same():
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    command = [sys.executable, "-m", "tests.determinism"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as other:
        torch.manual_seed(7)
        here = digests()
        there = dict(line.split() for line in other.communicate()[0].splitlines())
    assert list(there) == list(WORK)
    assert there == here
