"""The Hugging Face hub: what its names look like, and whether it answers at all.

Data sets and saved networks are read from there. Without a connection the answer is a clear error
after a few seconds, not a hang; `HF_HUB_OFFLINE=1` uses what the hub's library has kept.
"""

from __future__ import annotations

import re
import threading
import urllib.error
import urllib.request

from dualview.errors import DualviewError, need

TIMEOUT_SECONDS = 5.0
"""How long the hub may take to answer at all."""

_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")


def is_hub_name(name: str) -> bool:
    """Whether a string has the form `organisation/name`.

    >>> is_hub_name("ylecun/mnist"), is_hub_name("../data/mnist")
    (True, False)
    """
    return _NAME.fullmatch(name) is not None


def expect_hub(name: str, error: type[DualviewError]) -> None:
    """Raise unless the hub answers, or need not: offline the library says what it has not kept.

    Args:
        name: what is wanted of it.
        error: what is raised.

    Raises:
        MissingExtraError: `huggingface_hub` is not installed.
    """
    constants = need("huggingface_hub.constants", "hub", "the Hugging Face hub")
    if not constants.HF_HUB_OFFLINE and not answers(constants.ENDPOINT):
        raise error(
            f"{name}: no such file or folder here, and no answer from the hub "
            f"{constants.ENDPOINT} (waited at most {TIMEOUT_SECONDS:g} seconds). Connect and try "
            "again, set HF_HUB_OFFLINE=1 to use what was downloaded before, or give the path of a "
            "local copy"
        )


def answers(endpoint: str, seconds: float = TIMEOUT_SECONDS) -> bool:
    """Whether the hub answers in time, with whatever: a gateway's words are not its own.

    The question is asked in a thread, because looking up a host's name knows no time limit.
    """
    answered: list[bool] = []

    def ask() -> None:
        try:
            request = urllib.request.Request(endpoint, method="HEAD")
            urllib.request.urlopen(request, timeout=seconds).close()
        except urllib.error.HTTPError as error:
            error.close()
            if error.code >= 500 or error.code == 407:
                return
        except (OSError, ValueError):
            return
        answered.append(True)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return bool(answered)
