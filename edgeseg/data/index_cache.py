"""Indices kept on disk, so that a large data set opens the second time at once.

One file for each source and split: a set that changed overwrites its own entry. The key in the file says which
content it is of. Nothing here can fail a run: a folder that cannot be written, or a broken entry, costs time only.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from edgeseg.data.index import ARRAYS, WORDS, Index
from edgeseg.errors import OutputError
from edgeseg.files import replacing

logger = logging.getLogger(__name__)

VERSION = "1"
"""Of the layout and of the rules by which indices are made; part of every key."""

CACHE_VARIABLE = "EDGESEG_CACHE"

_BROKEN = (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile, zlib.error, NotImplementedError)


def cache_folder() -> Path | None:
    """``$EDGESEG_CACHE``, else ``$XDG_CACHE_HOME/edgeseg``, else ``~/.cache/edgeseg``; None where there is no home."""
    if named := os.environ.get(CACHE_VARIABLE):
        return Path(named)
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "edgeseg"
    try:
        return Path.home() / ".cache" / "edgeseg"
    except RuntimeError:
        return None


def key_of(*parts: str) -> str:
    """The key of a content, from what tells it from any other."""
    return hashlib.sha256("\0".join([VERSION, *parts]).encode("utf-8", "surrogateescape")).hexdigest()


def load(source: str, key: str) -> Index | None:
    """The index of a source, where there is one of that very content.

    Args:
        source: what names the entry: the path and whatever else chooses a part of it.
        key: of the content.
    """
    path = _entry(source)
    if path is None or not path.is_file():
        return None
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            words = json.loads(file["words"].tobytes())
            if words["key"] != key:
                logger.debug("%s: of an older content of %s", path, source)
                return None
            values: dict[str, Any] = {name: tuple(words[name]) for name in WORDS if name != "sha256"}
            arrays: dict[str, Any] = {name: file[name] for name in ARRAYS}
            return Index(sha256=words["sha256"], **values, **arrays)
    except _BROKEN as error:
        logger.debug("%s: a broken entry, ignored: %r", path, error)
        return None


def save(source: str, key: str, index: Index) -> None:
    """Keep an index in place of an older one of the same source."""
    path = _entry(source)
    if path is None:
        return
    words = {"key": key, **{name: getattr(index, name) for name in WORDS}}
    arrays = {name: getattr(index, name) for name in ARRAYS}
    try:
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, words=np.frombuffer(json.dumps(words).encode(), np.uint8), **arrays)
    except (OutputError, OSError) as error:
        logger.debug("the index of %s is not kept: %s", source, error)


def _entry(source: str) -> Path | None:
    folder = cache_folder()
    name = hashlib.sha256(source.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return folder / "datasets" / f"{name}.npz" if folder else None
