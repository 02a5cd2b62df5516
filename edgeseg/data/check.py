"""Everything that is wrong with a data set, found in one run.

Pictures are read once, in threads: decoding and hashing leave Python free for the labels.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from edgeseg.data.check_duplicates import content_hash, duplicates, leaks
from edgeseg.data.check_labels import Finding, examine
from edgeseg.data.check_problems import Problem
from edgeseg.data.check_result import CheckResult, summarise, unused_classes
from edgeseg.data.check_scan import Part, Scan, ScannedPicture
from edgeseg.errors import SourceError

AHEAD = 64
"""Pictures whose results may wait for an earlier one."""


@dataclass(frozen=True, slots=True)
class _Read:
    """A picture's file and labels: the hash, empty where it cannot be read, the problems, the areas of labels."""

    sha256: str
    problems: list[Problem]
    areas: list[float]


def check_dataset(
    found: Scan,
    *,
    split: str | None = None,
    against: Sequence[Scan] = (),
    decode: bool = True,
    advance: Callable[[], None] = lambda: None,
) -> CheckResult:
    """Find what is wrong with a data set.

    Args:
        found: from `edgeseg.data.check_scan.scan`: a COCO or YOLO-seg set.
        split: the part to check, still compared with the others; None checks all.
        against: other data sets, or folders of pictures, that must have no picture in common with this one.
        decode: decode the pictures; else only their headers and ends are read.
        advance: called after each picture.

    Raises:
        SourceError: a folder of pictures, which has no labels to check.
        UsageError: there is no such part.
    """
    if found.kind == "pictures":
        raise SourceError(f"{found.source}: a folder, expected a COCO .json or a YOLO-seg .yaml")
    chosen, others = found.divided(split)
    others += [part for other in against for part in _renamed(other)]
    folder = found.source.parent
    problems: list[Problem] = []
    areas: dict[str, list[float]] = {part.name: [] for part in chosen}
    hashes: dict[str, dict[Path, str]] = {part.name: {} for part in (*chosen, *others)}
    for part in chosen:
        problems += part.problems
        for picture, read in _read_all(part, decode):
            problems += read.problems
            areas[part.name] += read.areas
            hashes[part.name][picture.path] = read.sha256
            advance()
        problems += duplicates(part.name, hashes[part.name], folder)
    for part in others:
        hashes[part.name] = {picture.path: content_hash(picture.path) for picture in part.pictures}
    problems += leaks(hashes, [part.name for part in chosen], folder)
    summaries = tuple(summarise(part, len(found.names), areas[part.name]) for part in chosen)
    problems += [problem for part in summaries for problem in unused_classes(part, found.names)]
    return CheckResult(found.source, found.kind, found.names, summaries, _once(problems), decode, tuple(chosen))


def _renamed(found: Scan) -> Iterator[Part]:
    for part in found.parts:
        name = str(found.source) if len(found.parts) == 1 else f"{found.source}: {part.name}"
        yield Part(name, part.pictures)


def _read_all(part: Part, decode: bool) -> Iterator[tuple[ScannedPicture, _Read]]:
    """Each picture with what its file says, in order, a bounded number ahead."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(part.pictures), AHEAD):
            batch = part.pictures[start : start + AHEAD]
            yield from zip(batch, pool.map(lambda picture: _read(part.name, picture, decode), batch), strict=True)


def _read(part: str, picture: ScannedPicture, decode: bool) -> _Read:
    path, named, sha256, size = str(picture.path), _named(picture), "", picture.size
    problems: list[Problem] = []
    try:
        data = picture.path.read_bytes()
        sha256 = hashlib.sha256(data).hexdigest()
        actual = _size_of(picture.path, data, decode)
        if size is not None and size != actual:
            message = f"{named}{actual[1]}x{actual[0]} pixels, annotated as {size[1]}x{size[0]}"
            problems.append(Problem("picture_size", part, picture.where, message, path))
        size = size or actual
    except FileNotFoundError:
        problems.append(Problem("picture_missing", part, picture.where, f"{named}no such file", path))
    except OSError as error:
        message = f"{named}cannot be read: {error.strerror or error}"
        problems.append(Problem("picture_broken", part, picture.where, message, path))
    except SourceError as error:
        problems.append(Problem("picture_broken", part, picture.where, error.message, path))
    found, areas = _examine_labels(part, picture, size)
    return _Read(sha256, problems + found, areas)


def _named(picture: ScannedPicture) -> str:
    """The picture's name before a message, where the place does not say it already."""
    return "" if picture.where.endswith(picture.path.name) else f"{picture.path.name}: "


def _size_of(path: Path, data: bytes, decode: bool) -> tuple[int, int]:
    """Height and width, upright."""
    if decode:
        from edgeseg.data.picture import decode_picture

        height, width = decode_picture(data, path.name).shape[:2]
        return int(height), int(width)
    from edgeseg.data.picture_header import read_header
    from edgeseg.data.picture_size import picture_size

    if not read_header(data, path.name).complete:
        raise SourceError(f"{path.name}: ends before its end mark")
    return picture_size(path)


def _examine_labels(
    part: str, picture: ScannedPicture, size: tuple[int, int] | None
) -> tuple[list[Problem], list[float]]:
    if not picture.labels:
        return [Problem("no_labels", part, picture.where, f"{_named(picture)}no object", str(picture.path))], []
    problems: list[Problem] = []
    areas: list[float] = []
    seen: dict[object, str] = {}
    for label in picture.labels:
        findings: list[Finding] = []
        if size is not None:
            findings, area = examine(label, size, normalised=picture.normalised)
            areas.append(area)
        problems += [Problem(f.kind, part, label.where, f.message, str(picture.path)) for f in findings]
        before = seen.setdefault(label.key(), label.where)
        if before != label.where:
            message = f"the same object as {before}"
            problems.append(Problem("duplicate_label", part, label.where, message, str(picture.path)))
    return problems, areas


def _once(problems: list[Problem]) -> tuple[Problem, ...]:
    """Problems without repetition: two parts may name the same files."""
    first = {(problem.kind, problem.where, problem.message): problem for problem in reversed(problems)}
    return tuple(first.values())[::-1]
