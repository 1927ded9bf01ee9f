"""The package's face.

- Every public name is there; importing the package imports no heavy library, not even PyTorch, and
  settings, experiments and figures are there without PyTorch.
- Every module can be imported, or says which extra it needs.
- A missing name is a plain AttributeError.
- Modules are found under the names that earlier documentation gave them.
- With PyTorch and NumPy alone a network is converted, which imports neither PyTorch's compiler nor
  what saves networks, trained by hand and looked into; every public
  name is there, or says which extra it needs, and so do functions and commands.
"""

import re
import subprocess
import sys
from importlib.metadata import requires

import pytest

import dualview as dv

HEAVY = ("torch", "numpy", "numba", "dask", "zarr", "pytorch_lightning", "sklearn", "matplotlib")
LIGHT = {
    "dualview": HEAVY,
    "dualview.experiments.registry": ("torch", "numpy", "matplotlib", "pytorch_lightning"),
    "dualview.training": ("torch",),
    "dualview.experiments.settings": ("torch",),
    "dualview.primal.figures.filters": ("torch", "matplotlib"),
    "dualview.primal.figures.gates": ("torch",),
    "dualview.path_attribution.figures": ("torch",),
    "dualview.explorer.page": ("torch",),
}
"""Module -> what importing it does not import; imported one after the other, in this order."""


@pytest.mark.parametrize("name", dv.__all__)
def test_public_names(name):
    assert getattr(dv, name).__doc__
    assert name in dir(dv)


def run(code):
    """What a process of its own prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_imports_are_light():
    code = (
        f"import importlib, sys\nfor name, heavy in {LIGHT}.items():\n"
        "    importlib.import_module(name)\n"
        "    print(name, *(library for library in heavy if library in sys.modules))"
    )
    assert run(code) == list(LIGHT)


def test_missing_name():
    with pytest.raises(AttributeError, match="no attribute 'npq'"):
        dv.npq


EARLIER = {
    "example_attribution": "KernelAttribution",
    "filter_plots": "filter_grid",
    "gate_plots": "gate_maps",
    "operations": "LINEAR_MODULES",
    "path_plots": "layer_bars",
    "vision_transformer": "vit",
}
"""Module of earlier documentation -> what it said of it."""


def test_earlier_names():
    lines = ["import dualview"]
    for old, name in EARLIER.items():
        lines += [f"from dualview.{old} import {name} as found"]
        lines += [f"print(dualview.{old}.{name} is found)"]
    assert run("\n".join(lines)) == ["True"] * len(EARLIER)


CALLED = {"pillow": "PIL", "scikit-learn": "sklearn"}
"""Library -> the name it is imported by, where it is another."""


def modules(*extras):
    """What is imported of the libraries of the extras; jinja2 is there always, torch needs it."""
    brought = set()
    for line in requires("dualview"):
        library, extra = re.match(r"([\w-]+).*?(?:extra == ['\"](\w+)['\"])?$", line).groups()
        brought |= {library} if extra in extras else set()
    return {CALLED.get(name, name.replace("-", "_")) for name in brought - {"jinja2"}}


WITHOUT = """
import sys
from importlib.machinery import PathFinder

class Without:
    "Finds what is installed, but for some."

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in {blocked}:
            return None
        return PathFinder.find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Without
"""

BY_HAND = """
import torch, dualview as dv
from torch.nn import functional as F

model = torch.nn.Sequential(
    torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.Flatten(),
    torch.nn.Linear(64, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2))
torch.manual_seed(0)
x, y = torch.randn(16, 1, 4, 4), torch.arange(16) % 2
assert torch.allclose(dv.disentangle(model, kind="dnn")(x), model(x), atol=1e-6)
net = dv.disentangle(model, kind="dlgn", seed=0)
dv.disentangle(torch.nn.Sequential(model, torch.nn.Dropout()), kind="dgn", seed=0)
assert not {"torch._dynamo", "dualview.conversion.sharing"} & sys.modules.keys()
optimiser = torch.optim.Adam(net.parameters(), 1e-2)
for _ in range(60):
    optimiser.zero_grad()
    F.cross_entropy(net(x), y).backward()
    optimiser.step()
assert (net(x).argmax(1) == y).all()
"""

ASKED = """
import tempfile
from pathlib import Path
import numpy as np
from dualview.datasets import load
from dualview.errors import MissingExtraError
from dualview.pages.style import house_style
from dualview.training import TrainSettings, train

