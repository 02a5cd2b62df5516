"""`edgeseg` itself: help, versions, mistakes, bugs, interrupts."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import edgeseg
import edgeseg.predict
from edgeseg.cli import COMMANDS
from edgeseg.errors import EdgesegError, EnvironmentMissingError, GateError, StageError
from tests.cli.running import run, started
from tests.media import write_picture


def test_without_a_command_shows_the_help_on_stderr() -> None:
    outcome = run()
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("Usage: edgeseg ")
    assert "error" not in outcome.err


def test_help_names_every_command_and_version_the_version() -> None:
    outcome = run("--help")
    assert (outcome.code, outcome.err) == (0, "")
    commands = outcome.out.partition("Commands:")[2]
    assert re.findall(r"^  (\S+)", commands, re.MULTILINE) == list(COMMANDS)
    version = run("--version")
    assert (version.code, version.out) == (0, f"edgeseg, version {edgeseg.__version__}\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_for_each_option(name: str) -> None:
    outcome = run(name, "-h")
    assert outcome.code == 0
    assert outcome.out.startswith(f"Usage: edgeseg {name} ")
    bare = [line for line in outcome.out.splitlines() if re.fullmatch(r"  -\S.*", line) and "  " not in line.strip()]
    # An option whose text does not fit beside it has it on the next line.
    lines = outcome.out.splitlines()
    assert all(lines[lines.index(line) + 1].startswith(" " * 10) for line in bare)


def test_help_imports_no_heavy_package() -> None:
    code = (
        "import sys; from edgeseg.cli import cli\n"
        "try: cli(['--help'])\n"
        "except SystemExit: print(sorted({'torch', 'cv2', 'onnxruntime', 'numpy', 'rich'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("predct",), "no such command 'predct'\n  hint: did you mean 'predict'?\n"),
        (("xyz",), "no such command 'xyz'\n  hint: one of: "),
        (("--verson",), "No such option '--verson'. Did you mean '--version'?\n  hint: edgeseg --help\n"),
        (("predict",), "Missing argument 'MODEL'.\n  hint: edgeseg predict --help\n"),
        (("predict", "m", "s", "--scor", "1"), "'--score'"),
        (("predict", "m", "s", "--score", "high"), "'high' is not a valid float"),
        (("val", "m", "--image-size", "320"), "  hint: write height and width, "),
        (("predict", "--image-size", "320", "m", "s"), "twice: --image-size 320 320\n"),
        (("weights", "improt"), "No such command 'improt'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_mistake_is_one_error_with_a_hint_and_exit_code_2(arguments: tuple[str, ...], message: str) -> None:
    outcome = run(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("error: ")
    assert message in outcome.err
    assert "  hint: " in outcome.err
    assert "Usage:" not in outcome.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (EnvironmentMissingError("no SDK", hint="pip install it"), 3),
        (StageError("export_failed", "no graph", hint="pip install it"), 4),
        (GateError("too slow", hint="pip install it"), 5),
    ],
    ids=["environment", "stage", "gate"],
)
def test_every_error_class_has_its_exit_code(monkeypatch: pytest.MonkeyPatch, error: EdgesegError, code: int) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(edgeseg.predict, "load", fail)
    outcome = run("predict", "m", "s")
    assert (outcome.code, outcome.out) == (code, "")
    assert outcome.err == f"error: {error.message}\n  hint: pip install it\n"


def test_an_interrupt_anywhere_exits_130_without_a_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(edgeseg.predict, "load", interrupted)
    outcome = run("predict", "m", "s")
    assert (outcome.code, outcome.err.strip()) == (130, "")


def test_a_bug_shows_its_trace_and_exits_1() -> None:
    code = (
        "import sys; import edgeseg.predict; from edgeseg.cli import main\n"
        "edgeseg.predict.load = lambda *_: 1 / 0\n"
        "sys.argv = ['edgeseg', 'predict', 'm', 's']; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Traceback")
    assert done.stderr.endswith("ZeroDivisionError: division by zero\n")


def test_quiet_and_verbose_hold_for_one_run_only(tiny_onnx: Path, tmp_path: Path) -> None:
    picture = write_picture(tmp_path / "a.png")
    assert run("predict", tiny_onnx, picture, "-q").out == ""
    assert run("predict", tiny_onnx, picture).out != ""
    assert run("predict", tiny_onnx, picture, "-q", "-v").out != ""


def test_a_reader_that_goes_away_before_the_first_line_is_no_error() -> None:
    with started("card", "schema") as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        err = process.stderr.read()
    assert (process.returncode, err) == (141, "")


def test_the_module_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "edgeseg", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == run("--version").out
