"""Properties proved here.

1. `compare` and `demo` print one table, write the report and the records, and end with 0; with 1
   where no run finished.
2. Ctrl-C ends with 130 and names the command that goes on; that command does, and an interrupted
   `--overwrite` does not start over. SIGTERM ends with 143, likewise.
3. Errors of this package are one line without a traceback, unless --debug is given: status 2 for a
   wrong value, 1 for the rest. No arguments, and an unknown command, are wrong use.
4. Options come from a YAML file, and `--print_config` writes one that means the same.
5. Each command has help with examples, which loads neither torch nor Lightning; the version is the
   package's.
6. Numbers that no computer has and devices that are not there are refused by name. Names of files
   that are no UTF-8 are refused or served, and shown as they are.
7. Warnings of this package are one line, each text once a command.
"""

import os
import signal
import subprocess
import sys
import warnings
from importlib.metadata import version

import pytest

from dualview import cli
from dualview.cli.commands import COMMANDS
from dualview.cli.compare import default_folder
from dualview.errors import DualviewWarning, RunError
from dualview.experiments.progress import TerminalProgress
from dualview.experiments.records import load_records
from dualview.experiments.settings import ComparisonSettings, DataSettings
from dualview.training import Unwatched
from tests.experiments.small import small

BIG = "9" * 20
FAST = ["--width", "8", "--seeds", "1", "--epochs", "2", "--kinds", "dnn", "dlgn", "--threads", "1"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_compare_shows_a_table_and_writes_a_report(tmp_path, capsys):
    assert cli.main(["compare", *FAST, "--out", "here"]) == 0
    out, err = capsys.readouterr()
    assert out.count("accuracy %") == 1
    assert "digits: fc, width 8, 2 epochs, 1,258 train and 359 test examples" in out
    assert "DLGN" in out
    assert "Report:  here/report.html" in out
    assert len(err.splitlines()) == 4  # each run begins and ends
    assert "<html" in (tmp_path / "here" / "report.html").read_text()
    records = load_records(tmp_path / "here")
    assert {record.kind for record in records} == {"dnn", "dlgn"}
    assert {record.experiment for record in records} == {"compare"}


def test_demo_runs_what_it_promises(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("dualview.experiments.demo.DEMO", small(experiment="demo"))
    monkeypatch.setattr("dualview.cli.demo.EXPLORED", 4)
    assert cli.main(["demo"]) == 0
    assert "Report:  demo/report.html" in capsys.readouterr().out
    assert (tmp_path / "demo" / "explorer.html").exists()
    assert {record.experiment for record in load_records(tmp_path / "demo")} == {"demo"}


def test_nothing_finished_is_a_failure(capsys):
    arguments = [*FAST, "--optimizer", "sgd", "--learning-rate", "1e30", "--out", "here"]
    assert cli.main(["compare", *arguments]) == 1
    out = capsys.readouterr().out
    assert "(1 diverged)" in out
    assert "diverged: dnn, seed 0: the train loss is" in out


def test_ctrl_c_tells_how_to_go_on(tmp_path, capsys, monkeypatch):
    done = TerminalProgress.done

    def interrupt(self, run, record):
        done(self, run, record)
        os.kill(os.getpid(), signal.SIGINT)

    arguments = ["compare", *FAST, "--out", "my runs", "--overwrite"]
    with monkeypatch.context() as patch:
        patch.setattr(TerminalProgress, "done", interrupt)
        assert cli.main(arguments) == 130
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    again = f"dualview compare {' '.join(FAST)} --out 'my runs'"
    assert err.endswith(f"Interrupted; finished epochs are kept. To go on: {again}\n")
    assert cli.main(arguments[:-1]) == 0
    assert "finished earlier" in capsys.readouterr().err


def test_sigterm_tells_how_to_go_on(capsys, monkeypatch):
    class Terminates(Unwatched):
        def stepped(self):
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(TerminalProgress, "watcher", lambda self, run: Terminates())
    with pytest.raises(SystemExit) as stop:
        cli.main(["compare", *FAST, "--out", "here"])
    assert stop.value.code == 143
    assert capsys.readouterr().err.endswith(f"{' '.join(FAST)} --out here\n")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--kinds", "dlgnn"], 2, "did you mean 'dlgn'?"),
        (["--epochs", "0"], 2, "epochs: expected a whole number from 1 on, got 0"),
        (["--arch", "resnet11"], 2, "resnet110"),
        (["--device", "abacus"], 2, "not possible here"),
        (["--data", "nowhere"], 1, "nowhere: no such file, folder or data set"),
        (["--kinds", "dlgn-sf", "--arch", "resnet20"], 1, "Repair"),
    ],
)
def test_errors_are_one_line(capsys, arguments, status, message):
    assert cli.main(["compare", *arguments]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("dualview compare: error: ")
    assert message in err
    assert len(err.splitlines()) == 1


def test_debug_shows_where_an_error_came_from(tmp_path):
    (tmp_path / "here").write_text("a file")
    with pytest.raises(RunError):
        cli.main(["compare", *FAST, "--out", "here", "--debug"])


def test_errors_of_the_system_are_one_line(capsys, monkeypatch):
    def broken(*arguments, **options):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("dualview.experiments.finishing.save_record", broken)
    assert cli.main(["compare", *FAST]) == 1
    assert capsys.readouterr().err.endswith("Input/output error\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compar"], "did you mean 'compare'?"),
        (["--bogus"], ""),
        (["compare", "--epoch", "3"], "unknown option --epoch; did you mean '--epochs'?"),
        (["compare", "stray"], "stray"),
    ],
)
def test_wrong_use(capsys, arguments, message):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_no_arguments_show_help(capsys):
    assert cli.main([]) == 2
    assert "dualview demo" in capsys.readouterr().err


