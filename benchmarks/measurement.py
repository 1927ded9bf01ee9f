"""What a benchmark measures: printed as it comes, kept as a record, read back for the page.

A benchmark is a script whose first line of documentation is its claim and whose work is a generator
of `Measurement`s, each with the bound that the claim puts on it, if any; `report` does the rest.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import torch

from dualview.errors import RunError
from dualview.experiments.records import Provenance, provenance
from dualview.files.json_fields import from_json
from dualview.files.writing import read_json, write_json

RECORD_VERSION = 1


@dataclass(frozen=True)
class Measurement:
    """One figure, how often it was measured, and what is claimed of it."""

    subject: str
    """What was measured, for example a network."""
    quantity: str
    """Of what, and which of several rounds: "time of a step, median"."""
    value: float
    unit: str
    """"s", "MB" or another; "" for a ratio or a count."""
    n: int
    """Rounds, processes or passes that `value` is the median, minimum or maximum of."""
    at_most: float | None = None
    at_least: float | None = None

    @property
    def holds(self) -> bool:
        """Whether it is within its bounds; true where there are none, false of a NaN."""
        above = self.at_least is None or self.value >= self.at_least
        return above and (self.at_most is None or self.value <= self.at_most)

    @property
    def claim(self) -> str:
        """Its bounds and whether they hold, in words; "" without bounds."""
        bounds = (("at most", self.at_most), ("at least", self.at_least))
        words = [f"{side} {shown(bound)}" for side, bound in bounds if bound is not None]
        if not words:
            return ""
        return f"{' and '.join(words)}: {'holds' if self.holds else 'DOES NOT HOLD'}"


@dataclass(frozen=True)
class BenchmarkRecord:
    """What one run of a benchmark leaves behind."""

    name: str
    """The script without its ending."""
    claim: str
    """In one line."""
    options: tuple[str, ...]
    """Of the command line, without those that say where to write."""
    load: float
    """Processes that ran or waited, mean of the minute before the benchmark began."""
    libraries: dict[str, str]
    """Version of each, beside those of the provenance."""
    measurements: tuple[Measurement, ...]
    provenance: Provenance
    version: int = RECORD_VERSION


def shown(value: float) -> str:
    """Three significant digits, whole above 1000."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def best_of(call: Callable[[], object], rounds: int) -> float:
    """Shortest time of several, in seconds."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def resident(field: str) -> float:
    """A memory figure of this process in MB: "VmRSS", or "VmHWM", its peak (Linux).

    `resource.getrusage` will not do: a child's peak starts at its parent's.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024


def parser_of(documentation: str | None) -> argparse.ArgumentParser:
    """A parser with the claim as its description, and `--json`."""
    parser = argparse.ArgumentParser(description=claim_of(documentation))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write a record for the page")
    return parser


def claim_of(documentation: str | None) -> str:
    """The claim of a script: the first line of its documentation."""
    text = (documentation or "").splitlines()[0].removeprefix("Claim: ")
    return text[:1].upper() + text[1:]


def report(
    script: str,
    documentation: str | None,
    measurements: Iterable[Measurement],
    libraries: Iterable[str] = (),
    json_file: Path | None = None,
) -> None:
    """Print machine, versions and each measurement as it comes, then write the record.

    Args:
        script: path of the script, its `__file__`.
        documentation: the script's `__doc__`.
        measurements: lazy, so that nothing is measured before the load of the machine is read.
        libraries: distributions whose version matters, beside torch.
        json_file: where the record is written; none if absent.
    """
    load, taken = os.getloadavg()[0], {name: version(name) for name in libraries}
    print(_where(load, taken), flush=True)
    kept = tuple(_printed(measurements))
    if json_file is None:
        return
    json_file.parent.mkdir(parents=True, exist_ok=True)
    record = BenchmarkRecord(
        Path(script).stem,
        claim_of(documentation),
        _options(sys.argv[1:]),
        round(load, 2),
        taken,
        kept,
        provenance(_device()),
    )
    write_json(json_file, asdict(record))


def _printed(measurements: Iterable[Measurement]) -> Iterator[Measurement]:
    for m in measurements:
        line = (
            f"{m.subject:24} {m.quantity:44} {shown(m.value):>9} {m.unit:9} n = {m.n:<4} {m.claim}"
        )
        print(line.rstrip(), flush=True)
        yield m


def _where(load: float, libraries: dict[str, str]) -> str:
    versions = [f"torch {torch.__version__}", *(f"{n} {v}" for n, v in libraries.items())]
    return f"{os.cpu_count()} cores, {_device()}, load {load:.1f}, {', '.join(versions)}"


def _device() -> str:
    return f"cpu ({torch.get_num_threads()} threads)"


def _options(arguments: list[str]) -> tuple[str, ...]:
    """The command line without where to write and keep, and without the folders of one machine."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--json")
    parser.add_argument("--kept")
    words = parser.parse_known_args(arguments)[1]
    return tuple(Path(word).name if Path(word).is_absolute() else word for word in words)


def read_record(path: Path) -> BenchmarkRecord:
    """Read a record that `report` wrote.

    Raises:
        RunError: the file is no record, or one of another version.
    """
    try:
        fields = read_json(path)
        if fields["version"] != RECORD_VERSION:
            raise ValueError(f"version {fields['version']}")
        return from_json(BenchmarkRecord, fields)
    except (OSError, ValueError, KeyError) as error:
        raise RunError(
            f"{path}: expected a benchmark's record of version {RECORD_VERSION}, got "
            f"{type(error).__name__}: {error}; measure again with --json {path}"
        ) from error
