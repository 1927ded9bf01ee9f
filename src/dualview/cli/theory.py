"""`dualview theory`: every statement of the theory tried on numbers, and a page about it."""

from __future__ import annotations

from typing import Any

from dualview.cli.interruption import told_if_interrupted
from dualview.cli.options import page_beside_numbers
from dualview.progress import Terminal

NAME = "theory"
HELP = "try every statement of the theory on numbers, and write a page about it, in a minute or two"
DESCRIPTION = """\
Compute both sides of every statement of the theory by independent code, compare them, and
print one line each: dual form, paths, path kernels of dense, convolutional and residual
networks, rules for any graph, expected tangent kernels at finite width, random features.

Writes a page with the same numbers, figures and their provenance, and beside it a JSON file
of them all. The exit status is 1 if a statement does not hold."""
EPILOG = """\
examples:
  dualview theory
  dualview theory --seed 1 --out /tmp/theory.html
      other networks, other examples, other weights
  dualview theory --quick
      fewer draws and narrower networks"""


def add_options(parser: Any) -> None:
    """The options of this command."""
    parser.add_argument(
        "--out", metavar="FILE", type=str, default="theory.html", help="the page; .json goes beside"
    )
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of all that is random")
    parser.add_argument("--quick", action="store_true", help="fewer draws, narrower networks")


def run(options: Any, again: str) -> int:
    """Try them all, print, write page and numbers; 1 if a statement does not hold."""
    from dualview.experiments.theory import text
    from dualview.experiments.theory.run import run_theory, save_theory
    from dualview.experiments.theory.statement import Settings, StatementRecord

    page = page_beside_numbers(options.out, "theory.html")
    page.parent.mkdir(parents=True, exist_ok=True)  # before a minute's work depends on it
    settings = Settings(options.seed, options.quick)
    section, terminal = "", Terminal()

    def show(record: StatementRecord) -> None:
        nonlocal section
        terminal.status("")
        if record.section != section:
            section = record.section
            print(text.section_heading(section))
        print(text.line(record), flush=True)

    print(text.header(), flush=True)
    with told_if_interrupted("no page was written"):
        record = run_theory(settings, started=terminal.status, done=show)
        from dualview.experiments.theory.report import write_theory_report  # figures take a moment

        print(text.summary(record))
        numbers = page.with_suffix(".json")
        write_theory_report(record, page)
        save_theory(record, numbers)
    print(f"\nPage:    {page}\nNumbers: {numbers}")
    return 1 if record.failed else 0
