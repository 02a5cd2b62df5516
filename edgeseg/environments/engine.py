"""The container engine's client: which one, and short calls to it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from edgeseg.errors import EnvironmentMissingError

ENGINE_VARIABLE = "EDGESEG_ENGINE"
KNOWN_ENGINES = ("docker", "podman")

CALL_LIMIT_S = 60.0
"""For calls that answer in a second: a daemon that hangs, or a dead remote one, must not hang us."""

EXITS = {
    125: "the engine could not start the container",
    126: "the command in the image cannot be executed",
    127: "the command is not in the image",
    134: "the command aborted itself (SIGABRT)",
    137: "the command was killed: it used more memory than its limit, or something ended the container",
    139: "the command crashed (segmentation fault)",
    143: "the container was stopped (SIGTERM)",
}


def find_engine(asked: str = "") -> tuple[str, ...]:
    """The client's argument list: `asked`, else ``$EDGESEG_ENGINE``, else docker or podman from PATH.

    Args:
        asked: a command, possibly with options of its own: ``docker --context board``.

    Raises:
        EnvironmentMissingError: there is none.
    """
    named = asked or os.environ.get(ENGINE_VARIABLE, "")
    for words in [shlex.split(named)] if named else [[name] for name in KNOWN_ENGINES]:
        if words and (program := shutil.which(words[0])):
            return (program, *words[1:])
    problem = f"the container engine {named!r} is not there" if named else "neither docker nor podman is on PATH"
    raise EnvironmentMissingError(problem, hint=f"install one, or name it: --engine, or export {ENGINE_VARIABLE}=...")


def is_podman(engine: Sequence[str]) -> bool:
    """Whether the client is podman, which knows options that docker does not."""
    return Path(engine[0]).name.startswith("podman")


def call(engine: Sequence[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a short command of the engine; its exit code is the caller's to read.

    Raises:
        EnvironmentMissingError: it does not answer, or cannot be started.
    """
    try:
        return subprocess.run(
            [*engine, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=CALL_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise EnvironmentMissingError(
            f"{' '.join(engine)} {arguments[0]} gave no answer in {CALL_LIMIT_S:.0f} s", hint="is its daemon well?"
        ) from error
    except OSError as error:
        raise EnvironmentMissingError(f"{engine[0]} cannot be started: {error.strerror}") from error


def explain_exit(code: int) -> str:
    """What an exit code of ``run`` means; empty for one that edgeseg itself gives."""
    return EXITS.get(code, f"the command was ended by signal {code - 128}" if 128 < code < 160 else "")
