"""Properties proved here, without a connection.

1. Names of the hub are told from paths.
2. Any answer of the hub will do; a gateway's, silence beyond the time limit and an address that
   nobody answers are none, and give one clear error of the caller's kind.
3. Offline nothing is asked.
"""

import re
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from dualview.errors import DataError, SavedNetworkError
from dualview.files.hub import answers, expect_hub, is_hub_name


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
    assert answers(f"{endpoint}/{status}")


@pytest.mark.parametrize("status", [407, 502, 504])
def test_a_gateway_is_not_the_hub(endpoint, status):
    assert not answers(f"{endpoint}/{status}")


def test_silent_hub_is_given_up_in_time():
    with socket.create_server(("127.0.0.1", 0)) as server:  # accepts, never answers
        start = time.monotonic()
        assert not answers(f"http://127.0.0.1:{server.getsockname()[1]}", seconds=0.2)
        assert time.monotonic() - start < 5


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "not a url", "http://[broken"])
@pytest.mark.parametrize("error", [DataError, SavedNetworkError])
def test_unreachable_hub(url, error, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
    message = f"^a/b: no such file or folder here, .*{re.escape(url)}.* at most 5 sec.*OFFLINE=1"
    with pytest.raises(error, match=message):
        expect_hub("a/b", error)


def test_offline_nothing_is_asked(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:1")
    expect_hub("a/b", DataError)
