"""Data sets of the hub, without a connection.

- The `datasets` library's own reading of a local folder in the hub's layout gives exactly what the
  Parquet reader gives, through the same code as a download, and is cached.
- A hub that refuses, is silent, or whose name is unknown, and offline mode without a copy, give one
  clear error within the time limit.
"""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest

from dualview.datasets.hub import expect_answer, is_hub_name
from dualview.errors import DataError

from .files import pixels, write_parquet

LABELS = [0, 1, 1, 0]


@pytest.mark.parametrize("name", ["ylecun/mnist", "uoft-cs/cifar10", "a/b.c_d"])
def test_hub_names(name):
    assert is_hub_name(name)


@pytest.mark.parametrize("name", ["mnist", "../mnist", "/a/b", "a/b/c", "~/a", "a/", "a b/c", ""])
def test_other_names(name):
    assert not is_hub_name(name)


@pytest.fixture
def endpoint():
    """A server of this machine that answers every HEAD request with the status in its path."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(int(self.path.strip("/")))
            self.end_headers()

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("status", [200, 401, 404, 405])
def test_any_answer_of_the_hub_will_do(endpoint, status):
    expect_answer(f"{endpoint}/{status}", "a/b")


@pytest.mark.parametrize("status", [407, 502, 504])
def test_a_gateway_is_not_the_hub(endpoint, status):
    with pytest.raises(DataError, match="no answer from the hub"):
        expect_answer(f"{endpoint}/{status}", "a/b")


def test_silent_hub_is_given_up_in_time():
    with socket.create_server(("127.0.0.1", 0)) as server:  # accepts, never answers
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        start = time.monotonic()
        message = r"^a/b: no such file or folder here, .* at most 0\.2 seconds.*HF_HUB_OFFLINE=1"
        with pytest.raises(DataError, match=message):
            expect_answer(url, "a/b", seconds=0.2)
        assert time.monotonic() - start < 5


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "not a url", "http://[broken"])
def test_unreachable_hub(url):
    with pytest.raises(DataError, match="no answer from the hub"):
        expect_answer(url, "a/b")


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