def test_options_from_a_file(tmp_path, capsys):
    with pytest.raises(SystemExit):
        cli.main(["compare", *FAST, "--crop", "1", "--out", "here", "--print_config"])
    text = capsys.readouterr().out
    (tmp_path / "mine.yaml").write_text(text)
    assert cli.main(["compare", "--config", "mine.yaml", "--epochs", "1"]) == 0
    (first, second) = load_records(tmp_path / "here")
    assert (first.kind, second.kind) == ("dlgn", "dnn")
    assert (first.config["crop"], first.width, first.epochs) == (1, 8, 1)


EACH_HELP = """
import sys
from dualview.cli import main
for command in sys.argv[1:]:
    try:
        main([command, "--help"])
    except SystemExit:
        pass
    print({"torch", "pytorch_lightning"} & set(sys.modules))
"""


def test_help_is_quick_and_has_examples():
    names = [command.NAME for command in COMMANDS]
    done = subprocess.run(
        [sys.executable, "-c", EACH_HELP, *names], capture_output=True, text=True, check=True
    )
    *helps, end = done.stdout.split("set()\n")
    assert (len(helps), end) == (len(names), "")
    for name, shown in zip(names, helps, strict=True):
        assert f"examples:\n  dualview {name}" in shown


def test_version(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.strip() == f"dualview {version('dualview')}"


def test_warnings_of_the_package_are_one_line(capsys, monkeypatch):
    def warn(options, again):
        warnings.warn("look out", DualviewWarning, stacklevel=1)
        return 0

    monkeypatch.setattr("dualview.cli.demo.run", warn)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert cli.main(["demo"]) == 0
    assert capsys.readouterr().err == "dualview: warning: look out\n"


def test_a_warning_is_shown_once_a_command(tmp_path, capsys):
    few = ["--kinds", "dlgn-ones", "--batch-norm", "--arch", "c4gap", "--width", "2"]
    small = ["--epochs", "1", "--seeds", "3", "--threads", "1"]
    for folder in ("a", "b"):
        with warnings.catch_warnings():
            warnings.simplefilter("always", DualviewWarning)
            assert cli.main(["compare", *few, *small, "--out", folder]) == 0
        assert capsys.readouterr().err.count("with a constant-1 input this batch norm") == 1


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("digits", "digits-fc"),
        ("../shared/data/cifar10/", "cifar10-fc"),
        ("a b/c d.npz", "c-d.npz-fc"),
    ],
)
def test_default_folder(source, expected):
    settings = ComparisonSettings(data=DataSettings(source))
    assert default_folder(settings).as_posix() == f"runs/{expected}"


@pytest.mark.parametrize(
    ("command", "status", "said"),
    [
        (["kernel", "--data", "digits", "--seed", BIG], 2, "up to 18,446,744"),
        (
            ["kernel", "--data", "digits", "--n", "5", "--block", BIG],
            1,
            "block: expected a whole number from 1 to 32768",
        ),
        (["theory", "--seed", BIG], 2, "up to 18,446,744"),
        (["compare", "--devices", BIG], 2, "devices"),
        (["compare", "--seeds", BIG], 2, "seeds: expected a whole number from 1 to 10000"),
        (["compare", "--arch", "../../x"], 2, "architecture: expected one of fc"),
        (["compare", "--device", "tpu"], 2, "accelerator='tpu'"),
        (
            ["reproduce", "shallow", "--width", BIG],
            2,
            "width: expected a whole number from 1 on, and up to",
        ),
    ],
)
def test_options_beyond_all_measure(capsys, command, status, said):
    with pytest.raises(SystemExit) as stop:
        raise SystemExit(cli.main(command))
    assert stop.value.code == status
    assert said in capsys.readouterr().err


def test_names_that_are_no_utf_8(tmp_path, capfdbinary):
    """Served, and nothing of the name is lost; or refused in one line."""
    out = os.fsdecode(b"caf\xe9")
    served = cli.main(["compare", *FAST, "--out", out])
    assert (served, b"caf\xe9/report.html" in capfdbinary.readouterr().out) == (0, True)
    assert cli.main(["results", "--records", "none", "--docs", out]) == 0
    assert b"Page:    caf\xe9/results.md\n" in capfdbinary.readouterr().out
    assert cli.main(["explain", f"{out}/none", "--index", "0"]) != 0
    assert len(capfdbinary.readouterr().err.splitlines()) == 1
    assert [os.fsencode(path.name) for path in tmp_path.iterdir()] == [b"caf\xe9"]
