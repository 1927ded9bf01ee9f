"""The page of benchmarks, `docs/benchmarks.md`, from the records in `results/benchmarks/` alone.

make benchmarks              # measures, collects the records and writes the page
python benchmarks/page.py    # the page alone
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from measurement import BenchmarkRecord, Measurement, read_record, shown

from dualview.errors import RunError
from dualview.experiments.tables import Table, to_markdown
from dualview.files.writing import write_atomically

ROOT = Path(__file__).parents[1]
RECORDS = ROOT / "results" / "benchmarks"
PAGE = ROOT / "docs" / "benchmarks.md"

TITLES = {
    "conversion": "Taking a network apart",
    "train_step": "A training step",
    "training_speed": "What makes a CPU fast",
    "path_kernel": "The neural path kernel",
    "kernel_machine": "Kernel machines",
    "explain": "Filters, paths and the explorer's page",
    "at_size": "Images of 224 pixels, deep networks",
    "memory_bound": "What `memory` promises",
    "loader": "The data loader",
    "import_time": "Import",
    "soak": "What many runs leave behind",
}
"""Script -> heading, in the order of the page."""

HEAD = """\
# Benchmarks

This page is made from records of the scripts in `benchmarks/`. On a quiet machine

```bash
make benchmarks
```

measures all of them and makes records and page anew. *n* is the number of rounds, processes or
passes that a figure was taken from. The load is that of the minute before: the mean number of
processes that ran or waited. Where it is well above 0, other programs ran too, and times are too
long.
"""
NOT_MEASURED = "Not measured yet."


def read(folder: Path = RECORDS) -> dict[str, BenchmarkRecord]:
    """Records by name, in the order of the page.

    Raises:
        RunError: a file there is no record, or not that of the script it is named after.
    """
    found = {}
    for path in sorted(folder.glob("*.json")):
        record = read_record(path)
        if record.name != path.stem or record.name not in TITLES:
            raise RunError(
                f"{path}: expected the record of one of {', '.join(TITLES)}, under its name, got "
                f"that of {record.name!r}; move it away"
            )
        found[record.name] = record
    return {name: found[name] for name in TITLES if name in found}


def page(records: Mapping[str, BenchmarkRecord]) -> str:
    """The page as Markdown."""
    parts = [_section(name, records.get(name)) for name in TITLES]
    return "\n".join([HEAD, *parts])


def _section(name: str, record: BenchmarkRecord | None) -> str:
    parts = [f"## {TITLES[name]}"]
    if record is None:
        parts += [f"{NOT_MEASURED} The script is `benchmarks/{name}.py`."]
    else:
        parts += [f"Claim: {record.claim}", to_markdown(_table(record)), _where(record)]
    return "\n\n".join(parts) + "\n"


def _table(record: BenchmarkRecord) -> Table:
    columns = ("Of", "Quantity", "Measured", "n", "Claim")
    rows = tuple(_row(m) for m in record.measurements)
    return Table(record.name, TITLES[record.name], columns, rows, texts=("Quantity", "Claim"))


def _row(m: Measurement) -> tuple[str, ...]:
    return m.subject, m.quantity, f"{shown(m.value)} {m.unit}".strip(), str(m.n), m.claim


def _where(record: BenchmarkRecord) -> str:
    at = record.provenance
    command = " ".join(["python", f"benchmarks/{record.name}.py", *record.options])
    libraries = {"dualview": at.dualview, "PyTorch": at.torch, "Python": at.python}
    versions = ", ".join(f"{n} {v}" for n, v in {**libraries, **record.libraries}.items())
    commit = at.commit.replace("+changes", " with uncommitted changes") or "unknown"
    return (
        f"Measured by `{command}` at commit {commit}, {at.machine}, {at.device}, load "
        f"{record.load:.2f}, {versions}, finished {at.finished[:10]}."
    )


def main() -> None:
    text = page(read())
    write_atomically(PAGE, lambda part: _write_text(part, text))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
