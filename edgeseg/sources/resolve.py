"""From what the user wrote to sources: what each argument is, decided before anything is read."""

from __future__ import annotations

import glob
import itertools
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from edgeseg.data.picture import PICTURE_SUFFIXES, check_array
from edgeseg.data.picture_header import describe, format_of
from edgeseg.errors import SourceError, did_you_mean
from edgeseg.sources.download import check_url
from edgeseg.sources.frames import Limits, Source
from edgeseg.sources.stills import ArrayPicture, EncodedPicture, FilePicture, Unresolved, UrlPicture
from edgeseg.sources.streams import VIDEO_SUFFIXES, Camera, Video


class ArrayLike(Protocol):
    """A NumPy array or a Pillow image."""

    @property
    def __array_interface__(self) -> Any: ...


SourceLike: TypeAlias = str | os.PathLike[str] | int | ArrayLike | Iterable[Any]
"""One of `SUPPORTED`, or a list, tuple or iterator of them."""

SUPPORTED = (
    "a picture or video file, a folder of them, a glob pattern, a .txt list of paths and URLs, an http(s) URL, "
    "a camera (0 or camera:0), - for a picture on stdin, and from Python also uint8 RGB arrays, Pillow images, "
    "and lists or iterators of all these"
)

LIST_SUFFIX = ".txt"

_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_CAMERA = re.compile(r"(?:camera:)?(\d{1,4})")
_BY_SUFFIX: Mapping[str, Callable[[Path], Source]] = {
    **dict.fromkeys(PICTURE_SUFFIXES, lambda path: FilePicture(str(path))),
    **dict.fromkeys(VIDEO_SUFFIXES, Video),
}


@dataclass(frozen=True)
class Deferred:
    """An iterator of the user, whose values are resolved one by one when their turn comes."""

    values: Iterable[Any]
    limits: Limits

    def count(self) -> int | None:
        """Unknown."""
        return None

    def leaves(self) -> Iterator[Source]:
        """The sources of each value; one that cannot be resolved becomes a broken frame, and the rest follow."""
        names = itertools.count()
        for value in self.values:
            try:
                sources = _resolve(value, self.limits, names)
            except SourceError as error:
                sources = [Unresolved(_shorten(value), error)]
            del value
            for source in sources:
                if isinstance(source, Deferred):
                    yield from source.leaves()
                else:
                    yield source


def resolve(argument: SourceLike, limits: Limits) -> list[Source | Deferred]:
    """The sources that an argument stands for, in order.

    Raises:
        SourceError: it does not exist, is empty, or is of no supported kind.
    """
    return _resolve(argument, limits, itertools.count())


def _resolve(argument: Any, limits: Limits, names: Iterator[int]) -> list[Source | Deferred]:
    if isinstance(argument, str):
        return list(_from_text(argument, limits))
    if isinstance(argument, os.PathLike):
        return list(_from_path(Path(argument)))
    if isinstance(argument, int) and not isinstance(argument, bool) and argument >= 0:
        return [Camera(argument)]
    if hasattr(argument, "__array_interface__") or hasattr(argument, "__array__"):
        name = f"array:{next(names)}"
        check_array(argument, name)
        return [ArrayPicture(name, argument)]
    if isinstance(argument, list | tuple):
        return [source for value in argument for source in _resolve(value, limits, names)]
    if isinstance(argument, Iterator):
        return [Deferred(argument, limits)]
    shown = repr(argument)[:80]
    raise SourceError(f"{shown} of type {type(argument).__name__} is no source", hint=f"supported: {SUPPORTED}")


def _from_text(text: str, limits: Limits) -> Sequence[Source]:
    if text == "-":
        return [_from_stdin(limits)]
    if _URL.match(text):
        check_url(text)
        return [UrlPicture(text)]
    if text and _exists(Path(text)):
        return _from_path(Path(text))
    if camera := _CAMERA.fullmatch(text):
        return [Camera(int(camera[1]))]
    if glob.has_magic(text):
        return _from_glob(text)
    return _from_path(Path(text)) if text else _refuse_empty()


def _from_path(path: Path) -> Sequence[Source]:
    """The sources of a file or folder that must exist."""
    if not _exists(path):
        siblings = [child.name for child in path.parent.iterdir()] if _exists(path.parent) else []
        close = did_you_mean(path.name, siblings) if siblings else ""
        raise SourceError(
            f"{_shorten(path)}: no such file or folder", hint=close if close.startswith("did") else SUPPORTED
        )
    if path.is_dir():
        return _from_folder(path)
    if path.suffix.lower() == LIST_SUFFIX:
        return _from_list(path)
    return [_from_file(path)]


