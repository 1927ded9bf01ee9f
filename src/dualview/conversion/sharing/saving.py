"""A network -> the two files it is loaded from; nothing else is overwritten."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from torch import nn

from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.parameters import MODEL, save_parameters
from dualview.conversion.sharing.config import CONFIG, SavedConfig, config_to_json, read_config
from dualview.conversion.sharing.describing import saved_config
from dualview.conversion.sharing.self_description import own_config, save_described, structure
from dualview.errors import SavedNetworkError
from dualview.files.writing import write_json

CARD = "README.md"


def check_target(folder: Path, config: SavedConfig) -> None:
    """See that the folder is free, or holds an earlier state of the same network.

    Raises:
        SavedNetworkError: it holds something else, which stays.
    """
    if folder.exists() and not folder.is_dir():
        raise SavedNetworkError(f"{folder}: expected a folder to write to, got a file")
    if not (folder / CONFIG).exists():
        own = own_config(folder / MODEL)  # of a first save that was killed
        if (folder / MODEL).exists() and (own is None or structure(own) != structure(config)):
            raise SavedNetworkError(
                f"{folder}: holds {MODEL} without {CONFIG}, so it is not known what it is. "
                f"Repair: choose another folder, or delete the file"
            )
        return
    try:
        earlier = read_config(folder / CONFIG)
    except SavedNetworkError as error:
        raise SavedNetworkError(
            f"{folder}: expected a free folder or one of a saved network, got something else, "
            f"which stays. Repair: choose another folder. ({error})"
        ) from error
    if structure(earlier) != structure(config):
        raise SavedNetworkError(
            f"{folder}: holds another network, a {earlier.kind} of {earlier.recipe.model!r}, which "
            f"stays. Repair: choose another folder, or delete this one"
        )


def save_network(net: nn.Module, path: Path) -> None:
    """Write parameters and buffers, whole or not at all, with what makes a gated network again.

    A plain module, and a network that no config describes, is its numbers alone.
    """
    try:
        config = saved_config(net) if isinstance(net, GatedNetwork) else None
    except SavedNetworkError:
        config = None
    if config is None:
        save_parameters(net, path)
    else:
        save_described(net, config, path)


def write_files(net: GatedNetwork, config: SavedConfig, folder: Path) -> None:
    """Write parameters and config, each whole or not at all, the config last.

    Killed between the two, the folder holds the new network, which the parameters describe.

    Raises:
        SavedNetworkError: the folder cannot be written to.
    """
    from safetensors import SafetensorError

    try:
        digest = save_described(net, config, folder / MODEL)
        write_json(folder / CONFIG, config_to_json(replace(config, sha256=digest)))
    except (OSError, SafetensorError) as error:
        raise SavedNetworkError(
            f"{folder}: expected a folder to write to, got {type(error).__name__}: {error}"
        ) from error
