"""Nothing that the package or its benchmarks load can run code.

- No file of the source unpickles (but for the jobs that a dask worker is sent), evaluates text, or
  reads by a form that could: torch.load without weights_only=True, pickled arrays of numpy, YAML
  with objects, a shell.
- The search itself finds every such form, and lets the safe ones pass.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted(path for room in ("src", "benchmarks") for path in (ROOT / room).rglob("*.py"))

PICKLING = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
READING = {"load", "loads", "Unpickler", "open"}
EVALUATING = {"eval", "exec", "compile", "__import__"}
NEVER = {
    "load_from_checkpoint",
    "load_state_dict_from_url",
    "read_pickle",
    "run_path",
    "unsafe_load",
    "full_load",
    "UnsafeLoader",
    "FullLoader",
    "getoutput",
    "popen",
    "system",
}


def _name(node):
    """The dotted name of an expression; "" if it is none."""
    if isinstance(node, ast.Attribute):
        return f"{_name(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _is(call, option, value):
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    return isinstance(given.get(option), ast.Constant) and given[option].value is value


def _unsafe_call(call):
    *owners, last = _name(call.func).split(".")
    owner = owners[-1] if owners else ""
    if owner == "platform":
        return False  # platform.system only names the system
    if last in NEVER or (not owners and last in EVALUATING):
        return True
    if owner in PICKLING and last in READING:
        return True
    if owner == "torch" and last == "load":
        return not _is(call, "weights_only", True)
    if owner in ("np", "numpy") and last == "load":
        return not _is(call, "allow_pickle", False)
    if owner in ("jit", "package", "export") and last == "load":
        return True
    if owner == "yaml" and last in ("load", "load_all"):
        return True
    return any(_is(call, option, True) for option in ("allow_pickle", "shell", "trust_remote_code"))


def unsafe_lines(source):
    """Numbers of the lines that could run what a file says."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and _unsafe_call(node):
            found.add(node.lineno)
        if isinstance(node, ast.ImportFrom):
            room = (node.module or "").split(".")[-1]
            names = {alias.name for alias in node.names}
            if (room in PICKLING and names & (READING | {"*"})) or names & NEVER:
                found.add(node.lineno)
            if room in ("torch", "numpy") and "load" in names:
                found.add(node.lineno)
    return sorted(found)


FROM_THE_CLUSTER = {"src/dualview/experiments/carried.py": ["_LATEST[token] = pickle.loads(blob)"]}
"""No file: what a dask worker was sent, by the client that sends it its code as well."""


def test_no_unsafe_form():
    assert len(FILES) > 100
    found = {}
    for path in FILES:
        source = path.read_text(encoding="utf-8")
        lines = [source.splitlines()[number - 1].strip() for number in unsafe_lines(source)]
        if lines:
            found[path.relative_to(ROOT).as_posix()] = lines
    assert found == FROM_THE_CLUSTER


UNSAFE = [
    "pickle.load(f)",
    "pickle.loads(b)",
    "pickle.Unpickler(f).load()",
    "from pickle import loads",
    "from joblib import load",
    "joblib.load(f)",
    "dill.loads(b)",
    "marshal.loads(b)",
    "shelve.open(f)",
    "torch.load(f)",
    "torch.load(f, weights_only=False)",
    "torch.load(f, weights_only=safe)",
    "from torch import load",
    "torch.jit.load(f)",
    "torch.export.load(f)",
    "np.load(f)",
    "np.load(f, allow_pickle=True)",
    "np.savez(f, allow_pickle=True, a=a)",
    "from numpy import load",
    "pd.read_pickle(f)",
    "yaml.load(text)",
    "yaml.load(text, Loader=yaml.FullLoader)",
    "yaml.unsafe_load(text)",
    "from yaml import unsafe_load",
    "eval(text)",
    "exec(text)",
    "exec(compile(text, 'f', 'exec'))",
    "__import__(name)",
    "Net.load_from_checkpoint(f)",
    "os.system(text)",
    "subprocess.run(text, shell=True)",
    "load_dataset(name, trust_remote_code=True)",
]

SAFE = [
    "torch.load(f, map_location='cpu', weights_only=True)",
    "np.load(f, allow_pickle=False)",
    "np.savez(f, allow_pickle=False, a=a)",
    "pickle.dumps(net)",
    "yaml.safe_load(text)",
    "json.load(f)",
    "net.eval()",
    "torch.compile(net)",
    "re.compile(text)",
    "subprocess.run(['git', 'status'])",
    "platform.system()",
]


@pytest.mark.parametrize("source", UNSAFE)
def test_unsafe_forms_are_found(source):
    assert unsafe_lines(f"import os\n{source}") == [2]


@pytest.mark.parametrize("source", SAFE)
def test_safe_forms_pass(source):
    assert unsafe_lines(source) == []
