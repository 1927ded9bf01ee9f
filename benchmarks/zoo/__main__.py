"""Measure models of the zoo; write the record and the page."""

from __future__ import annotations

import argparse
import time

from . import MODELS, PAGE, Outcome, __doc__, holds, measure, page, read, write


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.zoo",
        description=__doc__.splitlines()[0] if __doc__ else None,
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="these libraries or models only (all if absent)"
    )
    parser.add_argument("--page", action="store_true", help="measure nothing, write the page")
    options = parser.parse_args()
    libraries = list(dict.fromkeys(model.library for model in MODELS.values()))
    unknown = sorted(set(options.names) - set(MODELS) - set(libraries))
    if unknown:
        parser.error(
            f"expected libraries ({', '.join(libraries)}) or models of them, such as "
            f"{next(iter(MODELS))}, got {', '.join(unknown)}"
        )
    return options


def main() -> None:
    options = arguments()
    chosen = [
        model
        for model in MODELS.values()
        if not options.names or model.key in options.names or model.library in options.names
    ]
    for model in [] if options.page else chosen:
        start = time.perf_counter()
        outcome = measure(model)
        print(f"{model.key:48}{time.perf_counter() - start:6.1f} s  {_line(outcome)}", flush=True)
        write({**read(), model.key: outcome})
    outcomes = read()
    PAGE.write_text(page(outcomes.values()), encoding="utf-8")
    failed = [key for key, outcome in outcomes.items() if not holds(outcome)]
    print(f"claim {'DOES NOT HOLD for ' + ', '.join(failed) if failed else 'holds'}")


def _line(outcome: Outcome) -> str:
    if outcome.refusal:
        return f"refused: {outcome.refusal}"
    kernel = f", npk: {outcome.path_kernel}" if outcome.path_kernel else ""
    errors = ", ".join(f"{kind} {e:.1e}" for kind, e in outcome.errors.items())
    return f"converted: {errors}, spread {outcome.spread:.1e}{kernel}"


if __name__ == "__main__":
    main()
