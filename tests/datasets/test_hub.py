"""Data sets of the hub, without a connection.

- The `datasets` library's own reading of a local folder in the hub's layout gives exactly what the
  Parquet reader gives, through the same code as a download, and is cached.
- Offline mode without a copy gives one clear error.
"""

import json
import os
import subprocess
import sys

import numpy as np

from .files import pixels, write_parquet

LABELS = [0, 1, 1, 0]


SCRIPT = """
import json, sys, time
import numpy as np
from dualview.datasets import load
from dualview.datasets.hub import load_hub
from dualview.datasets.tables import Columns
from dualview.errors import DataError

np.savez(sys.argv[2], **{
    f"{i}_{split}_{field}": getattr(examples, field)
    for i in range(2)
    for split, examples in load_hub(sys.argv[1], Columns(), None, cache=True).splits.items()
    for field in ("images", "labels")
})
try:
    load("no-such-organisation/no-such-data")
except DataError as error:
    print(json.dumps(str(error)))
"""


def test_the_library_itself(tmp_path, cache_folder):
    """In a process of its own, because the library reads its settings once, when imported."""
    for i, split in enumerate(("train", "test")):
        write_parquet(tmp_path / "d" / f"{split}-0.parquet", pixels(4, seed=i), LABELS, names="ab")
    settings = {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "d"), str(tmp_path / "out.npz")],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = np.load(tmp_path / "out.npz")
    assert len(found.files) == 8
    for i in range(2):
        for j, split in enumerate(("train", "test")):
            np.testing.assert_array_equal(found[f"{i}_{split}_images"], pixels(4, seed=j))
            assert found[f"{i}_{split}_labels"].tolist() == LABELS
    assert len(list(cache_folder.iterdir())) == 1
    message = json.loads(done.stdout)
    assert message.startswith("no-such-organisation/no-such-data: no such file or folder here, and")
