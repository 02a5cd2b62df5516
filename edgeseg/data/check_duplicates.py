"""Pictures that are there twice: in one part, or in two parts that must have none in common."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path

from edgeseg.data.check_problems import Problem
from edgeseg.data.check_scan import beside

Hashes = Mapping[Path, str]
"""Hex sha256 of each picture's bytes; empty where it cannot be read."""


def content_hash(path: Path) -> str:
    """Hex sha256 of a file; empty where it cannot be read, which is a problem only of the set that is checked."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def duplicates(part: str, hashes: Hashes, folder: Path) -> Iterator[Problem]:
    """Pictures of one part with the same bytes, each but the first; paths are told from `folder`."""
    first: dict[str, Path] = {}
    for path, sha256 in hashes.items():
        same = first.setdefault(sha256, path) if sha256 else path
        if same != path:
            message = f"the same bytes as {beside(same, folder)}"
            yield Problem("duplicate_picture", part, beside(path, folder), message, str(path))


def leaks(hashes: Mapping[str, Hashes], checked: list[str], folder: Path) -> Iterator[Problem]:
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
                message = f"the same bytes as {beside(by_hash[sha256], folder)}"
                yield Problem("leakage", name, beside(path, folder), message, str(path))
