"""The yaml of a YOLO-seg data set, and the pictures that it names."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from edgeseg.data.picture import PICTURE_SUFFIXES
from edgeseg.errors import SourceError, UsageError

SPLITS = ("train", "val", "test")

NO_FILE = ""
"""Stamp of a file that is not there."""


@dataclass(frozen=True)
class YoloYaml:
    """A read yaml.

    Attributes:
        path: the file.
        root: folder that the splits are relative to.
        names: class names by class id.
        splits: split to its folders and lists of files, as written; only those that are not empty.
    """

    path: Path
    root: Path
    names: tuple[str, ...]
    splits: Mapping[str, tuple[str, ...]]

    def entries(self, split: str) -> tuple[str, ...]:
        """Folders and lists of a split.

        Raises:
            UsageError: there is no such split.
        """
        if split not in self.splits:
            raise UsageError(f"{self.path}: no split {split!r}", hint=f"it has {', '.join(self.splits)}")
        return self.splits[split]


@dataclass(frozen=True, slots=True)
class Listing:
    """Pictures and their label files. A stamp is a file's bytes and time of change (ns).

    Columns of texts, and no object for each picture: 200,000 files are to be listed in a second.

    Attributes:
        pictures: N absolute paths; `label_path` tells where their labels are.
        stamps: of the pictures.
        label_stamps: of their label files; `NO_FILE` where there is none.
    """

    pictures: tuple[str, ...]
    stamps: tuple[str, ...]
    label_stamps: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """Of all paths and stamps: another one where any of the files changed."""
        content = "\0".join((*self.pictures, *self.stamps, *self.label_stamps))
        return hashlib.sha256(content.encode("utf-8", "surrogateescape")).hexdigest()


def read_yaml(path: Path) -> YoloYaml:
    """Read the yaml of a data set; ``path`` in it is relative to its own folder.

    Raises:
        SourceError: it cannot be read, or has no names or splits.
    """
    try:
        # Every scalar stays text, so that a class may be called `no` or `010`.
        content = yaml.load(path.read_bytes(), yaml.BaseLoader)  # noqa: S506 - builds nothing but text, lists and maps
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SourceError(f"{path}: no YAML that can be read: {error}") from error
    if not isinstance(content, dict):
        raise SourceError(f"{path}: no YOLO-seg data set, expected a map with path, names and {', '.join(SPLITS)}")
    names = _names(content.get("names"), path)
    if content.get("nc", str(len(names))) != str(len(names)):
        raise SourceError(f"{path}: nc {content['nc']}, but {len(names)} names", hint="remove nc, or correct the names")
    splits = {name: _entries(content[name], name, path) for name in SPLITS if content.get(name)}
    if not splits:
        raise SourceError(f"{path}: none of {', '.join(SPLITS)}, expected a folder or a list of pictures for one")
    root = path.parent / str(content.get("path") or ".")
    return YoloYaml(path, _normal(root), names, splits)


def list_pictures(source: YoloYaml, split: str, *, strict: bool = True) -> Listing:
    """The pictures of a split with their label files, those of a folder sorted; each picture once.

    Args:
        source: the yaml.
        split: one of its splits.
        strict: refuse a .txt list that names a file that is not there; else its stamp is `NO_FILE`.

    Raises:
        UsageError: there is no such split.
        SourceError: a folder or list is not there, or has no pictures; a file that cannot be looked at.
    """
    found: dict[str, str] = {}
    try:
        for entry in source.entries(split):
            before = len(found)
            found.update(_pictures(source, split, entry, strict))
            if len(found) == before:
                place = source.root / entry
                raise SourceError(f"{source.path}: {split}: {place}: no pictures that are not listed before")
        label_stamps = tuple(_label_stamps(found))
    except OSError as error:
        raise SourceError(f"{source.path}: {split}: {error.filename}: {error.strerror}") from error
    if not any(label_stamps):
        first = label_path(next(iter(found)))
        raise SourceError(
            f"{source.path}: {split}: none of {len(found)} pictures has a label file, such as {first}",
            hint="labels lie in `labels` where pictures lie in `images`, under the same name with .txt",
        )
    return Listing(tuple(found), tuple(found.values()), label_stamps)


def label_path(picture: str) -> str:
    """Where a picture's labels are: `labels` in place of the last `images` of its folders, else beside it."""
    folder, _, name = picture.rpartition(os.sep)
    return f"{_label_folder(folder)}{os.sep}{_label_name(name)}"


def _label_folder(folder: str) -> str:
    head, found, tail = f"{folder}{os.sep}".rpartition(f"{os.sep}images{os.sep}")
    return f"{head}{os.sep}labels{os.sep}{tail}".rstrip(os.sep) if found else folder


