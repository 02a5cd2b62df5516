"""A folder that becomes a data set as a whole or is known to be unfinished."""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

from edgeseg.errors import OutputError
from edgeseg.files import make_folder, write_atomically

logger = logging.getLogger(__name__)

UNFINISHED = ".unfinished"
"""A file that is in the folder from before its first picture until after its last annotation."""


@contextlib.contextmanager
def new_set(folder: Path) -> Iterator[None]:
    """Mark a folder unfinished while the block writes a data set into it; it stays so where the block fails.

    What a run that did not finish has left is removed first: it is only ours to remove because of the mark.

    Raises:
        OutputError: the folder holds something else, or cannot be written.
    """
    make_folder(folder)
    mark = folder / UNFINISHED
    if mark.is_file():
        logger.info("%s: a run before this one did not finish; starting over", folder)
        for entry in folder.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry != mark:
                entry.unlink()
    elif any(folder.iterdir()):
        raise OutputError(
            f"{folder}: is not empty, expected a new or empty folder for the data set",
            hint="name another folder, or remove this one first",
        )
    write_atomically(mark, b"")
    yield
    mark.unlink()
