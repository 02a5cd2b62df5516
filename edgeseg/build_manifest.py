"""Reading a finished build's `build.json` as a file that anyone may have written: nothing in it is trusted."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from edgeseg.errors import UsageError

NAME = "build.json"
LARGEST_BYTES = 256_000_000
"""A list of a million pictures is below this; a larger file is not read into memory."""

_KEYS = ("schema", "command", "weights", "targets")
"""Every version of `build.json` has these at its top level, and no other file of ours has them all."""


def is_build_manifest(path: Path) -> bool:
    """Whether a file is a build's manifest, told from its content; any path may come."""
    try:
        with path.open("rb") as file:
            start = file.read(256).lstrip()
    except OSError:
        return False
    if not start.startswith(b"{"):
        return False
    try:
        content = read_json(path)
    except UsageError:
        return False
    return all(key in content for key in _KEYS) and isinstance(content["targets"], list)


def read_build(path: Path) -> dict[str, Any]:
    """A build's manifest.

    Args:
        path: of the file, or of the build's folder.

    Raises:
        UsageError: it is absent, or no manifest of a build.
    """
    file = path / NAME if path.is_dir() else path
    content = read_json(file)
    missing = [key for key in _KEYS if key not in content]
    if missing or not isinstance(content["targets"], list):
        raise UsageError(
            f"{file}: no manifest of a build: {', '.join(missing) or 'targets'} is missing or no list",
            hint="expected the build.json that edgeseg build wrote",
        )
    for target in rows(content, "targets", file):
        text(target, "id", file)
    return content


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object, as `read_value`."""
    content = read_value(path)
    if not isinstance(content, dict):
        raise UsageError(f"{path}: expected a JSON object")
    return content


def read_value(path: Path) -> Any:
    """A JSON value of a bounded size; numbers that are not finite are refused.

    Raises:
        UsageError: it is absent, too large, or no JSON.
    """
    try:
        size = path.stat().st_size
        if size > LARGEST_BYTES:
            raise UsageError(f"{path}: {size} bytes, expected at most {LARGEST_BYTES}")
        # A file name may hold bytes that are no text, as Python reads them from the disk.
        words = path.read_bytes().decode("utf-8", "surrogateescape")
        return json.loads(words, parse_constant=_refuse, parse_float=_finite)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: no JSON: {error}") from error


def rows(row: Mapping[str, Any], key: str, file: Path) -> list[dict[str, Any]]:
    """A list of objects, empty where the key is absent or null.

    Raises:
        UsageError: it is something else.
    """
    found = row.get(key) or []
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise UsageError(f"{file}: {key}: expected a list of objects")
    return found


def mapping(row: Mapping[str, Any], key: str, file: Path) -> dict[str, Any]:
    """An object, empty where the key is absent or null.

    Raises:
        UsageError: it is something else.
    """
    found = row.get(key) or {}
    if not isinstance(found, dict):
        raise UsageError(f"{file}: {key}: expected an object")
    return found


def text(row: Mapping[str, Any], key: str, file: Path) -> str:
    """A text, empty where the key is absent or null.

    Raises:
        UsageError: it is something else.
    """
    found = row.get(key)
    if found is not None and not isinstance(found, str):
        raise UsageError(f"{file}: {key}: expected a text, got {str(found)[:80]!r}")
    return found or ""


def inside(folder: Path, name: str) -> Path | None:
    """The path of a build's own file; None where its name, or a link on the way, leads out of the folder."""
    pure = PurePosixPath(name)
    if not name or "\0" in name or "\\" in name or pure.is_absolute() or ".." in pure.parts:
        return None
    path = folder / pure
    try:
        return path if path.resolve().is_relative_to(folder.resolve()) else None
    except (OSError, RuntimeError):
        # A chain of links that never ends.
        return None


def _refuse(word: str) -> float:
    raise ValueError(f"{word} is no JSON number")


def _finite(word: str) -> float:
    value = float(word)
    if not math.isfinite(value):
        raise ValueError(f"{word} is larger than any number")
    return value