net, folder = net.eval(), Path(tempfile.mkdtemp())
assert dv.npk(net, x).shape == dv.npk(net, x, gates="hard").shape == (16, 16)
assert len(dv.top_paths(net, x[:1], 0, 3).paths) == 3
assert dv.primal_filters(net, 1, x.shape[1:]).norms.shape == (16,)
np.savez(folder / "own.npz", x=np.zeros((20, 8, 8), np.uint8), y=np.arange(20) % 2)
data = load(str(folder / "own.npz"))
(folder / "table").mkdir()
(folder / "table" / "train.parquet").write_bytes(b"PAR1")
for name in ("a", "b"):
    (folder / "images" / name).mkdir(parents=True)
    (folder / "images" / name / "1.png").write_bytes(b"")
calls = {
    "NPKClassifier": lambda: dv.NPKClassifier,
    "NPKFeatureClassifier": lambda: dv.NPKFeatureClassifier,
    "kare": lambda: dv.kare,
    "kernel_attribution": lambda: dv.kernel_attribution,
    "DLGNClassifier": lambda: dv.DLGNClassifier,
    "DLGNRegressor": lambda: dv.DLGNRegressor,
    "TableComparison": lambda: dv.TableComparison,
    "compare_table": lambda: dv.compare_table,
    "npk_gram": lambda: dv.npk_gram(net, x, folder / "gram.zarr"),
    "digits": lambda: load("digits"),
    "parquet": lambda: load(str(folder / "table")),
    "images": lambda: load(str(folder / "images")),
    "hub": lambda: load("organisation/name"),
    "train": lambda: train(net, data, TrainSettings(), folder / "run"),
    "figure": house_style,
    "save": lambda: net.save_pretrained(folder / "saved"),
    "load": lambda: dv.GatedNetwork.from_pretrained(folder),
}
for name in sorted(set(dv.__all__) - set(calls)):
    getattr(dv, name)
for name, call in calls.items():
    try:
        call()
    except MissingExtraError as error:
        print(name, str(error).partition("pip install ")[2])
from contextlib import redirect_stderr
from io import StringIO
from dualview.cli import main
with redirect_stderr(StringIO()) as said:
    assert main([]) == 1
assert said.getvalue().startswith("dualview: error: the command line needs 'jsonargparse'")
print("dualview", said.getvalue().strip().partition("pip install ")[2])
"""

EVERY_MODULE = """
import importlib
from pkgutil import walk_packages
import dualview
from dualview.errors import MissingExtraError

for found in walk_packages(dualview.__path__, "dualview.", onerror=lambda name: None):
    if found.name.endswith(".__main__"):
        continue
    try:
        importlib.import_module(found.name)
    except MissingExtraError as error:
        assert "pip install 'dualview[" in str(error), (found.name, error)
        print(found.name)
"""

EXTRA_OF = {
    **dict.fromkeys(
        ("NPKClassifier", "NPKFeatureClassifier", "kare", "kernel_attribution"), "kernel"
    ),
    **dict.fromkeys(
        ("DLGNClassifier", "DLGNRegressor", "TableComparison", "compare_table"), "train"
    ),
    "npk_gram": "kernel",
    **dict.fromkeys(("digits", "parquet", "images"), "train"),
    "hub": "hub",
    **dict.fromkeys(("train", "figure"), "train"),
    **dict.fromkeys(("save", "load"), "hub"),
    "dualview": "train",
}


@pytest.fixture(scope="module")
def without_extras():
    """What is asked for by hand, and which modules refuse, where no extra is installed."""
    blocked = modules("train", "kernel", "hub", "tensorboard")
    assert {"sklearn", "PIL", "pytorch_lightning", "numba", "zarr", "datasets"} <= blocked
    parts = [WITHOUT.replace("{blocked}", repr(blocked)), BY_HAND, ASKED, EVERY_MODULE]
    lines = run("\n".join(parts))
    return lines[: len(EXTRA_OF)], set(lines[len(EXTRA_OF) :])


def test_pytorch_and_numpy_are_enough(without_extras):
    asked, _ = without_extras
    assert asked == [f"{what} 'dualview[{extra}]'" for what, extra in EXTRA_OF.items()]


def test_every_module_is_imported_or_names_its_extra(without_extras):
    _, refused = without_extras
    trainers = {f"dualview.training.{name}" for name in ("keeping", "module")}
    assert trainers | {"dualview.cli.parser", "dualview.path_kernel.ridge"} <= refused
    light = ("cli", "training", "path_kernel", "datasets", "datasets.hub", "datasets.parquet")
    assert not refused & {f"dualview.{name}" for name in light}
