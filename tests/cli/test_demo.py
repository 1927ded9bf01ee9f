"""`dualview demo` is the comparison of `experiments.demo`, in the folder that was asked for."""

from pathlib import Path

from dualview.cli import demo
from dualview.cli.parser import Parser
from dualview.experiments.demo import DEMO


def test_what_it_runs(monkeypatch):
    asked = []

    def noted(settings, out, **more):
        asked.append((settings, out, more["overwrite"], more["again"]))
        return 0

    monkeypatch.setattr(demo, "run_comparison", noted)
    parser = Parser(prog="tool")
    demo.add_options(parser)
    assert demo.run(parser.parse_args([]), "again") == 0
    assert demo.run(parser.parse_args(["--out", "there", "--overwrite"]), "") == 0
    assert asked == [(DEMO, Path("demo"), False, "again"), (DEMO, Path("there"), True, "")]
