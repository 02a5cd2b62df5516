"""One build at a time in one folder."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from edgeseg.errors import OutputError, UsageError, needs_extra
from edgeseg.files import make_folder

LOCK_FILE = ".lock"


@contextlib.contextmanager
def locked(folder: Path, scratch: Path) -> Iterator[None]:
    """Hold the folder's lock; the system lets it go when the process ends, however it ends.

    Args:
        folder: of the build; made where it is missing.
        scratch: emptied once the lock is held: what is in it is left from a build that was killed.

    Raises:
        UsageError: another build works in the folder.
        OutputError: the folder cannot be written.
    """
    try:
        from filelock import FileLock, Timeout
    except ModuleNotFoundError as error:
        raise needs_extra("filelock", "build", "building") from error
    path = make_folder(folder) / LOCK_FILE
    lock = FileLock(path, blocking=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise UsageError(
            f"{folder}: another build works here ({_holder(path)})",
            hint="wait for it, or give this one another --output",
        ) from error
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written: {error.strerror or error}", hint="choose a place that you may write to"
        ) from error
    try:
        shutil.rmtree(scratch, ignore_errors=True)
        _sign(path)
        yield
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        lock.release()


def _sign(path: Path) -> None:
    # Not atomically: another file in its place would be another lock.
    with contextlib.suppress(OSError):
        path.write_text(f"process {os.getpid()}\n")


def _holder(path: Path) -> str:
    try:
        return path.read_text().strip() or "just started"
    except OSError:
        return "of another user"
