"""The two files of a saved network -> the network. Every check comes before what it guards."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Mapping
from pathlib import Path

from torch import nn

from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.parameters import MODEL, StoredTensor, load_parameters, stored_tensors
from dualview.conversion.sharing.config import CONFIG, DTYPES, SavedConfig, read_config
from dualview.conversion.sharing.rebuilding import rebuilt, transform_numbers
from dualview.conversion.sharing.self_description import own_config, structure
from dualview.errors import SavedNetworkError
from dualview.files.opening import opened


def load_files(config_file: Path, parameter_file: Path, model: nn.Module | None) -> GatedNetwork:
    """The network in two files, in evaluation mode, on the CPU or where `model` is.

    Raises:
        SavedNetworkError: a file is damaged, or they are not one network's, or not `model`'s.
    """
    return _put_in(_config_of_both(config_file, parameter_file), config_file, parameter_file, model)


def config_in(folder: Path) -> SavedConfig | None:
    """What a folder's network says of itself: in `config.json`, or the parameter file alone.

    None: nothing, as where `train` trained a plain module.

    Raises:
        SavedNetworkError: the files are damaged, or not of one network.
    """
    if (folder / CONFIG).exists():
        return _config_of_both(*folder_files(folder))
    return own_config(_own_file(folder, MODEL))


def load_described(folder: Path, config: SavedConfig, model: nn.Module | None) -> GatedNetwork:
    """The network of a folder and its `config_in`, in evaluation mode.

    Raises:
        SavedNetworkError: as `load_files`.
    """
    return _put_in(config, folder, _own_file(folder, MODEL), model)


def _put_in(
    config: SavedConfig, config_file: Path, parameter_file: Path, model: nn.Module | None
) -> GatedNetwork:
    """The network that the config describes, with the file's numbers."""
    stored = stored_tensors(parameter_file)
    _check_types(stored, config, parameter_file)
    try:
        net = rebuilt(config, stored, model)
    except SavedNetworkError as error:
        raise SavedNetworkError(f"{config_file}: {error}") from error
    load_parameters(net, parameter_file)
    if transform_numbers(net) != config.input_transform:
        raise SavedNetworkError(
            f"{parameter_file}: input_transform: expected {config.input_transform}, as the config "
            f"says, got {transform_numbers(net)}. Repair: give the config and the parameter file "
            f"that belong together"
        )
    return net


def _config_of_both(config_file: Path, parameter_file: Path) -> SavedConfig:
    """The config; the parameter file's own where that was written by another save of the network.

    Raises:
        SavedNetworkError: a file is damaged, or they are not of one network.
    """
    config = read_config(config_file)
    if file_digest(parameter_file) == config.sha256:
        return config
    own = own_config(parameter_file)
    if own is not None and structure(own) == structure(config):
        return own
    raise SavedNetworkError(
        f"{parameter_file}: expected the file with the SHA-256 in {CONFIG}, "
        f"{config.sha256[:64]!r}; got another, so that it is damaged or belongs to another "
        f"config. Repair: get both files again"
    )


def folder_files(folder: Path) -> tuple[Path, Path]:
    """Config and parameter file of a folder: plain files that lie in it.

    Raises:
        SavedNetworkError: one is missing, no plain file, or a link to a file elsewhere.
    """
    return _own_file(folder, CONFIG), _own_file(folder, MODEL)


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    try:
        with opened(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SavedNetworkError(
            f"{path}: expected the parameters of a saved network, got {type(error).__name__}: "
            f"{error.strerror}"
        ) from error


def _own_file(folder: Path, name: str) -> Path:
    """A file of the folder itself: no folder, device, or link that leads out of it."""
    path = folder / name
    try:
        real = path.resolve(strict=True)
        plain = stat.S_ISREG(real.stat().st_mode)
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        raise SavedNetworkError(
            f"{folder}: expected the folder of a saved network, found no {name} "
            f"({type(error).__name__}). Repair: give a folder that GatedNetwork.save_pretrained "
            f"wrote"
        ) from error
    if not plain:
        raise SavedNetworkError(f"{path}: expected a file, got a folder or device")
    if real.parent != folder.resolve():
        raise SavedNetworkError(
            f"{path}: expected a file in this folder, got a link to {real}. Repair: copy the file "
            f"here, or give the hub name of a network that the hub's library has kept"
        )
    return path


def _check_types(stored: Mapping[str, StoredTensor], config: SavedConfig, path: Path) -> None:
    for name, tensor in stored.items():
        floating = "F" in tensor.dtype  # safetensors: F32, BF16, F8_E4M3, ...
        if floating and tensor.dtype != DTYPES[config.dtype]:
            raise SavedNetworkError(
                f"{path}: {name}: expected {config.dtype}, as the config says, got {tensor.dtype}. "
                f"Repair: give the config and the parameter file that belong together"
            )