def _label_name(name: str) -> str:
    return f"{name.rpartition('.')[0]}.txt"


def _names(value: Any, path: Path) -> tuple[str, ...]:
    if isinstance(value, list):
        value = {str(number): name for number, name in enumerate(value)}
    if not isinstance(value, dict) or not value:
        raise SourceError(f"{path}: names {value!r}, expected a list, or a map from class id to name")
    expected = {str(number) for number in range(len(value))}
    if value.keys() != expected:
        missing = sorted(expected - value.keys(), key=int)[:5]
        raise SourceError(
            f"{path}: names: class ids with gaps: {', '.join(missing)} not there, expected 0..{len(value) - 1}",
            hint="number the classes from 0, without gaps",
        )
    names = tuple(value[str(number)] for number in range(len(value)))
    if not all(isinstance(name, str) and name for name in names):
        raise SourceError(f"{path}: names {names!r}, expected a text for each class")
    return names


def _entries(value: Any, split: str, path: Path) -> tuple[str, ...]:
    entries = value if isinstance(value, list) else [value]
    if not all(isinstance(entry, str) and entry for entry in entries):
        raise SourceError(f"{path}: {split}: {value!r}, expected a folder, a .txt list, or a list of these")
    return tuple(entries)


def _pictures(source: YoloYaml, split: str, entry: str, strict: bool) -> Iterator[tuple[str, str]]:
    """Paths and stamps of an entry's pictures."""
    place = _normal(source.root / entry)
    if place.is_dir():
        yield from _walk(str(place))
    elif place.suffix == ".txt" and place.is_file():
        yield from _listed(place, source.root, strict)
    else:
        beside = source.root / entry.removeprefix("../")
        hint = f"is {beside} meant? " if beside.is_dir() else ""
        raise SourceError(
            f"{source.path}: {split}: {place} is neither a folder nor a .txt list of pictures",
            hint=f"{hint}`path` is relative to the yaml's folder, and {split} to `path`",
        )


def _walk(folder: str) -> Iterator[tuple[str, str]]:
    """Pictures in a folder and those below, sorted by path; names that begin with a dot are no pictures."""
    stamps: dict[str, str | None] = {}
    with os.scandir(folder) as entries:
        # An entry keeps its status while it lives, so none is kept: that halves the time of a large folder.
        for entry in entries:
            name = entry.name
            if name.startswith("."):
                continue
            if name.lower().endswith(PICTURE_SUFFIXES):
                stamps[name] = _stamp(entry.stat())
            elif entry.is_dir(follow_symlinks=False):
                stamps[name] = None
    for name in sorted(stamps):
        path, stamp = f"{folder}{os.sep}{name}", stamps[name]
        if stamp is None:
            yield from _walk(path)
        else:
            yield path, stamp


def _listed(file: Path, root: Path, strict: bool) -> Iterator[tuple[str, str]]:
    """Pictures of a .txt list, relative to the list's folder or, where the first is not there, to the root."""
    lines = [line.strip() for line in file.read_text("utf-8-sig", "surrogateescape").splitlines()]
    first = next(filter(None, lines), "")
    base = root if not (file.parent / first).exists() and (root / first).exists() else file.parent
    for number, line in enumerate(lines, start=1):
        if line:
            picture = _normal(base / line)
            try:
                yield str(picture), _stamp(picture.stat())
            except OSError as error:
                if strict:
                    raise SourceError(f"{file}:{number}: {picture}: {error.strerror}") from error
                yield str(picture), NO_FILE


def _normal(path: Path) -> Path:
    """Absolute and without ``..``, links left as they are: labels lie beside the link, not where it points."""
    return Path(os.path.normpath(path.absolute()))


def _label_stamps(pictures: Iterable[str]) -> Iterator[str]:
    """The stamp of each picture's label file; a folder is read once, for all that it holds."""
    folders: dict[str, dict[str, str]] = {}
    for picture in pictures:
        folder, _, name = picture.rpartition(os.sep)
        if folder not in folders:
            folders[folder] = _text_stamps(_label_folder(folder))
        yield folders[folder].get(name.rpartition(".")[0], NO_FILE)


def _text_stamps(folder: str) -> dict[str, str]:
    """Name without its ``.txt`` to stamp of the text files in a folder; none where there is no such folder."""
    if not Path(folder).is_dir():
        return {}
    with os.scandir(folder) as entries:
        return {entry.name[:-4]: _stamp(entry.stat()) for entry in entries if entry.name.endswith(".txt")}


def _stamp(status: os.stat_result) -> str:
    return f"{status.st_size} {status.st_mtime_ns}"
