"""A network's file.

- What is saved comes back to the last bit, in either precision, also where networks share tensors.
- A missing, extra or mis-shaped tensor, another type of number, NaN and infinity, a truncated file,
  a bit-flipped header, a pickle by another name, a folder and no file at all: one error each, and
  the network stays as it was.
- A header cannot declare more than the file holds.
- The file may have any name.
"""

import json
import os
import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import dualview as dv
from dualview.conversion.parameters import (
    StoredTensor,
    load_parameters,
    save_parameters,
    shared_names,
    stored_tensors,
)
from dualview.errors import SavedNetworkError


def small_net():
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))


@pytest.fixture
def file(tmp_path):
    save_parameters(small_net(), tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_round_trip(tmp_path, dtype):
    net, other = small_net().to(dtype), small_net().to(dtype)
    save_parameters(net, tmp_path / "m")
    load_parameters(other, tmp_path / "m")
    torch.testing.assert_close(other.state_dict(), net.state_dict(), rtol=0, atol=0)


def test_other_precision(file):
    net = small_net().double()
    load_parameters(net, file)
    torch.testing.assert_close(net[0].weight.float(), load_file(file)["0.weight"])


def test_shared_tensors(tmp_path):
    nets = [dv.disentangle(small_net().eval(), "dnn") for _ in range(2)]
    save_parameters(nets[0], tmp_path / "m")
    assert len(load_file(tmp_path / "m")) == len(shared_names(nets[0]))
    assert len(shared_names(nets[0])) < len(nets[0].state_dict())
    load_parameters(nets[1], tmp_path / "m")
    torch.testing.assert_close(nets[1].state_dict(), nets[0].state_dict(), rtol=0, atol=0)


def test_header(file):
    stored = stored_tensors(file)
    assert stored["0.weight"] == StoredTensor((4, 3), "F32")
    assert stored["1.num_batches_tracked"] == StoredTensor((), "I64")
    assert set(stored) == set(small_net().state_dict())


def refused(file, match):
    net = small_net()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with pytest.raises(SavedNetworkError, match=match) as caught:
        load_parameters(net, file)
    assert "Repair" in str(caught.value)
    torch.testing.assert_close(net.state_dict(), before, rtol=0, atol=0)


def without(tensors):
    del tensors["3.bias"]


def with_more(tensors):
    tensors["more"] = torch.zeros(1)


def with_other_shape(tensors):
    tensors["0.weight"] = torch.zeros(3, 4)


def with_nan(tensors):
    tensors["3.weight"][1, 2] = torch.nan


def with_infinity(tensors):
    tensors["1.running_var"][0] = -torch.inf


def too_large_for_float32(tensors):
    tensors["3.bias"] = torch.tensor([1.0, 1e300], dtype=torch.float64)


def with_nan_of_eight_bits(tensors):
    tensors["3.bias"] = torch.tensor([1.0, torch.nan]).to(torch.float8_e4m3fn)


def with_integers(tensors):
    tensors["3.bias"] = torch.zeros(2, dtype=torch.int64)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (without, "missing: 3.bias"),
        (with_more, "not in the network: more"),
        (with_other_shape, r"0.weight is \(4, 3\) in the network and \(3, 4\) in the file"),
        (with_nan, "3.weight: expected finite numbers"),
        (with_infinity, "1.running_var: expected finite numbers"),
        (too_large_for_float32, "3.bias: expected finite numbers"),
        (with_nan_of_eight_bits, "3.bias: expected finite numbers"),
        (with_integers, "3.bias: expected torch.float32, got torch.int64"),
    ],
)
def test_unfit_tensors(file, change, match):
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file)
    refused(file, match)


def test_names_are_shown_short_and_printable(file):
    save_file({"\x1b[2J" + "x" * 10_000: torch.zeros(1)}, file)
    with pytest.raises(SavedNetworkError) as caught:
        load_parameters(small_net(), file)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


def test_long_lists_are_cut(file):
    save_file({f"t{k}": torch.zeros(1) for k in range(9)}, file)
    refused(file, "t0, t1, t2 and 6 more")


@pytest.mark.parametrize("content", [b"", b"{}", pickle.dumps({"a": 1}), b"PK\x03\x04" * 9])
def test_other_formats(file, content):
    file.write_bytes(content)
    refused(file, "expected a safetensors file")


def test_torch_pickle(file):
    torch.save(small_net().state_dict(), file)
    refused(file, "pickles, are never loaded")


def test_no_file(tmp_path):
    refused(tmp_path, "expected a safetensors file")
    refused(tmp_path / "none", "expected a safetensors file")


def test_truncation_is_refused(file):
    content = file.read_bytes()
    for length in range(0, len(content), 23):
        file.write_bytes(content[:length])
        refused(file, "expected a safetensors file")


def test_flipped_bits_of_the_header_are_refused_or_change_nothing(file):
    content = file.read_bytes()
    expected = load_file(file)
    header = 8 + int.from_bytes(content[:8], "little")
    for position in range(0, header * 8, 37):  # each of the 8 places in a byte in turn
        flipped = bytearray(content)
        flipped[position // 8] ^= 1 << position % 8
        file.write_bytes(flipped)
        net = small_net()
        try:
            load_parameters(net, file)
        except SavedNetworkError:
            continue
        state = net.state_dict()
        assert all(torch.equal(state[name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize("shape", [[4, 3 << 40], [1 << 62, 1 << 62], [-4, 3], [4, 3.5]])
def test_declared_sizes_are_held_against_the_file(file, shape):
    content = file.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["0.weight"]["shape"] = shape
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])
    refused(file, "expected a safetensors file")


@pytest.mark.parametrize("name", [os.fsdecode(b"caf\xe9"), "ü", "a b"])
def test_any_name(tmp_path, name):
    """safetensors itself reads files whose names are UTF-8."""
    first, second = nn.Linear(2, 3), nn.Linear(2, 3)
    save_parameters(first, tmp_path / name)
    assert set(stored_tensors(tmp_path / name)) == {"weight", "bias"}
    load_parameters(second, tmp_path / name)
    assert torch.equal(first.weight, second.weight)
