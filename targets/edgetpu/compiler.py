"""Runs `edgetpu_compiler` in a folder of its own, with a time limit, and keeps what it prints."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

from edgeseg.errors import EnvironmentMissingError, StageError

from .log import CompilerLog, parse
from .options import EdgeTpuOptions

PROGRAM = "edgetpu_compiler"

INSTALL = (
    "it is for 64-bit x86 Linux, from Coral's Debian package archive: the README of this target and "
    "docker/edgetpu/Dockerfile say how to install it"
)

GRACE_S = 30
"""Seconds that the compiler gets beyond its own time limit to say so and end."""


def find_compiler() -> str:
    """The compiler's path; empty where it is not on PATH."""
    return shutil.which(PROGRAM) or ""


def command(program: str, model: Path, folder: Path, options: EdgeTpuOptions) -> list[str]:
    """The compiler's arguments. All but ``-a`` are those of https://coral.ai/docs/edgetpu/compiler/."""
    arguments = [program, "--show_operations", "--out_dir", str(folder), "--timeout_sec", str(options.timeout_s)]
    if options.min_runtime_version is not None:
        arguments += ["--min_runtime_version", str(options.min_runtime_version)]
    if options.search_delegate:
        arguments.append("--search_delegate")
    if options.several_subgraphs:
        arguments.append("-a")
    return [*arguments, str(model)]


def compile_model(model: Path, folder: Path, options: EdgeTpuOptions) -> tuple[Path, CompilerLog, str]:
    """Compile a full-integer `.tflite` file.

    Args:
        model: the file.
        folder: an existing folder for what the compiler writes.
        options: of the export.

    Returns:
        The compiled file, the numbers of what was printed, and the text itself.

    Raises:
        EnvironmentMissingError: there is no compiler on PATH, or it cannot start.
        StageError: it refuses the file, takes too long, or ends without a result.
    """
    program = find_compiler()
    if not program:
        raise EnvironmentMissingError(f"{PROGRAM} is not on PATH, which {model.name} needs", hint=INSTALL)
    code, text = _run(command(program, model, folder, options), options.timeout_s + GRACE_S)
    log = parse(text)
    compiled = folder / f"{model.stem}_edgetpu.tflite"
    if code == 0 and not log.failure and compiled.is_file():
        return compiled, log, text
    why = log.failure or f"it ended with exit code {code} and " + ("no file" if not compiled.is_file() else "no word")
    raise StageError("compile_failed", f"{PROGRAM} made nothing of {model.name}: {why}", hint=_remedy(log, text))


def _remedy(log: CompilerLog, text: str) -> str:
    if "large activation" in log.failure:
        return "a smaller image_size, or the option search_delegate"
    return f"what it printed ends with: {text.strip()[-500:]}" if text.strip() else "it printed nothing"


def _run(arguments: list[str], limit_s: float) -> tuple[int, str]:
    """Exit code and output. The compiler works in a child of its own, so that a time limit ends a whole group."""
    try:
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise EnvironmentMissingError(f"{arguments[0]} cannot start: {error}", hint=INSTALL) from error
    with process:
        try:
            output, _ = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired as error:
            raise StageError(
                "compile_failed",
                f"{PROGRAM} did not end within {limit_s:g} s",
                hint="give the option timeout_s a larger value, or a smaller image_size",
            ) from error
        finally:
            _end(process)
    return process.returncode, output.decode(errors="replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End what is left of the group: after a time limit, or where the caller was interrupted."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
