"""What is given to users, built anew from this checkout.

1. The source distribution holds the package, README, change log and licence, and nothing else; the
   wheel is built from it, and holds every file of the package and nothing else.
2. Its metadata: licence, types, the command, two dependencies, the extras; every library that an
   extra brings has a version that the project is tested with.
"""

import re
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from hatchling import build

import dualview as dv

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "dualview"
BESIDE = {"README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml", ".gitignore", "PKG-INFO"}
INFO = f"dualview-{dv.__version__}.dist-info"


def package_files():
    found = [path for path in PACKAGE.rglob("*") if path.is_file() and not _cached(path)]
    return {path.relative_to(ROOT / "src").as_posix() for path in found}


def _cached(path):
    return "__pycache__" in path.parts


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The source distribution, unpacked."""
    folder = tmp_path_factory.mktemp("sdist")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        archive = folder / build.build_sdist(str(folder))
    with tarfile.open(archive) as files:
        files.extractall(folder, filter="data")
    return folder / f"dualview-{dv.__version__}"


@pytest.fixture(scope="module")
def wheel(unpacked, tmp_path_factory):
    """The wheel, built from the source distribution alone: name of a file -> its bytes."""
    folder = tmp_path_factory.mktemp("wheel")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(unpacked)
        name = build.build_wheel(str(folder))
    with zipfile.ZipFile(folder / name) as files:
        return {file: files.read(file) for file in files.namelist()}


@pytest.fixture(scope="module")
def metadata(wheel):
    return Parser().parsestr(wheel[f"{INFO}/METADATA"].decode())


def test_source_distribution(unpacked):
    found = {p.relative_to(unpacked).as_posix() for p in unpacked.rglob("*") if p.is_file()}
    assert found == BESIDE | {f"src/{name}" for name in package_files()}


def test_wheel(wheel):
    about = {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}
    assert set(wheel) == package_files() | {f"{INFO}/{name}" for name in about}
    assert {"dualview/py.typed", "dualview/pages/templates/page.html"} <= set(wheel)
    assert wheel[f"{INFO}/licenses/LICENSE"] == (ROOT / "LICENSE").read_bytes()
    assert b"dualview = dualview.cli:main" in wheel[f"{INFO}/entry_points.txt"]


def test_metadata(metadata):
    assert metadata["Version"] == dv.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata.get_all("License-File") == ["LICENSE"]
    assert "Typing :: Typed" in metadata.get_all("Classifier")
    plain = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    assert {re.match(r"[\w-]+", line)[0] for line in plain} == {"torch", "numpy"}
    extras = set(metadata.get_all("Provides-Extra"))
    assert {"train", "kernel", "hub", "tensorboard", "all"} <= extras


def test_every_library_has_a_tested_version(metadata):
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {_name(line) for line in lines if "==" in line}
    needed = {_name(line) for line in metadata.get_all("Requires-Dist")} - {"dualview"}
    assert needed <= pinned | UNPINNED


UNPINNED = {"tensorboard", "triton"}
"""Not installed for the tests: where one is missing, all goes on without it."""


def _name(requirement):
    return re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-")


def test_the_change_log_begins_with_this_version():
    first = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert first[1] == dv.__version__
