"""Pictures that are there twice: in one part, or in two parts that must have none in common."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path

from edgeseg.data.check_problems import Problem

Hashes = Mapping[Path, str]
"""Hex sha256 of each picture's bytes; empty where it cannot be read."""


def content_hash(path: Path) -> str:
    """Hex sha256 of a file; empty where it cannot be read, which is a problem only of the set that is checked."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def duplicates(part: str, hashes: Hashes) -> Iterator[Problem]:
    """Pictures of one part with the same bytes, each but the first."""
    first: dict[str, Path] = {}
    for path, sha256 in hashes.items():
        same = first.setdefault(sha256, path) if sha256 else path
        if same != path:
            yield Problem("duplicate_picture", part, str(path), f"the same bytes as {same}", str(path))


def leaks(hashes: Mapping[str, Hashes], checked: list[str]) -> Iterator[Problem]:
    """Pictures of one part that another part has too, one of the two being checked.

    Where both name the same files, one problem stands for all of them.
    """
    for name, other in combinations(hashes, 2):
        if name not in checked and other not in checked:
            continue
        where = f"{name} and {other}"
        files = {path.resolve() for path in hashes[other]}
        shared = {path for path in hashes[name] if path.resolve() in files}
        if shared:
            message = f"{len(shared)} of the {len(hashes[name])} pictures of {name} are files of {other} too"
            yield Problem("leakage", name, where, message)
        by_hash = {sha256: path for path, sha256 in hashes[other].items() if sha256}
        for path, sha256 in hashes[name].items():
            if sha256 in by_hash and path not in shared:
                yield Problem("leakage", name, where, f"{path}: the same bytes as {by_hash[sha256]}", str(path))
