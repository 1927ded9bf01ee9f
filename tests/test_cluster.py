"""Properties proved here.

1. Two calls at once on processes do not get into each other's way, and who finds their ports can
   neither speak to them nor read their state.
2. Processes that are to be as this one is have its threads, and no bound on memory.
3. An error that comes back from a worker is of its class, with its words. What is lost and what is
   given up is proved with what is carried: Gram matrices and jobs.
"""

import os
import urllib.error
import urllib.request
import warnings

import pytest
from distributed import Client
from distributed.security import Security

from dualview.cluster import cluster_client, travels_back
from dualview.errors import RunError


def processes(**options):
    return cluster_client("processes", 1, RunError, "none", **options)


def test_clusters_of_two_calls_share_a_machine():
    with (
        warnings.catch_warnings(action="error"),  # distributed warns of a port that is taken
        processes() as first,
        processes() as second,
    ):
        assert len({client.submit(int, "3").result() for client in (first, second)}) == 1


def test_processes_trust_nobody_else():
    """Who finds a port of the cluster cannot speak to it, and is shown no pages."""
    with processes() as client:
        assert client.submit(sum, [1, 2]).result() == 3
        cluster = client.cluster
        assert cluster.scheduler_address.startswith("tls://127.0.0.1:")
        (worker,) = cluster.scheduler.workers
        assert worker.startswith("tls://127.0.0.1:")
        for address in (cluster.scheduler_address, worker):
            for outsider in ({}, {"security": Security.temporary()}):
                where = address if outsider else address.replace("tls", "tcp")
                with pytest.raises(OSError):  # noqa: PT011  (its text is the system's: refused, reset or timed out)
                    Client(where, timeout="1s", set_as_default=False, **outsider)
        port = cluster.scheduler.http_server.port
        for page in ("health", "info/main/workers.html", "json/index.html"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}", timeout=5)


def test_processes_like_this_one(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    with processes(like_here=True) as client:
        assert client.submit(os.environ.get, "OMP_NUM_THREADS").result() == "3"
        (worker,) = client.scheduler_info()["workers"].values()
        assert worker["memory_limit"] == 0


def test_errors_travel_back():
    for error in (RunError("no"), OSError(28, "full")):
        back = travels_back(error)
        assert (type(back), str(back)) == (type(error), str(error))
