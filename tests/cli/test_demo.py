"""`dualview demo`.

- It is the comparison of `experiments.demo`, in the folder that was asked for.
- It ends with the explorer of the first DLGN; where that diverged it says so, and is no failure.
"""

from pathlib import Path

from dualview.cli import demo, main
from dualview.cli.parser import Parser
from dualview.experiments.demo import DEMO
from dualview.explorer import writing

from .explored import train


def test_what_it_runs(monkeypatch):
    asked = []

    def noted(settings, out, **more):
        asked.append((settings, out, more["overwrite"], more["again"]))
        return 0

    monkeypatch.setattr(demo, "run_comparison", noted)
    monkeypatch.setattr(demo, "_explore", lambda out: None)
    parser = Parser(prog="tool")
    demo.add_options(parser)
    assert demo.run(parser.parse_args([]), "again") == 0
    assert demo.run(parser.parse_args(["--out", "there", "--overwrite"]), "") == 0
    assert asked == [(DEMO, Path("demo"), False, "again"), (DEMO, Path("there"), True, "")]


def test_it_ends_with_the_explorer(tmp_path, monkeypatch, capsys):
    folder, asked = train(tmp_path, "dlgn"), []
    monkeypatch.setattr(demo, "run_comparison", lambda *_, **__: 0)
    monkeypatch.setattr(
        writing, "explorer_page", lambda *given, **more: asked.append((given, more))
    )
    assert main(["demo", "--out", str(folder)]) == 0
    page = folder / "explorer.html"
    assert capsys.readouterr().out == f"Explore: {page}\n"
    (((net, data, out), more),) = asked
    assert (net.kind, data.description, out) == ("dlgn", "digits", page)
    assert (more["examples"], more["run"].folder) == (demo.EXPLORED, folder / "dlgn-seed0")


def test_nothing_to_explore(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(demo, "run_comparison", lambda *_, **__: 0)
    assert main(["demo", "--out", str(tmp_path)]) == 0
    assert "nothing to explore" in capsys.readouterr().err
