"""`config.json`.

- What is written is read again, equal, for every kind.
- Names and versions, which messages and cards show, are short and printable.
- Every entry that is missing, of another form or unknown is refused by its name, before anything
  is made of it; so is what is no JSON, too large, too deep, or of another format.
"""

import json

import pytest

from dualview.conversion.promises import Kind
from dualview.conversion.sharing import config as module
from dualview.conversion.sharing.config import config_from_json, config_to_json, read_config
from dualview.conversion.sharing.describing import saved_config
from dualview.errors import SavedNetworkError

from .saved import own_net, small_c4gap, small_fc

KINDS = Kind.__args__


@pytest.mark.parametrize("kind", KINDS)
def test_round_trip(tmp_path, kind):
    for net in (small_fc(kind), small_c4gap(kind)):
        config = saved_config(net)
        (tmp_path / "config.json").write_text(json.dumps(config_to_json(config)))
        assert read_config(tmp_path / "config.json") == config
        assert config.recipe.architecture.name in ("fc", "c4gap")


@pytest.fixture(scope="module")
def written():
    return config_to_json(saved_config(small_fc()))


def test_own_models_name_no_architecture():
    assert config_to_json(saved_config(own_net()))["architecture"] is None


def test_entries_are_those_that_are_read(written):
    assert set(written) == {*module._FORMS, "format"}


def refused(value, match):
    with pytest.raises(SavedNetworkError, match=match):
        config_from_json(value, "here")


@pytest.mark.parametrize("name", module._FORMS)
def test_each_entry_is_checked(written, name):
    missing = {key: value for key, value in written.items() if key != name}
    refused(missing, f"^here: {name}: expected .*, got none")
    for wrong in (1.5, True, [[]], {"a": [1.5]}, "../../etc/passwd" if name != "model" else 3):
        if name == "sha256" and isinstance(wrong, str):
            continue  # any text is compared with the file's checksum
        if name == "gate" and isinstance(wrong, dict):
            continue  # read by dualview.conversion.recipe
        refused({**written, name: wrong}, f"^here: {name}: expected ")


@pytest.mark.parametrize(
    "text", ["\x1b[2J", "Net(); import os", pytest.param("a" * 10_000, id="long")]
)
def test_texts_that_messages_or_cards_show_are_short_names(written, text):
    refused({**written, "model": text}, "^here: model: expected the name of a class")
    options = {"name": "fc", "options": {text: 3}}
    refused({**written, "architecture": options}, "^here: architecture: expected null, or")


@pytest.mark.parametrize(
    "versions",
    [{"torch": "\x1b[2J"}, {"\x1b[2J": "2"}, {"torch": "2" * 99}, {f"t{k}": "" for k in range(9)}],
)
def test_versions_are_short_and_printable(written, versions):
    refused({**written, "versions": versions}, "^here: versions: expected")


@pytest.mark.parametrize(
    "entry",
    [
        {"auto_map": {"AutoModel": "modeling.Net"}},
        {"weights_file": "../../elsewhere.bin"},
        {"_target_": "os.system"},
    ],
)
def test_unknown_entries(written, entry):
    refused({**written, **entry}, f"got '{next(iter(entry))}' too")


@pytest.mark.parametrize(
    "architecture",
    [
        {"name": "fc"},
        {"name": "fc", "options": {}, "module": "os"},
        {"name": 3, "options": {}},
        {"name": "fc", "options": {"width": "4"}},
        {"name": "fc", "options": {"width": -4}},
        {"name": "fc", "options": {"width": 1e9}},
        {"name": "fc", "options": {"widths": [4, [4]]}},
    ],
)
def test_architectures_of_another_form(written, architecture):
    refused({**written, "architecture": architecture}, "^here: architecture: expected null, or")


@pytest.mark.parametrize("value", [None, [], "text", {}, {"format": "dualview network 2"}])
def test_other_formats(value):
    refused(value, "expected the config of a saved network, format 'dualview network 1'")


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b'{"a": NaN}', b"[" * 100_000, b"1" * 5000]
)
def test_no_json(tmp_path, content):
    (tmp_path / "c").write_bytes(content)
    with pytest.raises(SavedNetworkError, match="Repair"):
        read_config(tmp_path / "c")


def test_too_large(tmp_path):
    with (tmp_path / "c").open("wb") as file:
        file.truncate(module.MOST_BYTES + 1)
    with pytest.raises(SavedNetworkError, match=r"at most 16,000,000 bytes, got more"):
        read_config(tmp_path / "c")
    with pytest.raises(SavedNetworkError, match="FileNotFoundError"):
        read_config(tmp_path / "none")
