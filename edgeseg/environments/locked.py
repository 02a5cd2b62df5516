"""One process at a time; the system lifts the lock of a process that was killed."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from edgeseg.errors import UsageError

if sys.platform != "win32":
    import fcntl


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`; Windows has no such locks, and nothing is held there.

    Raises:
        UsageError: another process holds it.
    """
    with path.open("ab") as file:
        if sys.platform != "win32":
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UsageError(f"{path}: another process is at work there", hint="wait until it is done") from error
        yield
