"""Runs the command line as a user does: through `main`, in this process or in one of its own."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from edgeseg.cli import main

LIMIT_S = 60.0
"""Longest wait for a process that is done with what the test wanted of it."""


@dataclass(frozen=True)
class Outcome:
    """What a run left: exit code, stdout, stderr."""

    code: int | str | None
    out: str
    err: str


def run(*arguments: object, stdin: bytes = b"") -> Outcome:
    """Run in this process. An error that nobody turned into a message is raised."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2)]
    code: int | str | None = 0
    before = signal.getsignal(signal.SIGTERM)
    with (
        patch.object(sys, "argv", ["edgeseg", *map(str, arguments)]),
        patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin))),
        patch.dict(os.environ),
        contextlib.redirect_stdout(streams[0]),
        contextlib.redirect_stderr(streams[1]),
    ):
        try:
            main()
        except SystemExit as stop:
            code = stop.code
        finally:
            signal.signal(signal.SIGTERM, before)
    out, err = (stream.buffer.getvalue().decode() for stream in streams)
    return Outcome(code, out, err)


@contextlib.contextmanager
def started(*arguments: object, **settings: Any) -> Iterator[subprocess.Popen[str]]:
    """A process of its own; the end of the block waits for it, and kills it where that takes too long."""
    process = subprocess.Popen(
        [sys.executable, "-m", "edgeseg", *map(str, arguments)],
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **settings},
    )
    with process:
        try:
            yield process
            process.wait(LIMIT_S)
        finally:
            process.kill()


def files_in(folder: Path) -> set[str]:
    """All files below a folder, hidden ones too, relative to it."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
