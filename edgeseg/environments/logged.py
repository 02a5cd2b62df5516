"""Long commands, such as pip's, whose output goes to a log file; an error shows its end."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgeseg.errors import EnvironmentMissingError
from edgeseg.files import make_folder

TAIL_LINES = 15
"""Of the log, in an error: pip and the engines say last what went wrong."""


class Log:
    """A log file that several commands append to.

    Args:
        path: of the file; an older one is replaced.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        make_folder(path.parent)
        path.write_bytes(b"")

    def run(self, command: Sequence[str], what: str, environment: Mapping[str, str] | None = None) -> None:
        """Run a command to its end.

        Args:
            command: program and arguments.
            what: it does, as in ``installing the requirements of 'onnx'``.
            environment: variables in place of this process's.

        Raises:
            EnvironmentMissingError: it cannot be started, or ends with another code than 0.
        """
        with self.path.open("ab") as file:
            file.write(f"$ {' '.join(command)}\n".encode())
            file.flush()
            try:
                done = subprocess.run(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    check=False,
                )
            except OSError as error:
                raise EnvironmentMissingError(f"{what} failed: {command[0]}: {error.strerror}") from error
        if done.returncode:
            raise EnvironmentMissingError(
                f"{what} failed with exit code {done.returncode}:\n{self.tail()}", hint=f"the whole log: {self.path}"
            )

    def tail(self) -> str:
        """Its last lines, indented."""
        lines = self.path.read_text(errors="replace").splitlines()[-TAIL_LINES:]
        return "\n".join(f"    {line}" for line in lines)
