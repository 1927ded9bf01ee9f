"""Claim: importing the package costs at most 0.3 s more than importing PyTorch.

Rooms are imported when a public name is first used, so two figures count: the bare import, and the
import with every public name used that PyTorch and NumPy suffice for (the kernel machines bring
scikit-learn). Each import happens in a process of its own; rounds are interleaved, after one that
warms up.

    python benchmarks/import_time.py [--rounds 11] [--json FILE]
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from statistics import median

from measurement import Measurement, parser_of, report

CLAIM = 0.3
NEED_SCIKIT_LEARN = ("NPKClassifier", "NPKFeatureClassifier", "kernel_attribution")
BARE = "import torch"
IMPORTS = {
    BARE: "import torch",
    "and dualview": "import torch, dualview",
    "and its public names": (
        "import torch, dualview\n"
        f"for name in set(dualview.__all__) - set({NEED_SCIKIT_LEARN}):\n"
        "    getattr(dualview, name)"
    ),
}
TIMED = "import time; start = time.perf_counter()\n{}\nprint(time.perf_counter() - start)"


def seconds_of(code: str) -> float:
    """Time of `code` in a new process, without the start of Python."""
    command = [sys.executable, "-c", TIMED.format(code)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measured(rounds: int) -> Iterator[Measurement]:
    taken: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for round_ in range(rounds + 1):
        for name, code in IMPORTS.items():
            seconds = seconds_of(code)
            if round_:  # the first reads the files from the disk
                taken[name].append(seconds)
    yield Measurement(BARE, "time, median", median(taken[BARE]), "s", rounds)
    for name in list(IMPORTS)[1:]:
        more = median(a - b for a, b in zip(taken[name], taken[BARE], strict=True))
        yield Measurement(name, "added time, median", more, "s", rounds, at_most=CLAIM)


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    options = parser.parse_args()
    report(__file__, __doc__, measured(options.rounds), json_file=options.json)


if __name__ == "__main__":
    main()
