"""Properties of the source itself, so that it stays a house people want to live in.

1. At most 18 rooms at the top; no file over 600 lines; no function over 60 lines that is not at
   least half docstring.
2. Files import each other in no circle, but for `GatedNetwork` and what saves and loads it.
3. No public name stands at the top level of three files for three things. Where it is one thing in
   many files (the `plan` of an experiment, the `HELP` of a command), that is said here.
4. Each room says what is public: its `__all__` holds names that are there, and one page of the
   reference lists them all and no others.
5. Each file has a test file of its own, at the mirrored place; or it is said here where it is
   tested, and why.
"""

import ast
import importlib
import re
import sys
from collections import defaultdict
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest

import dualview

SOURCE = Path(dualview.__file__).parent
TESTS = Path(__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
NAMES = [str(file.relative_to(SOURCE).with_suffix("")) for file in FILES]


@cache
def _trees():
    """Name of each file -> its syntax tree."""
    return {
        name: ast.parse(file.read_text(encoding="utf-8"))
        for name, file in zip(NAMES, FILES, strict=True)
    }


RULES = "addition product quotient negation batch_norm identity mean dense RULES Rule convolution"
ONE_THING = {
    "cli/*": "NAME USAGE HELP DESCRIPTION EPILOG add_options run result_text",
    "experiments/*/*": "NAME TITLE EXPERIMENT CAPTIONS CLAIMS plan tables figures heading "
    "COMPARED_KINDS PAPER_PRESET SMALL_PRESET LARGE_PRESET CPU_PRESET",
    "experiments/theory/*": "STATEMENTS",
    "p*/*": RULES,
}
"""Files -> names that each of them may have, of one thing: a command, an experiment, a backend's
rules."""


def test_few_rooms():
    rooms = [
        place
        for place in SOURCE.iterdir()
        if place.name[0] not in "_." and place.name != "py.typed"
    ]
    assert len(rooms) <= 18, sorted(room.name for room in rooms)


def test_files_are_short():
    lines = {str(file): file.read_text(encoding="utf-8").count("\n") for file in FILES}
    assert {file: count for file, count in lines.items() if count > 600} == {}


def _functions():
    for name, tree in _trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield name, node


def test_functions_are_short():
    long = []
    for name, node in _functions():
        lines, first = node.end_lineno - node.lineno + 1, node.body[0]
        said = first.end_lineno - first.lineno + 1 if ast.get_docstring(node) else 0
        if lines > 60 and said < lines / 2:
            long.append(f"{name}.{node.name}: {lines} lines, {said} of them docstring")
    assert long == []


def _module(name):
    return ".".join(["dualview", *name.split("/")]).removesuffix(".__init__")


@cache
def _modules():
    return {_module(name): tree for name, tree in _trees().items()}


def _imported(module):
    """Modules of the package that are imported, at the top or in a function, not for types only."""
    tree = _modules()[module]
    typing = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in typing:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in _modules() else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def _reached(start, arrows):
    found, ahead = set(), [start]
    while ahead:
        for module in arrows[ahead.pop()] - found:
            found.add(module)
            ahead.append(module)
    return found


def test_no_circles():
    arrows = {module: {*_imported(module)} & _modules().keys() - {module} for module in _modules()}
    in_circles = {module for module in _modules() if module in _reached(module, arrows)}
    of_saving = {m for m in in_circles if m.startswith("dualview.conversion.sharing.")}
    made = {"dualview.conversion.gated_network", "dualview.conversion.disentangling"}
    assert in_circles - of_saving - made == set()


def _top_level(tree):
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id


def test_one_name_for_one_thing():
    things = defaultdict(set)
    for name, tree in _trees().items():
        for found in _top_level(tree):
            roles = (role for role, names in ONE_THING.items() if found in names.split())
            things[found].add(next((role for role in roles if fnmatch(name, role)), name))
    many = {
        name: sorted(where)
        for name, where in things.items()
        if len(where) > 2 and not name.startswith("_")
    }
    assert many == {}


PUBLIC = ["", ".architectures", ".datasets", ".experiments", ".path_enumeration", ".training"]


@pytest.mark.parametrize("room", PUBLIC)
def test_a_public_room_has_what_it_says(room):
    module = importlib.import_module(f"dualview{room}")
    assert len(set(module.__all__)) == len(module.__all__) > 0
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


def test_one_page_has_all_that_is_public():
    page = (TESTS.parent / "docs" / "reference" / "index.md").read_text(encoding="utf-8")
    listed = {}
    for part in page.split("\n## `")[1:]:
        room, _, rest = part.partition("`")
        listed[room] = re.findall(r"^\| \[?`(\w+)`", rest, flags=re.MULTILINE)
    assert listed == {room: importlib.import_module(room).__all__ for room in listed}
    assert {f"dualview{room}" for room in PUBLIC} == {*listed, "dualview.path_enumeration"}


TYPES = (
    "explorer/explanations/records",
    "explorer/explanations/network_records",
    "path_enumeration/edges",
    "path_kernel/fast/plan",
)
TESTED_ELSEWHERE = {
    **dict.fromkeys(TYPES, "test_house"),  # data classes that do nothing
    "conversion/affine_pass": "path_attribution/test_affine_run",
    "conversion/capture/exported": "conversion/test_wrappers",
    "conversion/onnx_files/*": "conversion/onnx_files/test_reading",  # the tables, one by one
    "path_attribution/group_*": "path_attribution/test_groups",  # one search, against all paths
    "path_kernel/chains": "path_kernel/test_concentration",
    "path_kernel/contraction": "path_kernel/test_rules",
    "path_kernel/gradients": "path_kernel/test_empirical",
    "path_kernel/setting": "path_kernel/test_rules",
    "path_kernel/spread": "path_kernel/test_rules",
    "path_kernel/fast/*": "path_kernel/fast/test_rows",  # one computation, against the rules
    "path_kernel/*_rules": "path_kernel/test_rules",  # the table of all of them, against the oracle
    "experiments/carried": "experiments/test_carrying",  # what it carries, end to end
    "experiments/*/claims": "experiments/test_claims",
    "primal/regions": "primal/test_crossings",
    "tabular/comparing/findings": "tabular/comparing/test_comparison",
    "training/distil_settings": "training/test_teacher",
    "training/lightning": "training/test_run",  # names of the library
    "training/watcher": "training/test_keeping",  # the protocol, as it is told
}
"""Files -> where they are tested."""


def test_each_file_has_a_test():
    missing = []
    for name in NAMES:
        place, _, file = name.rpartition("/")
        if file in ("__init__", "__main__"):
            continue
        own = str(Path(place, f"test_{file.lstrip('_')}"))
        said = next((test for f, test in TESTED_ELSEWHERE.items() if fnmatch(name, f)), own)
        if not any((TESTS / f"{test}.py").exists() for test in (own, said)):
            missing.append(name)
    assert missing == []


def test_these_are_the_files_that_run():
    """What is read here is what is imported."""
    own = [m for name, m in sys.modules.items() if name.partition(".")[0] == "dualview"]
    loaded = [module.__file__ for module in own if module.__file__]
    assert {Path(file) for file in loaded} <= set(FILES)