def _from_file(path: Path) -> Source:
    """By the suffix; a file without a known one by its first bytes."""
    make = _BY_SUFFIX.get(path.suffix.lower())
    if make is not None:
        return make(path)
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror or error}") from error
    if format_of(start) is None:
        raise SourceError(
            f"{path}: {describe(start)} with the unknown suffix {path.suffix!r}, expected a picture, video or list",
            hint="known suffixes: " + _known_suffixes(),
        )
    return FilePicture(str(path))


def _from_folder(folder: Path) -> Sequence[Source]:
    try:
        children = [child for child in folder.iterdir() if not child.name.startswith(".")]
    except OSError as error:
        raise SourceError(f"{folder}: cannot be read: {error.strerror or error}") from error
    problem = f"{folder}: the folder holds no picture or video"
    if any(child.is_dir() for child in children):
        problem += f"; its folders are not searched, '{folder}/**/*' is the pattern that does"
    return _media(children, problem)


def _from_glob(pattern: str) -> Sequence[Source]:
    matches = [Path(match) for match in glob.glob(pattern, recursive=True)]  # noqa: PTH207 - Path.glob takes no absolute pattern
    if not matches:
        raise SourceError(f"{pattern}: no such file, and no match as a pattern", hint="a literal [ is written [[]")
    return _media(matches, f"{pattern}: none of the {len(matches)} matches is a picture or video")


def _media(paths: Iterable[Path], problem: str) -> Sequence[Source]:
    """The files among `paths` whose suffix says picture or video, in natural order (2 before 10)."""
    chosen = sorted((path for path in paths if path.suffix.lower() in _BY_SUFFIX and path.is_file()), key=_natural)
    if not chosen:
        raise SourceError(problem, hint="suffixes that count: " + _known_suffixes())
    return [_BY_SUFFIX[path.suffix.lower()](path) for path in chosen]


def _from_list(path: Path) -> Sequence[Source]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: cannot be read as a UTF-8 list of paths and URLs: {error}") from error
    entries = [(number, line.strip()) for number, line in enumerate(lines, 1)]
    sources = [_from_line(path, number, entry) for number, entry in entries if entry and not entry.startswith("#")]
    if not sources:
        raise SourceError(f"{path}: the list is empty, expected one path or URL a line")
    return sources


def _from_line(path: Path, number: int, entry: str) -> Source:
    try:
        if _URL.match(entry):
            check_url(entry)
            return UrlPicture(entry)
        file = path.parent / entry
        if not file.is_file():
            raise SourceError(f"{file}: no such file")
        return _from_file(file)
    except SourceError as error:
        hint = error.hint or "a line is one picture, video or URL, relative to the list's own folder"
        raise SourceError(f"{path}:{number}: {error.message}", hint=hint) from error


def _from_stdin(limits: Limits) -> Source:
    """Read stdin here and now: a thread that waits for a terminal could not be stopped."""
    data = sys.stdin.buffer.read(limits.url_bytes + 1)
    if len(data) > limits.url_bytes:
        raise SourceError(f"stdin: expected one picture of at most {limits.url_bytes} bytes")
    if not data:
        raise SourceError("stdin: empty, expected the bytes of one picture", hint="- may be given once")
    return EncodedPicture("stdin", data)


def _refuse_empty() -> Sequence[Source]:
    raise SourceError("an empty source", hint=f"supported: {SUPPORTED}")


def _exists(path: Path) -> bool:
    """Whether it exists; text that cannot be a file name does not."""
    try:
        return path.exists()
    except OSError:
        return False


def _natural(path: Path) -> list[tuple[list[int | str], str]]:
    parts = path.parts
    return [([int(p) if p.isdecimal() else p for p in re.split(r"(\d+)", part.casefold())], part) for part in parts]


def _known_suffixes() -> str:
    return " ".join(sorted((*_BY_SUFFIX, LIST_SUFFIX)))


def _shorten(value: object) -> str:
    text = str(value) if isinstance(value, str | os.PathLike) else type(value).__name__
    return text if len(text) <= 200 else text[:200] + "..."
