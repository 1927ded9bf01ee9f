"""A parameter file that says itself what network it is of, so that one file is enough to be whole.

A saved network is two files, and no file system replaces two in one step. So the parameter file
holds the config too, in its metadata, with a checksum of the whole file in which the checksum's own
digits count as zeros. Where `config.json` is of an earlier or later save, as after a kill or when
two processes saved at once, the file's own config is right.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualview.conversion.parameters import opened_tensors
from dualview.conversion.sharing.config import (
    MOST_BYTES,
    SavedConfig,
    config_from_json,
    config_to_json,
)
from dualview.errors import SavedNetworkError
from dualview.files.writing import write_atomically

if TYPE_CHECKING:
    from torch import nn

KEY = "dualview"
"""Of the entry in the metadata of safetensors."""
ZEROS = "0" * 64
"""In the place of the file's own checksum while that is computed."""
LENGTH_BYTES = 8
"""At the start of a safetensors file: the header's length, little-endian."""


def save_described(net: nn.Module, config: SavedConfig, path: Path) -> str:
    """Write the network's parameters and buffers with its config, whole or not at all.

    Args:
        net: whose tensors.
        config: its checksum is filled in.
        path: of the file.

    Returns:
        The file's SHA-256, for `config.json`.
    """
    from safetensors.torch import save_model

    text = json.dumps(config_to_json(replace(config, sha256=ZEROS)))
    digests = []

    def write(part: Path) -> None:
        save_model(net, str(part), {KEY: text})
        with part.open("r+b") as file:
            place = LENGTH_BYTES + _header(part).index(ZEROS.encode())
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(place)
            file.write(digest.encode())
        with part.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())

    write_atomically(path, write)
    return digests[0]


def own_config(path: Path) -> SavedConfig | None:
    """The config that a parameter file holds; None if it holds none, or the file is damaged."""
    from safetensors import SafetensorError

    try:
        with opened_tensors(path) as file:
            text = (file.metadata() or {}).get(KEY, "")
        if not 0 < len(text) <= MOST_BYTES:
            return None
        config = config_from_json(json.loads(text), str(path))
        return config if _is_whole(path, config.sha256) else None
    except (OSError, ValueError, RecursionError, SafetensorError, SavedNetworkError):
        return None


def _is_whole(path: Path, digest: str) -> bool:
    """Whether the file has the checksum that it says, its own digits counted as zeros."""
    header = _header(path)
    if not re.fullmatch("[0-9a-f]{64}", digest) or header.count(digest.encode()) != 1:
        return False
    found = hashlib.sha256(len(header).to_bytes(LENGTH_BYTES, "little"))
    found.update(header.replace(digest.encode(), ZEROS.encode()))
    with path.open("rb") as file:
        file.seek(LENGTH_BYTES + len(header))
        while chunk := file.read(1 << 20):
            found.update(chunk)
    return found.hexdigest() == digest


def _header(path: Path) -> bytes:
    """The header of a safetensors file, which the library has read without an error."""
    with path.open("rb") as file:
        return file.read(int.from_bytes(file.read(LENGTH_BYTES), "little"))


def structure(config: SavedConfig) -> SavedConfig:
    """What stays when a network is trained on, which may give it an input transform."""
    nothing: dict[str, Any] = {"sha256": "", "versions": {}, "input_transform": None}
    return replace(config, **nothing, recipe=replace(config.recipe, seed=None))
