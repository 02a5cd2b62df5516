"""The data sets of a build's manifest: annotations and pictures against their hashes, where this machine has them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeseg.build_manifest import inside, read_value, rows, text
from edgeseg.card.data_paths import ROOT_VARIABLE
from edgeseg.errors import EdgesegError, UsageError
from edgeseg.files import sha256_of
from edgeseg.offline_entry import Checked, State, compare

Pictures = list[tuple[str, str]]
"""Path and sha256 of each, in the set's order."""


@dataclass(frozen=True)
class _Places:
    """Where a set lies: what relative paths start from, folders to look for pictures in, the word for absent files."""

    root: Path
    folders: tuple[Path | None, ...]
    absent: State


def check_data(content: dict[str, Any], file: Path) -> Iterator[Checked]:
    """Every data set that the manifest names.

    A set of which nothing is here is not reachable. Of a set that is here in part, a missing file is gone.

    Raises:
        UsageError: the manifest is damaged.
    """
    if "data" not in content:
        yield Checked("data sets", "", "uncovered")
        return
    for row in rows(content, "data", file):
        yield from _set(row, file)


def _set(row: dict[str, Any], file: Path) -> Iterator[Checked]:
    what = f"data {text(row, 'name', file)}"
    listed, pictures = _listed(what, row, file)
    yield listed
    annotations, root = text(row, "annotations", file), _root(row, file)
    names = [*(name for name, _ in pictures), *([annotations] if annotations else [])]
    here = any((root / name).is_file() for name in names)
    absent: State = "gone" if here else "unreachable"
    if annotations:
        # A card may have named the pictures' folder, which the manifest does not tell.
        folders = (None, *((root / pictures[0][0]).parent for _ in pictures[:1]))
        yield _annotations(f"{what}, annotations", row, _Places(root, folders, absent), file)
    if pictures and not here:
        # One note for all of them: a machine without the data would print thousands.
        yield Checked(f"{what}, {len(pictures)} pictures", str(Path(pictures[0][0]).parent), "unreachable")
        return
    for name, sha256 in pictures:
        yield compare(f"{what}, picture", name, root / name, sha256, absent)


def _listed(what: str, row: dict[str, Any], file: Path) -> tuple[Checked, Pictures]:
    """The list that the build keeps of a set's pictures; none of them where it is not the manifest's own list."""
    # Of the build, not of the other modules of this check: it imports the index of data sets, and so numpy.
    from edgeseg.build.file_hashes import list_sha256

    what, name, expected = f"{what}, list of pictures", text(row, "list", file), text(row, "list_sha256", file)
    if not name or not expected:
        return Checked(what, name, "uncovered"), []
    path = inside(file.parent, name)
    if path is None:
        return Checked(what, name, "outside"), []
    if not path.is_file():
        return Checked(what, name, "gone"), []
    try:
        pictures = _pictures(path)
    except UsageError as error:
        return Checked(what, name, "changed", error.message), []
    # By names and contents: where the pictures lay on the machine that built does not count.
    found = list_sha256((Path(picture).name, sha256) for picture, sha256 in pictures)
    if expected not in (found, sha256_of(path)):
        return Checked(what, name, "changed", f"sha256 of its rows {found}, expected {expected}"), []
    return Checked(what, name, "same"), pictures


def _pictures(path: Path) -> Pictures:
    content = read_value(path)
    good = isinstance(content, list) and all(
        isinstance(row, list) and len(row) == 2 and all(isinstance(part, str) and part for part in row)
        for row in content
    )
    if not good:
        raise UsageError("expected a JSON list of [path, sha256]")
    return [(row[0], row[1]) for row in content]


def _annotations(what: str, row: dict[str, Any], places: _Places, file: Path) -> Checked:
    """Annotations by their file's bytes, or by what they say: a yaml only names the label files."""
    name, expected = text(row, "annotations", file), text(row, "sha256", file)
    of_bytes = compare(what, name, places.root / name, expected, places.absent)
    if of_bytes.state != "changed":
        return of_bytes
    found, problem = _meaning(places.root / name, places.folders)
    if found == expected:
        return Checked(what, name, "same")
    return Checked(what, name, "changed", problem or f"sha256 of what it says {found}, expected {expected}")


def _meaning(path: Path, folders: tuple[Path | None, ...]) -> tuple[str, str]:
    """Hash of what annotations say, or why they cannot be read; `folders` are where their pictures may lie."""
    from edgeseg.data.open import read_dataset

    problem = ""
    for images in folders:
        try:
            return read_dataset(path, images=images).sha256, ""
        except EdgesegError as error:
            problem = problem or f"cannot be read: {error.message}"
    return "", problem


def _root(row: dict[str, Any], file: Path) -> Path:
    """What relative paths of a set start from: its own root, else ``$EDGESEG_DATA``, else the working directory."""
    return Path(text(row, "root", file) or os.environ.get(ROOT_VARIABLE, ""))
