"""A folder or the Hugging Face hub: where networks are saved to and loaded from (extra `hub`).

The card and uploads go through `huggingface_hub.ModelHubMixin`. It is no base class of
`GatedNetwork`, because then importing that would need `huggingface_hub`, and plain conversion needs
PyTorch and NumPy alone; it is the base of a small class made here, when first used, that holds a
network. Downloads and a local folder are read and written without it: it would parse a config
before its size is checked, and delete an earlier one before a new one is there.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from torch import nn

from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.parameters import MODEL
from dualview.conversion.sharing.card import PAPER_URL, card_text
from dualview.conversion.sharing.config import CONFIG, SavedConfig
from dualview.conversion.sharing.describing import saved_config
from dualview.conversion.sharing.loading import folder_files, load_files
from dualview.conversion.sharing.saving import CARD, check_target, write_files
from dualview.errors import DualviewError, SavedNetworkError, need
from dualview.files.hub import expect_hub, is_hub_name
from dualview.files.writing import refused_by_the_system, write_text

TAGS = ["dualview", "interpretability", "neural-path-kernel"]


def save_shared(
    net: GatedNetwork,
    folder: str | Path,
    *,
    repo_id: str | None = None,
    push_to_hub: bool = False,
    **push: Any,
) -> str | None:
    """What `GatedNetwork.save_pretrained` does; that says more."""
    need("safetensors", "hub", "saving a network")
    shared_network = shared_network_class()
    config, folder = saved_config(net), Path(folder)
    name = repo_id or folder.name
    with refused_by_the_system(folder, "a folder", "choose another", SavedNetworkError):
        check_target(folder, config)
    if push_to_hub:
        expect_hub(name, SavedNetworkError)
    shared = shared_network(net, config)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_files(net, config, folder)
        if not (folder / CARD).exists():
            write_text(folder / CARD, str(shared.generate_model_card()))
        url = shared.push_to_hub(repo_id=name, **push) if push_to_hub else None
    except DualviewError:
        raise
    except Exception as error:  # the library raises many types: no disk, no right, no such name
        raise SavedNetworkError(
            f"{name if push_to_hub else folder}: the network cannot be saved there: "
            f"{type(error).__name__}: {error}"
        ) from error
    return None if url is None else str(url)


def load_shared(name: str | Path, model: nn.Module | None, **download: Any) -> GatedNetwork:
    """What `GatedNetwork.from_pretrained` does; that says more."""
    need("safetensors", "hub", "loading a network")
    folder = Path(name)
    if folder.is_dir():
        return load_files(*folder_files(folder), model)
    if folder.exists() or not is_hub_name(str(name)):
        raise SavedNetworkError(
            f"{name}: expected the folder of a saved network, or a hub name such as "
            f"organisation/name; got {'a file' if folder.exists() else 'no such folder'}"
        )
    hub = need("huggingface_hub", "hub", "the Hugging Face hub")
    if not download.get("local_files_only"):
        expect_hub(str(name), SavedNetworkError)
    try:
        config, parameters = (
            Path(hub.hf_hub_download(str(name), file, **download)) for file in (CONFIG, MODEL)
        )
    except Exception as error:  # the library raises many types: not found, gated, offline, full
        raise SavedNetworkError(
            f"{name}: no such folder here, and the network cannot be loaded from the hub: "
            f"{type(error).__name__}: {error}"
        ) from error
    return load_files(config, parameters, model)


@functools.cache
def shared_network_class() -> Any:
    """The class that gives a network to the hub's mixin.

    Raises:
        MissingExtraError: `huggingface_hub` is not installed.
    """
    hub = need("huggingface_hub", "hub", "saving a network and the Hugging Face hub")

    class SharedNetwork(hub.ModelHubMixin, library_name="dualview", tags=TAGS, paper_url=PAPER_URL):  # type: ignore[name-defined, call-arg]
        """A network and its config, as the mixin writes and uploads them."""

        def __init__(self, net: GatedNetwork, saved: SavedConfig) -> None:
            self.net = net
            self.saved = saved

        def _save_pretrained(self, save_directory: Path) -> None:
            write_files(self.net, self.saved, save_directory)

        def generate_model_card(self, **options: Any) -> Any:
            count = sum(parameter.numel() for parameter in self.net.parameters())
            data = self._hub_mixin_info.model_card_data.to_yaml()
            return hub.ModelCard(f"---\n{data}\n---\n\n{card_text(self.saved, count)}")

    return SharedNetwork
