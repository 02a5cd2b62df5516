"""Hashes of files that are read again and again: pictures and annotations of a data set.

A hash is remembered with the file's size, inode and times, as git's index does it. Outputs of stages are never looked
up here: they are hashed anew each time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from edgeseg.data.index_cache import cache_folder
from edgeseg.errors import OutputError
from edgeseg.files import sha256_of, sha256_of_folder, write_atomically

RACY_S = 2.0
"""A file that changed less than this before it was hashed may change again within the clock's tick: not remembered."""


def content_sha256(path: Path) -> str:
    """Hex sha256 of a file's bytes, or of all names and bytes below a folder but its `edgeseg.json`.

    That is written again with the parity found, after the artifact is finished.
    """
    return sha256_of_folder(path, [path / "edgeseg.json"]) if path.is_dir() else sha256_of(path)


def remembered_sha256(paths: Sequence[Path]) -> list[str]:
    """Hex sha256 of each file's bytes, read only where size, inode or times are new.

    Raises:
        OSError: a file cannot be read.
    """
    book = _book(paths)
    known = _read(book)
    hashes, fresh = [], {}
    for path in paths:
        stamp = _stamp(path)
        entry = known.get(str(path))
        if entry is None or entry[0] != stamp:
            entry = [stamp, sha256_of(path)]
            # A negative age is a clock that was set back: such a file is hashed again, too.
            if not 0 <= time.time() - path.stat().st_ctime < RACY_S and _stamp(path) == stamp:
                fresh[str(path)] = entry
        hashes.append(entry[1])
    if fresh and book is not None:
        # What cannot be kept costs time only.
        with contextlib.suppress(OutputError, OSError):
            kept = {str(path): known[str(path)] for path in paths if str(path) in known}
            write_atomically(book, json.dumps({**kept, **fresh}).encode("utf-8", "surrogateescape"))
    return hashes


def list_sha256(rows: Iterable[tuple[str, str]]) -> str:
    """Hex sha256 of the lines that `sha256sum` prints for files of these names and hashes, in this order."""
    digest = hashlib.sha256()
    for name, sha256 in rows:
        digest.update(f"{sha256}  {name}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _stamp(path: Path) -> str:
    status = path.stat()
    return f"{status.st_size} {status.st_ino} {status.st_mtime_ns} {status.st_ctime_ns}"


def _book(paths: Sequence[Path]) -> Path | None:
    """One file for each list of paths: lists are few, and a book of its own stays small."""
    folder = cache_folder()
    name = hashlib.sha256("\0".join(map(str, paths)).encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return folder / "hashes" / f"{name}.json" if folder else None


def _read(book: Path | None) -> dict[str, list[str]]:
    try:
        found = json.loads(book.read_bytes().decode("utf-8", "surrogateescape")) if book else {}
    except (OSError, ValueError):
        return {}
    good = isinstance(found, dict) and all(isinstance(row, list) and len(row) == 2 for row in found.values())
    return found if good else {}
